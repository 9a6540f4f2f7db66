"""Secrets of a workspace: what they may be, where they go, how they are changed.

A value is in three places and no other: the workspace's file on the host (`secret_file`), a file
in memory of the guest below `protocol.SECRETS`, and the environment of the one call that asks for
it. What comes back from the guest is redacted; see `boundary.redact` for what that is.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.boundary.redact import MARK, SHORTEST
from pyro_mcp.errors import GuestLostError, InvalidInputError, UnknownSecretError
from pyro_mcp.results.secrets import SecretDeleted, SecretList, SecretSet
from pyro_mcp.workspaces import secret_file
from pyro_mcp.workspaces.secret_file import Secret, Secrets, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyro_mcp.boundary.redact import Redactor
    from pyro_mcp.workspaces.places import Place
    from pyro_mcp.workspaces.store import Store

LONGEST = 65536
"""Bytes of a value, as UTF-8."""
MOST = 100
"""Secrets of one workspace: each is looked for in everything that comes out."""
LONGEST_TOGETHER = 131072
"""Bytes of all values that one call puts into its environment."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_FORM = "Give letters, digits and '_', at most 64, not beginning with a digit."
_NOT_OURS_TO_GIVE = frozenset(
    (
        *("PATH", "HOME", "LANG", "TERM", "SHELL", "USER", "LOGNAME", "PWD", "OLDPWD", "SHLVL"),
        *("IFS", "ENV", "BASH_ENV", "PS1", "PS2", "PS4", "PPID", "UID", "EUID", "_"),
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"),
    )
)
"""Variables that a command's shell or loader needs as they are, or sets itself."""


def cleaned(secrets: Sequence[Mapping[str, str]] | None) -> dict[str, Secret]:
    """Check secrets given at creation, each `{"name", "value"}` or `{"name", "file_path"}`.

    Raises:
        InvalidInputError: One of them cannot be used. The message names it, and never quotes it.
    """
    if secrets is None:
        return {}
    hint = 'Give a list of {"name", "value"} or {"name", "file_path"}.'
    if not isinstance(secrets, list | tuple):
        raise InvalidInputError("secrets", "is no list", hint=hint)
    found: dict[str, Secret] = {}
    for given in secrets:
        if not hasattr(given, "keys") or not {"name", "value", "file_path"}.issuperset(given):
            raise InvalidInputError("secrets", "has an item of another form", hint=hint)
        name = clean_name(given.get("name"))
        if name in found:
            raise InvalidInputError("secrets", f"has {name} twice", hint="Give each name once.")
        found[name] = _read(name, given.get("value"), given.get("file_path"))
    _check_count(len(found))
    return found


def clean_name(name: object) -> str:
    """A secret's name, trimmed."""
    if not isinstance(name, str):
        raise InvalidInputError("A secret's name", "is no text", hint=_FORM)
    trimmed = name.strip()
    if not _NAME.fullmatch(trimmed):
        # Not quoted: somebody may have taken the value for the name.
        raise InvalidInputError("A secret's name", "has another form than a name", hint=_FORM)
    return trimmed


def redactor(store: Store, workspace_id: str) -> Redactor:
    """For whatever comes out of this workspace.

    Raises:
        CacheAccessError: Its secrets cannot be read; nothing may be shown then.
    """
    return secret_file.redactor_of(store.place(workspace_id))


def watch(store: Store, workspace_id: str) -> Watch:
    """The same for output that goes on while secrets are changed."""
    return Watch(store.place(workspace_id))


def environment(
    store: Store, workspace_id: str, secret_env: Mapping[str, str] | None
) -> dict[str, str]:
    """Variables and their values, from the names of secrets and variables.

    Raises:
        UnknownWorkspaceError: No workspace has that id.
        InvalidInputError, UnknownSecretError: Nothing was started.
    """
    if not secret_env:
        return {}
    if not hasattr(secret_env, "items"):
        raise InvalidInputError(
            "secret_env", "is no mapping", hint="Give the names of secrets and of variables."
        )
    store.row(workspace_id)
    current = secret_file.load(store.place(workspace_id)).current
    asked: set[str] = set()
    variables: dict[str, str] = {}
    for given, variable in secret_env.items():
        name = clean_name(given)
        if name in asked:
            raise InvalidInputError("secret_env", f"has {name} twice", hint="Give it once.")
        asked.add(name)
        if name not in current:
            raise UnknownSecretError(workspace_id, name, sorted(current))
        variables[_variable(name, variable, variables)] = current[name].value
    if sum(len(value.encode()) for value in variables.values()) > LONGEST_TOGETHER:
        raise InvalidInputError(
            "secret_env",
            f"has more than {LONGEST_TOGETHER} bytes of values",
            hint="Let the command read the secrets' files in /run/pyro-secrets.",
        )
    return variables


def merged(env: Mapping[str, str] | None, secret: Mapping[str, str]) -> dict[str, str]:
    """Variables of one call, those with values of secrets beside the others.

    Raises:
        InvalidInputError: Both have the same one.
    """
    for name in secret:
        if env and name in env:
            raise InvalidInputError(
                "secret_env", f"and env both give the variable {name}", hint="Give it once."
            )
    return {**(env or {}), **secret}


def set_secret(
    store: Store,
    workspace_id: str,
    name: str,
    *,
    value: str | None = None,
    file_path: str | Path | None = None,
) -> SecretSet:
    """Add a secret or give it another value, in a running workspace at once.

    Raises:
        UnknownWorkspaceError: No workspace has that id.
        InvalidInputError: The name or the value cannot be used; nothing was changed.
        PyroError: The guest could not take it; nothing was changed.
    """
    name = clean_name(name)
    secret = _read(name, value, file_path)

    def change(before: Secrets) -> Secrets:
        after = {**before.current, name: secret}
        _check_count(len(after))
        return before.with_current(after)

    before, in_guest = _changed(store, workspace_id, change)
    return SecretSet(
        workspace_id=workspace_id,
        secret={"name": name, "source_kind": secret.source_kind},
        replaced=name in before.current,
        in_guest=in_guest,
    )


def list_secrets(store: Store, workspace_id: str) -> SecretList:
    """Their names, never their values."""
    store.row(workspace_id)
    public = secret_file.load(store.place(workspace_id)).public
    return SecretList(workspace_id=workspace_id, count=len(public), secrets=public)


def delete_secret(store: Store, workspace_id: str, name: str) -> SecretDeleted:
    """Forget a secret, in a running workspace at once; its value is redacted until it starts anew.

    Raises:
        UnknownSecretError: It has none of that name.
    """
    name = clean_name(name)

    def change(before: Secrets) -> Secrets:
        if name not in before.current:
            raise UnknownSecretError(workspace_id, name, sorted(before.current))
        left = {other: secret for other, secret in before.current.items() if other != name}
        return before.with_current(left)

    _changed(store, workspace_id, change)
    return SecretDeleted(workspace_id=workspace_id, name=name, deleted=True)


def _changed(
    store: Store, workspace_id: str, change: Callable[[Secrets], Secrets]
) -> tuple[Secrets, bool]:
    """Store what `change` makes of them and bring it to the guest: both or neither.

    Returns what there was, and whether a guest has the new ones.
    """
    store.row(workspace_id)
    place = store.place(workspace_id)
    with place.changing():
        store.row(workspace_id)
        before = secret_file.load(place)
        after = change(before)
        secret_file.save(place, after)
        try:
            in_guest = _brought(store, place, after)
        except BaseException:
            # Some of it may be known in the guest by now.
            secret_file.save(place, after.with_current(before.current))
            raise
    store.touch(workspace_id)
    return before, in_guest


def _brought(store: Store, place: Place, secrets: Secrets) -> bool:
    if not place.running:
        return False
    try:
        from pyro_mcp.machines import files  # an exec sets none

        files.put_secrets(place.home, secrets.contents)
    except GuestLostError:
        # On its way down: the next start brings them.
        if not store.wait_until_stopped(place):
            raise
        return False
    return True


def _read(name: str, value: object, file_path: object) -> Secret:
    if (value is None) == (file_path is None):
        both = "both a value and a file" if value is not None else "no value"
        raise _refused(name, f"has {both}", "Give it a value, or a file_path.")
    if file_path is None:
        if not isinstance(value, str):
            raise _refused(name, "is no text", "Give its value as text.")
        try:
            content = value.encode()
        except UnicodeEncodeError:
            raise _refused(name, *_BINARY) from None
        kind = "literal"
    else:
        content, kind = _content(name, file_path), "file"
    return Secret(value=_checked(name, content), source_kind=kind)


_BINARY = ("is not UTF-8 text", "Encode it, for example as base64, and decode it in the guest.")


def _content(name: str, file_path: object) -> bytes:
    if not isinstance(file_path, str | Path) or not str(file_path).strip():
        raise _refused(name, "has a file_path that is no path", "Give a file of this host.")
    path = Path(file_path)
    with contextlib.suppress(RuntimeError):  # nobody's home: such a file there is not
        path = path.expanduser()
    try:
        with path.open("rb") as file:
            return file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise _refused(
            name, f"cannot be read from {str(file_path)!r}: {why}", "Give a file of this host."
        ) from None


def _checked(name: str, content: bytes) -> str:
    if not content:
        raise _refused(name, "is empty", "Give it a value, or leave it out.")
    if len(content) > LONGEST:
        raise _refused(
            name, f"has more than {LONGEST} bytes", "Put large private files in with sync push."
        )
    try:
        value = content.decode()
    except UnicodeDecodeError:
        raise _refused(name, *_BINARY) from None
    if "\0" in value:
        raise _refused(name, "contains a NUL character", _BINARY[1])
    core = content.strip()
    if len(core) < SHORTEST:
        raise _refused(
            name,
            f"has fewer than {SHORTEST} bytes",
            "It could not be redacted without mangling ordinary text; use a plain variable for it.",
        )
    if core in MARK:
        raise _refused(name, f"is part of {MARK.decode()}", "Choose another value.")
    return value


def _variable(name: str, variable: object, taken: Mapping[str, str]) -> str:
    if not isinstance(variable, str) or not _NAME.fullmatch(variable.strip()):
        raise InvalidInputError(
            "secret_env", f"gives {name} a variable that has another form than a name", hint=_FORM
        )
    trimmed = variable.strip()
    if trimmed in _NOT_OURS_TO_GIVE:
        raise InvalidInputError(
            "secret_env",
            f"gives {name} the variable {trimmed}, which the command's shell needs as it is",
            hint=f"Give it another variable: {name}=OTHER, or {{{name!r}: 'OTHER'}} in the SDK.",
        )
    if trimmed in taken:
        raise InvalidInputError(
            "secret_env", f"gives two secrets the variable {trimmed}", hint="Give each its own."
        )
    return trimmed


def _check_count(count: int) -> None:
    if count > MOST:
        raise InvalidInputError(
            "secrets", f"are {count}", hint=f"A workspace has at most {MOST}; delete some."
        )


def _refused(name: str, wrong: str, hint: str) -> InvalidInputError:
    return InvalidInputError(f"The secret {name}", wrong, hint=hint)
