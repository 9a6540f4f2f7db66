"""Public methods about one-shot machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from pyro_mcp import config
from pyro_mcp.machines.spec import MachineSpec, check_command, check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.sdk.manager import VmManager

    OnOutput = Callable[[str, bytes], None]
    OnPhase = Callable[[str, dict[str, Any]], None]


class VmMethods:
    """See `Pyro`."""

    _manager: VmManager

    def run_in_vm(
        self,
        *,
        environment: str,
        command: str,
        vcpu_count: int = config.DEFAULT_VCPU_COUNT,
        mem_mib: int = config.DEFAULT_MEM_MIB,
        timeout_seconds: int = config.DEFAULT_TIMEOUT_SECONDS,
        ttl_seconds: int = config.DEFAULT_TTL_SECONDS,
        network: bool = False,
        network_allow: Sequence[str] | None = None,
        network_private: Sequence[str] | None = None,
        network_inherit: bool = False,
        allow_host_compat: bool = False,
        stdin: BinaryIO | bytes | None = None,
        on_output: OnOutput | None = None,
        on_phase: OnPhase | None = None,
        keep_output: bool = True,
        cancel: Cancel | None = None,
    ) -> dict[str, Any]:
        """Run one shell command in a machine that is made for it and deleted afterwards.

        Args:
            environment: A name of the catalogue, such as `debian:12`.
            command: What the guest's `/bin/sh -lc` is given.
            vcpu_count: CPUs asked for, 1 to 8; the result says how many the guest had.
            mem_mib: The guest's memory, 256 to 32768 MiB, held by the host.
            timeout_seconds: Limit for the command; then TERM, KILL, and exit code 124.
            ttl_seconds: Limit for the machine's whole life, 60 to 3600.
            network: Outbound network; never to this host or to private ranges.
            network_allow: Of that network, only this: names (`example.org`, `*.example.org`),
                addresses and ranges, each with an optional port (`:443`).
            network_private: Of what is closed otherwise, also these addresses and ranges.
            network_inherit: Give commands the host's proxy variables, package indexes of pip and
                npm, and certificates, and open what those name.
            allow_host_compat: Allow running on this host itself, without isolation, where no
                guest can run.
            stdin: The command's input; nothing when left out.
            on_output: Called with ("stdout" or "stderr", bytes) as output comes.
            on_phase: Called with a phase (build, create, start, execute) and facts about it.
            keep_output: False leaves `stdout` and `stderr` of the result empty.
            cancel: Ends the call, the command and the machine when it is triggered.

        Returns:
            A `vm_exec_result`. Of each stream at most 8 MiB are kept, head and tail.

        Raises:
            ValueError: A parameter that cannot be used; nothing was changed.
            RuntimeError: This host, the environment or the guest failed, or it was cancelled.
        """
        check_command(command)
        check_timeout(timeout_seconds)
        _check(cancel)
        tell = on_phase or _quiet
        machines = self._manager.machines
        spec = MachineSpec(
            environment,
            vcpu_count,
            mem_mib,
            ttl_seconds,
            network,
            allow_host_compat,
            tuple(network_allow or ()),
            tuple(network_private or ()),
            network_inherit,
        )

        def building(phase: str, fraction: float | None) -> None:
            _check(cancel)
            tell("build", {"phase": phase, "fraction": fraction})

        tell("create", {"environment": environment})
        vm_id = machines.create(spec, progress=building).vm_id
        try:
            _check(cancel)
            tell("start", {"vm_id": vm_id})
            machines.start(vm_id)
            tell("execute", {"vm_id": vm_id})
            return machines.execute(
                vm_id,
                command,
                timeout_seconds=timeout_seconds,
                stdin=stdin,
                on_output=on_output,
                keep_output=keep_output,
                cancel=cancel,
            ).to_dict()
        except BaseException:
            machines.discard(vm_id)
            raise

    def create_vm(
        self,
        *,
        environment: str,
        vcpu_count: int = config.DEFAULT_VCPU_COUNT,
        mem_mib: int = config.DEFAULT_MEM_MIB,
        ttl_seconds: int = config.DEFAULT_TTL_SECONDS,
        network: bool = False,
        network_allow: Sequence[str] | None = None,
        network_private: Sequence[str] | None = None,
        network_inherit: bool = False,
        allow_host_compat: bool = False,
    ) -> dict[str, Any]:
        """Make a machine of this process; `start_vm` boots it. Arguments as in `run_in_vm`."""
        spec = MachineSpec(
            environment,
            vcpu_count,
            mem_mib,
            ttl_seconds,
            network,
            allow_host_compat,
            tuple(network_allow or ()),
            tuple(network_private or ()),
            network_inherit,
        )
        return self._manager.machines.create(spec).to_dict()

    def start_vm(self, vm_id: str) -> dict[str, Any]:
        """Boot a machine that is created or stopped.

        Raises:
            ValueError: No machine of this process has that id.
            RuntimeError: It runs already, its time is over, or the guest did not come up.
        """
        return self._manager.machines.start(vm_id).to_dict()

    def exec_vm(
        self,
        vm_id: str,
        *,
        command: str,
        timeout_seconds: int = config.DEFAULT_TIMEOUT_SECONDS,
        stdin: BinaryIO | bytes | None = None,
        on_output: OnOutput | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, Any]:
        """Run one command in a started machine, then delete the machine.

        Raises:
            ValueError: No machine of this process has that id, or a parameter cannot be used.
            RuntimeError: It is not started, its time is over, or the guest was lost.
        """
        return self._manager.machines.execute(
            vm_id,
            command,
            timeout_seconds=timeout_seconds,
            stdin=stdin,
            on_output=on_output,
            cancel=cancel,
        ).to_dict()

    def stop_vm(self, vm_id: str) -> dict[str, Any]:
        """Flush and end a machine's guest; its disk stays, and `start_vm` boots it again."""
        return self._manager.machines.stop(vm_id).to_dict()

    def delete_vm(self, vm_id: str) -> dict[str, Any]:
        """End a machine and remove everything of it."""
        return self._manager.machines.delete(vm_id).to_dict()

    def status_vm(self, vm_id: str) -> dict[str, Any]:
        """What can be said of a machine now."""
        return self._manager.machines.status(vm_id).to_dict()

    def network_info_vm(self, vm_id: str) -> dict[str, Any]:
        """How a machine is connected."""
        return self._manager.machines.network_info(vm_id).to_dict()

    def reap_expired(self) -> dict[str, Any]:
        """Forget machines of this process whose time is over; their guests ended by themselves."""
        return self._manager.machines.reap().to_dict()


def _quiet(_phase: str, _facts: dict[str, Any]) -> None:
    return


def _check(cancel: Cancel | None) -> None:
    if cancel is not None:
        cancel.check()
