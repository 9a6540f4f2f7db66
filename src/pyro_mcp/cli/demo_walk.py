"""The steps of `pyro demo`: each is a call of the SDK, shown as the command that does the same."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pyro_mcp.cli.demo_stage import Shown
from pyro_mcp.cli.progress import BuildProgress

if TYPE_CHECKING:
    from pyro_mcp.cli.demo_stage import Stage
    from pyro_mcp.sdk.pyro import Pyro

_ENVIRONMENT = "debian:12"
_SNAPSHOT = "fixed"
_CHECK = "python3 check.py"
_WORST = "rm -rf /etc /usr/bin"
_PROJECT = {
    "lib.py": "def double(n):\n    return n + n + 1\n",
    "check.py": 'from lib import double\n\nassert double(2) == 4, f"double(2) is {double(2)}"\n'
    'print("all well")\n',
}
_PATCH = """\
--- a/lib.py
+++ b/lib.py
@@ -1,2 +1,2 @@
 def double(n):
-    return n + n + 1
+    return n + n
"""


def walk(pyro: Pyro, stage: Stage, *, network: bool = False) -> dict[str, Any]:
    """Go through all steps; what they make is removed however it ends.

    Returns:
        The answer to the first step, a run of one command.

    Raises:
        PyroError: A step failed.
    """
    with BuildProgress("demo") as progress:
        pyro.pull_environment(_ENVIRONMENT, on_progress=progress.update)
    begun = time.monotonic()
    first = stage.step(
        "One command, in a computer that is made for it",
        f"pyro run {_ENVIRONMENT} -- git --version",
        lambda: pyro.run_in_vm(environment=_ENVIRONMENT, command="git --version", network=network),
        _ended,
    )
    with TemporaryDirectory(prefix="pyro-demo-") as folder:
        for name, text in _PROJECT.items():
            Path(folder, name).write_text(text)
        made = stage.step(
            "A computer that is kept, with a copy of a project",
            f"pyro workspace create {_ENVIRONMENT} --seed-path project",
            lambda: pyro.create_workspace(
                environment=_ENVIRONMENT, seed_path=folder, mem_mib=512, name="demo"
            ),
            lambda made: Shown(f"workspace {made['workspace_id']}: {', '.join(_PROJECT)}"),
        )
    workspace_id = made["workspace_id"]
    try:
        _mend_and_break(pyro, stage, workspace_id)
    except BaseException:
        pyro.delete_workspace(workspace_id)
        raise
    stage.step(
        "And away with it",
        f"pyro workspace delete {workspace_id}",
        lambda: pyro.delete_workspace(workspace_id),
        lambda _: Shown("nothing is left"),
    )
    stage.close(time.monotonic() - begun)
    return first


def _mend_and_break(pyro: Pyro, stage: Stage, it: str) -> None:
    def execute(command: str) -> dict[str, Any]:
        return pyro.exec_workspace(it, command=command)

    def check() -> dict[str, Any]:
        return execute(_CHECK)

    stage.step("The project has a bug", f"pyro workspace exec {it} -- {_CHECK}", check, _ended)
    stage.step(
        "A patch, as a model would send it: all of it or nothing",
        f"pyro workspace patch apply {it} --patch-file fix.patch",
        lambda: pyro.apply_workspace_patch(it, patch=_PATCH),
        lambda done: Shown(f"{done['summary']['modified']} file changed"),
    )
    stage.step("Now the check passes", f"pyro workspace exec {it} -- {_CHECK}", check, _ended)
    stage.step(
        "What changed, as 'git apply' takes it",
        f"pyro workspace diff {it}",
        lambda: pyro.diff_workspace(it),
        lambda found: Shown(found["patch"], is_diff=True),
    )
    stage.step(
        "All of that computer, saved under a name",
        f"pyro workspace snapshot create {it} {_SNAPSHOT}",
        lambda: pyro.create_snapshot(it, _SNAPSHOT),
        lambda saved: Shown(f"snapshot {saved['snapshot']['snapshot_name']}"),
    )
    stage.step(
        "Something goes very wrong, and this host does not feel it",
        f"pyro workspace exec {it} -- {_WORST}",
        lambda: execute(_WORST),
        lambda _: Shown("not even a shell is left in it"),
    )

    def back() -> dict[str, Any]:
        pyro.reset_workspace(it, snapshot=_SNAPSHOT)
        return check()

    stage.step(
        "Back to the snapshot, as if nothing had been",
        f"pyro workspace reset {it} --snapshot {_SNAPSHOT}\npyro workspace exec {it} -- {_CHECK}",
        back,
        _ended,
    )


def _ended(done: dict[str, Any]) -> Shown:
    """The last line that a command wrote, and how it ended."""
    lines = (done["stdout"] + done["stderr"]).strip().splitlines()
    status = done["exit_code"]
    text = lines[-1] if lines else ""
    return Shown(text if status == 0 else f"{text} (exit status {status})", good=status == 0)
