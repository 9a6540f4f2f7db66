"""Errors pyro raises on purpose; any other exception that reaches a surface is a bug in pyro.

PyroError
├── InvalidInputError, also ValueError            a value outside what is accepted
├── UnknownEnvironmentError, also ValueError      no such name in the catalogue
├── UnknownMachineError, also ValueError          no such id in this process
├── CatalogueError, also ValueError               a user's catalogue entry that cannot be used
├── UnknownWorkspaceError, also ValueError        no workspace has that id
├── UnknownToolError, also ValueError             no tool of that name is offered
├── UnknownSnapshotError, also ValueError         the workspace has no snapshot of that name
├── UnknownShellError, also ValueError            the workspace has no shell of that id
├── UnknownSecretError, also ValueError           the workspace has no secret of that name
├── UnknownHostError, also ValueError             no chat program has that name
├── NameTakenError, also ValueError               a name that is in use already
├── UnknownServiceError, also ValueError          no service of the workspace has that name
├── ServiceRunningError, also RuntimeError        a service of that name runs already
├── NetworkPolicyError, also RuntimeError         the workspace's policy does not allow it
├── PatchError, also ValueError                   a patch that cannot be read, or leads outside
├── PatchConflictError, also RuntimeError         a patch that does not fit the files there are
├── WorkspaceFileError, also RuntimeError         a file of the workspace cannot be used so
├── WorkspaceStateError, also RuntimeError        the workspace is not in the state the call needs
├── ShellEndedError, also RuntimeError            the shell's program has ended
├── ShellInputError, also RuntimeError            a terminal that did not take what was typed
├── ShellLimitError, also RuntimeError            as many shells as one workspace can have
├── StateVersionError, also RuntimeError          the database was written by a newer pyro
├── MachineStateError, also RuntimeError          the machine is not in the state the call needs
├── MachineExpiredError, also RuntimeError        its time to live is over
├── GuestStartError, also RuntimeError            the guest kernel or its agent did not come up
├── GuestLostError, also RuntimeError             the guest ended or stopped answering during a call
│   ├── GuestUnreachableError                     before anything was asked of it
│   └── GuestWithoutRoomError                     its disk could not grow on a full host
├── CallCancelledError, also RuntimeError         whoever made the call ended it
├── GuestRefusedError, also RuntimeError          the guest agent refused or failed a request
├── ProtocolVersionError, also RuntimeError       host and guest speak different versions
├── NoEngineError, also RuntimeError              nothing on this host can run a guest
├── NetworkError, also RuntimeError               this host gives a guest no network
├── NotAvailableError, also RuntimeError          this version or host cannot give what is asked
├── MachineLimitError, also RuntimeError          as many machines as the caller allowed
├── HostMemoryError, also RuntimeError            less free memory than the machine may use
├── DiskSpaceError, also RuntimeError             less free disk than the work needs
├── ToolMissingError, also RuntimeError           the host lacks a program pyro runs
├── EnvironmentBuildError, also RuntimeError      an image could not be built
├── CacheCorruptError, also RuntimeError          an image in the cache is not what was recorded
├── BrokenInstallError, also RuntimeError         a part of pyro, or of what it uses, is missing
├── MissingExtraError, also ImportError           an integration's package is not installed
├── ToolCallError, also RuntimeError              a tool that was called as a function failed
├── OutputExistsError, also RuntimeError          a file of the host that would be overwritten
├── ExportRefusedError, also RuntimeError         what came out of a guest may not be on this host
├── ListenError, also RuntimeError                an address that cannot be listened on
├── OutputWriteError, also RuntimeError           what was asked for cannot be printed
├── HostMissingError, also RuntimeError           a chat program that is not installed
├── HostFileError, also RuntimeError              its file is malformed, or cannot be used
├── HostServerError, also RuntimeError            what it would start does not work
├── ModelError, also RuntimeError                 a language model's server failed
└── CacheAccessError, also RuntimeError           the cache or state directory cannot be used

Those about shells are imported from `errors.shells`, those about services and ports from
`errors.services`, those about chat programs from `errors.chat_hosts`, the two of integrations
from `errors.integrations`, all others from here.
"""

from collections.abc import Sequence
from pathlib import Path

from pyro_mcp.errors.base import InvalidInputError as InvalidInputError
from pyro_mcp.errors.base import PyroError as PyroError
from pyro_mcp.errors.host import BrokenInstallError as BrokenInstallError
from pyro_mcp.errors.host import CacheAccessError as CacheAccessError
from pyro_mcp.errors.host import CacheCorruptError as CacheCorruptError
from pyro_mcp.errors.host import DiskSpaceError as DiskSpaceError
from pyro_mcp.errors.host import HostMemoryError as HostMemoryError
from pyro_mcp.errors.host import ListenError as ListenError
from pyro_mcp.errors.host import NetworkError as NetworkError
from pyro_mcp.errors.host import NoEngineError as NoEngineError
from pyro_mcp.errors.host import OutputExistsError as OutputExistsError
from pyro_mcp.errors.host import OutputWriteError as OutputWriteError
from pyro_mcp.errors.host import ToolMissingError as ToolMissingError


class UnknownEnvironmentError(PyroError, ValueError):
    """A name that the catalogue does not have."""

    code = "unknown_environment"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        from difflib import get_close_matches  # costs start-up time, and is for this error alone

        near = ", ".join(get_close_matches(name, known, cutoff=0.4) or sorted(known))
        super().__init__(
            f"No environment is named {name!r}.",
            hint=f"Nearest: {near}. 'pyro env list' shows all.",
        )


class UnknownMachineError(PyroError, ValueError):
    """An id that names no machine of this process."""

    code = "unknown_machine"

    def __init__(self, vm_id: str) -> None:
        super().__init__(
            f"No machine of this process has the id {vm_id!r}.",
            hint="exec_vm deletes its machine; create_vm makes a new one.",
        )


class UnknownWorkspaceError(PyroError, ValueError):
    """An id that names no workspace."""

    code = "unknown_workspace"

    def __init__(self, workspace_id: str, known: Sequence[str]) -> None:
        from difflib import get_close_matches  # costs start-up time, and is for this error alone

        near = ", ".join(get_close_matches(workspace_id, known, cutoff=0.5))
        super().__init__(
            f"No workspace has the id {workspace_id!r}.",
            hint=(f"Nearest: {near}. " if near else "") + "'pyro workspace list' shows all.",
        )


class UnknownToolError(PyroError, ValueError):
    """A name that no tool on offer has."""

    code = "unknown_tool"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        from difflib import get_close_matches  # costs start-up time, and is for this error alone

        near = get_close_matches(name, known, cutoff=0.5)
        super().__init__(
            f"No tool is named {name!r}.",
            hint=f"Nearest: {', '.join(near)}." if near else f"There are: {', '.join(known)}.",
        )


class UnknownSnapshotError(PyroError, ValueError):
    """A name that no snapshot of the workspace has."""

    code = "unknown_snapshot"

    def __init__(self, workspace_id: str, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Workspace {workspace_id} has no snapshot named {name!r}.",
            hint=f"It has: {', '.join(known)}.",
        )


class UnknownSecretError(PyroError, ValueError):
    """A name that no secret of the workspace has."""

    code = "unknown_secret"

    def __init__(self, workspace_id: str, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Workspace {workspace_id} has no secret named {name!r}.",
            hint=f"It has: {', '.join(known) or 'none'}. 'pyro workspace secret set' adds one.",
        )


class NameTakenError(PyroError, ValueError):
    """A name that something else has already."""

    code = "name_taken"

    def __init__(self, what: str, name: str, *, hint: str) -> None:
        super().__init__(f"The {what} {name!r} exists already.", hint=hint)


class PatchError(PyroError, ValueError):
    """A patch that is malformed, asks for what is not supported, or leads out of /workspace."""

    code = "patch"

    def __init__(self, wrong: str, *, hint: str) -> None:
        super().__init__(f"The patch {wrong}.", hint=hint)


class PatchConflictError(PyroError, RuntimeError):
    """A patch that does not fit the files there are; nothing was changed."""

    code = "patch_conflict"

    def __init__(self, path: str, wrong: str, *, hint: str) -> None:
        super().__init__(f"The patch does not apply: {path!r} {wrong}.", hint=hint)
        self.path = path


class CatalogueError(PyroError, ValueError):
    """An entry of a catalogue file that cannot be used."""

    code = "catalogue_entry"

    def __init__(self, where: Path, wrong: str, *, hint: str) -> None:
        super().__init__(f"The catalogue {where} {wrong}.", hint=hint)


class MachineStateError(PyroError, RuntimeError):
    """A call that needs another state of the machine."""

    code = "machine_state"

    def __init__(self, vm_id: str, *, state: str, needed: str, hint: str) -> None:
        super().__init__(f"Machine {vm_id} is {state}, and this needs it {needed}.", hint=hint)


class WorkspaceStateError(PyroError, RuntimeError):
    """A call that needs another state of the workspace."""

    code = "workspace_state"

    def __init__(self, workspace_id: str, *, state: str, needed: str, hint: str) -> None:
        super().__init__(
            f"Workspace {workspace_id} is {state}, and this needs it {needed}.", hint=hint
        )


class WorkspaceFileError(PyroError, RuntimeError):
    """What was asked of a file in a workspace cannot be done; `reason` is the protocol's code.

    For example `not_found`, `is_directory`, `not_directory`, `outside`, `is_link`, `exists`.
    """

    code = "workspace_file"

    def __init__(self, problem: str, *, reason: str, hint: str) -> None:
        super().__init__(problem, hint=hint)
        self.reason = reason


class StateVersionError(PyroError, RuntimeError):
    """The database was written by a newer pyro."""

    code = "state_version"

    def __init__(self, where: Path, *, found: int, known: int) -> None:
        super().__init__(
            f"The database {where} has schema {found}, and this pyro knows up to {known}.",
            hint="Use the newer pyro that wrote it, or another PYRO_STATE_DIR.",
        )


class MachineExpiredError(PyroError, RuntimeError):
    """The machine's time to live is over and it was deleted."""

    code = "machine_expired"

    def __init__(self, vm_id: str, ttl_seconds: int) -> None:
        super().__init__(
            f"Machine {vm_id} reached the end of its {ttl_seconds} s and was deleted.",
            hint="Create a new one, with a larger ttl_seconds if it was too short.",
        )


class GuestStartError(PyroError, RuntimeError):
    """The guest did not come up; carries the end of its console."""

    code = "guest_start_failed"

    def __init__(self, why: str, *, console: str = "") -> None:
        tail = f" Last lines of its console:\n{console}\n" if console else ""
        super().__init__(
            f"The guest did not start: {why}.{tail}", hint="'pyro doctor' checks this host."
        )
        self.console = console


class GuestLostError(PyroError, RuntimeError):
    """The machine ended, or its channel broke, while a call was under way."""

    code = "guest_lost"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The guest was lost during the call: {why}.",
            hint="The outcome is unknown. A workspace keeps its files, and is started by its next "
            "call; otherwise make a new machine.",
        )


class GuestUnreachableError(GuestLostError):
    """The machine ended before anything was asked of it: asking again is safe."""


class GuestWithoutRoomError(GuestLostError):
    """The machine ended because its disk, which grows as it is written to, could not."""

    code = "guest_without_room"

    def __init__(self, where: Path, *, free_mib: int) -> None:
        PyroError.__init__(
            self,
            f"The guest ended during the call: its disk could not grow, since {where} has "
            f"{free_mib} MiB free.",
            hint="Free some room on this host; when it is started then, it has all that had been "
            "written before.",
        )


class CallCancelledError(PyroError, RuntimeError):
    """A call was ended by the one who made it; what it had started in the guest is ended too."""

    code = "cancelled"

    def __init__(self) -> None:
        super().__init__("The call was cancelled.", hint="What it had started has been ended.")


class GuestRefusedError(PyroError, RuntimeError):
    """The guest agent answered a request with an error."""

    code = "guest_refused"

    def __init__(self, why: str, *, hint: str, reason: str = "") -> None:
        super().__init__(f"The guest refused the request: {why}.", hint=hint)
        self.reason = reason
        """The protocol's code, where it was kept."""


class ProtocolVersionError(PyroError, RuntimeError):
    """Host and guest agent speak different versions of the protocol."""

    code = "protocol_version"

    def __init__(self, *, ours: int, theirs: int) -> None:
        super().__init__(
            f"The guest agent speaks protocol version {theirs}, this pyro speaks {ours}.",
            hint="The machine was started by another version of pyro: stop it and start it again.",
        )


class NotAvailableError(PyroError, RuntimeError):
    """Something this version, or this host, cannot give."""

    code = "not_available"

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(f"{what}.", hint=hint)


class MachineLimitError(PyroError, RuntimeError):
    """As many machines are active as `max_active_vms` allows."""

    code = "machine_limit"

    def __init__(self, *, limit: int, active: int) -> None:
        super().__init__(
            f"max_active_vms is {limit} and {active} machines are active.",
            hint="Delete one first, or construct Pyro with a larger max_active_vms.",
        )


class EnvironmentBuildError(PyroError, RuntimeError):
    """An image could not be built."""

    code = "environment_build"

    def __init__(self, name: str, why: str, *, hint: str) -> None:
        super().__init__(f"Building {name} failed: {why}.", hint=hint)


class ExportRefusedError(PyroError, RuntimeError):
    """What a guest sent for an export is damaged, dangerous or too much; nothing was kept."""

    code = "export_refused"

    def __init__(self, path: str, why: str, *, hint: str) -> None:
        super().__init__(f"The export of {path!r} was refused: {why}.", hint=hint)


class ModelError(PyroError, RuntimeError):
    """A language model's server cannot be reached, or its answer cannot be used."""

    code = "model"

    def __init__(self, url: str, why: str, *, hint: str) -> None:
        super().__init__(f"The model at {url} failed: {why}.", hint=hint)
