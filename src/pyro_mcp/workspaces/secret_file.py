"""The file that keeps the secrets of one workspace: on this host, for its user alone.

`secrets.json` in the workspace's directory (0700) has mode 0600 and is replaced whole. Nothing of
it is in the database. It holds

    secrets   name → {"value", "source_kind"}
    former    values that were replaced or deleted since the last start: programs that began
              before may still print them, so they are redacted until the next start
"""

from __future__ import annotations

import contextlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pyro_mcp.boundary.redact import Redactor
from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.errors import CacheAccessError, PyroError
from pyro_mcp.host.files import write_whole
from pyro_mcp.machines import directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pyro_mcp.workspaces.places import Place

_NOTHING = Redactor(())


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A value, and where it came from."""

    value: str = field(repr=False)
    source_kind: str
    """literal or file."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """All secrets of one workspace."""

    current: Mapping[str, Secret]
    former: tuple[str, ...] = field(default=(), repr=False)

    @property
    def public(self) -> list[dict[str, str]]:
        """What may be shown of them."""
        return [
            {"name": name, "source_kind": self.current[name].source_kind}
            for name in sorted(self.current)
        ]

    @property
    def contents(self) -> dict[str, bytes]:
        """Values by name, for the guest."""
        return {name: secret.value.encode() for name, secret in self.current.items()}

    @property
    def values(self) -> list[bytes]:
        """All that something in the guest may know."""
        values = [*(secret.value for secret in self.current.values()), *self.former]
        return [value.encode() for value in values]

    def with_current(self, current: Mapping[str, Secret]) -> Secrets:
        """Others instead; values that are gone are former ones."""
        kept = {secret.value for secret in current.values()}
        gone = {*self.former, *(secret.value for secret in self.current.values())} - kept
        return Secrets(current=current, former=tuple(sorted(gone)))


NONE = Secrets(current={})


def redactor_of(place: Place) -> Redactor:
    """For whatever comes out of the workspace. Raises as `load`."""
    return Watch(place).redactor()


def load(place: Place) -> Secrets:
    """What the workspace has.

    Raises:
        CacheAccessError: The file cannot be read, or is not what was written. Nothing may be
            shown then, since nothing can be redacted.
    """
    with directory.accessing(place.secrets):
        try:
            content = place.secrets.read_bytes()
        except FileNotFoundError:
            return NONE
    try:
        stored = json.loads(content)
        return Secrets(
            current={name: Secret(**fields) for name, fields in stored["secrets"].items()},
            former=tuple(stored["former"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # Not `from` it: the cause would carry what was read.
        raise CacheAccessError(place.secrets, "it is damaged", variable=STATE_VARIABLE) from None


def save(place: Place, secrets: Secrets) -> None:
    """Replace what the workspace has; the caller holds `changing` or made the directory."""
    with directory.accessing(place.secrets):
        for half in leftovers(place):
            half.unlink(missing_ok=True)
        if not secrets.current and not secrets.former:
            place.secrets.unlink(missing_ok=True)
            return
        stored = {
            "secrets": {name: vars(secret) for name, secret in secrets.current.items()},
            "former": secrets.former,
        }
        write_whole(place.secrets, json.dumps(stored).encode(), mode=0o600)


def forget_former(place: Place) -> Secrets:
    """The same without former values, at a start: nothing in the guest knows them any more."""
    secrets = load(place)
    if not secrets.former and not leftovers(place):
        return secrets
    secrets = replace(secrets, former=())
    save(place, secrets)
    return secrets


def leftovers(place: Place) -> list[Path]:
    """Files that a process left which died while it wrote."""
    with contextlib.suppress(FileNotFoundError):
        return list(place.home.glob(f".{place.secrets.name}.*"))
    return []


@contextmanager
def redacted_errors(place: Place) -> Iterator[None]:
    """What pyro's own errors quote of a guest is redacted."""
    try:
        yield
    except PyroError as error:
        redactor = redactor_of(place)
        if redactor:
            error.problem = redactor.text(error.problem)[0]
            error.hint = redactor.text(error.hint)[0]
            error.args = tuple(
                redactor.text(part)[0] if isinstance(part, str) else part for part in error.args
            )
        raise


class Watch:
    """The redactor for one command, also when secrets are changed while it runs.

    What it has seen once it goes on redacting: the command may know it.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._seen: tuple[int, int] | None = None
        self._values: frozenset[bytes] = frozenset()
        self._redactor = _NOTHING

    def redactor(self) -> Redactor:
        """The one of now; costs one look at the file when nothing has changed."""
        try:
            status = self._place.secrets.stat()
        except FileNotFoundError:
            return self._redactor
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            self._values = self._values.union(load(self._place).values)
            self._redactor = Redactor(self._values)
            self._seen = seen
        return self._redactor
