"""Tools about computers for one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp import config
from pyro_mcp.tools import bounds
from pyro_mcp.tools.names import CORE, FULL, VM_RUN
from pyro_mcp.tools.parameters import flag, integer, text, texts
from pyro_mcp.tools.tool import Context, Hints, Tool

if TYPE_CHECKING:
    from pyro_mcp.sdk.pyro import Pyro
    from pyro_mcp.tools.parameters import Parameter

ENVIRONMENT = text(
    "environment", "debian:12 (has git), debian:12-base (bare), debian:12-build (compilers)"
)
COMMAND = text("command", "For /bin/sh -lc, as root in /workspace")
VCPU_COUNT = integer("vcpu_count", "CPUs, 1-8", config.DEFAULT_VCPU_COUNT)
MEM_MIB = integer("mem_mib", "MiB of memory, 256-32768", config.DEFAULT_MEM_MIB)
TIMEOUT = integer(
    "timeout_seconds", "Then it is killed: exit_code 124", config.DEFAULT_TIMEOUT_SECONDS
)
HOST_COMPAT = flag("allow_host_compat", "No isolation if no guest can run")
_NETWORK = flag("network", "Outbound network")
NETWORK_ALLOW = texts("network_allow", "Only these names, addresses, each :port", full_only=True)
NETWORK_PRIVATE = texts("network_private", "Private ranges to open", full_only=True)
NETWORK_INHERIT = flag("network_inherit", "Proxies, indexes of the host", full_only=True)
_TTL = integer("ttl_seconds", "Life limit in s, 60-3600", config.DEFAULT_TTL_SECONDS)
_VM_ID = text("vm_id")

OUTPUT = {"exit_code": "integer", "stdout": "string", "stderr": "string"}
_VM = {"vm_id": "string", "state": "string"}

_NARROW = "print less of it, or use workspace_exec, whose output workspace_logs reads by offset"


def _vm_run(pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    answer = pyro.run_in_vm(
        **arguments,
        cancel=context.cancel,
        on_output=context.on_output,
        on_phase=lambda phase, facts: context.tell(
            facts.get("phase", phase), facts.get("fraction")
        ),
    )
    return bounds.streams(answer, hint=_NARROW)


def _vm_exec(pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    answer = pyro.exec_vm(**arguments, cancel=context.cancel, on_output=context.on_output)
    return bounds.streams(answer, hint=_NARROW)


def _list_environments(pyro: Pyro, _arguments: dict[str, Any], _: Context) -> dict[str, Any]:
    return {"result": pyro.list_environments()}


def _vm(
    name: str, title: str, description: str, method: str, *parameters: Parameter, **more: Any
) -> Tool:
    defaults: dict[str, Any] = {"answer": _VM, "hints": Hints(), "profiles": (FULL,)}
    return Tool(
        name=name, title=title, description=description, method=method,
        parameters=parameters, **{**defaults, **more},
    )  # fmt: skip


TOOLS = (
    _vm(
        "vm_run", "Run one command in a throwaway computer",
        "Run one shell command in a new isolated Linux computer that is deleted afterwards. "
        "For several steps use workspace_create, if offered. "
        "A failing command is no error: see exit_code.",
        "run_in_vm",
        ENVIRONMENT, COMMAND, VCPU_COUNT, MEM_MIB, TIMEOUT, _TTL, _NETWORK,
        NETWORK_ALLOW, NETWORK_PRIVATE, NETWORK_INHERIT, HOST_COMPAT,
        answer=OUTPUT, profiles=(VM_RUN, CORE, FULL), hints=Hints(open_world=True),
        handler=_vm_run, slow=True,
    ),
    _vm(
        "vm_list_environments", "List environments",
        "List the base environments a computer can be made from, and which are installed. "
        "One that is not is built by its first use, which takes minutes.",
        "list_environments",
        answer={"result": "array"}, hints=Hints(read_only=True), handler=_list_environments,
    ),
    _vm(
        "vm_create", "Reserve a throwaway computer",
        "Reserve a throwaway computer without booting it; vm_start is next. "
        "It is gone after ttl_seconds or when this server ends.",
        "create_vm",
        ENVIRONMENT, VCPU_COUNT, MEM_MIB, _TTL, _NETWORK,
        NETWORK_ALLOW, NETWORK_PRIVATE, NETWORK_INHERIT, HOST_COMPAT, slow=True,
    ),
    _vm(
        "vm_start", "Boot a throwaway computer",
        "Boot a computer made by vm_create; vm_exec is next.",
        "start_vm", _VM_ID,
    ),
    _vm(
        "vm_exec", "Run a throwaway computer's one command",
        "Run one command in a started computer, then delete that computer.",
        "exec_vm", _VM_ID, COMMAND, TIMEOUT,
        answer=OUTPUT, hints=Hints(destructive=True, open_world=True), handler=_vm_exec, slow=True,
    ),
    _vm(
        "vm_stop", "Halt a throwaway computer",
        "Halt a computer and keep its disk; vm_start boots it again.",
        "stop_vm", _VM_ID, hints=Hints(idempotent=True),
    ),
    _vm(
        "vm_delete", "Delete a throwaway computer",
        "End a computer and remove all of it.",
        "delete_vm", _VM_ID,
        answer={"deleted": "boolean"}, hints=Hints(destructive=True),
    ),
    _vm(
        "vm_status", "Look at a throwaway computer",
        "State of a computer: created, started or stopped.",
        "status_vm", _VM_ID, hints=Hints(read_only=True),
    ),
    _vm(
        "vm_network_info", "Look at a computer's network",
        "How a computer is connected.",
        "network_info_vm", _VM_ID,
        answer={"network_enabled": "boolean"}, hints=Hints(read_only=True),
    ),
    _vm(
        "vm_reap_expired", "Remove expired computers",
        "Remove the computers whose ttl_seconds are over.",
        "reap_expired",
        answer={"deleted_vm_ids": "array"}, hints=Hints(destructive=True, idempotent=True),
    ),
)  # fmt: skip
