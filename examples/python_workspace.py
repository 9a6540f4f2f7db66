"""A computer that is kept: put a project in, break it, fix it, take the result home.

python examples/python_workspace.py
"""

import tempfile
from pathlib import Path

from pyro_mcp import Pyro

FIX = """\
--- a/double.py
+++ b/double.py
@@ -1,2 +1,2 @@
 def double(number):
-    return number ** 2
+    return number * 2
"""

with tempfile.TemporaryDirectory() as folder, Pyro() as pyro:
    project = Path(folder, "project")
    project.mkdir()
    (project / "double.py").write_text("def double(number):\n    return number ** 2\n")
    (project / "check.py").write_text("from double import double\nassert double(5) == 10\n")

    workspace_id = pyro.create_workspace(
        environment="debian:12", mem_mib=512, seed_path=project, name="double"
    )["workspace_id"]
    try:
        broken = pyro.exec_workspace(workspace_id, command="python3 check.py")
        print("before:", broken["exit_code"], broken["stderr"].strip().splitlines()[-1])
        pyro.create_snapshot(workspace_id, "before")

        pyro.apply_workspace_patch(workspace_id, patch=FIX)
        print("after:", pyro.exec_workspace(workspace_id, command="python3 check.py")["exit_code"])
        changed = pyro.diff_workspace(workspace_id)["entries"]
        print("changed:", [one["path"] for one in changed if one["path"].endswith(".py")])

        home = Path(folder, "double.py")
        pyro.export_workspace(workspace_id, "double.py", output_path=home)
        print("taken home:", home.read_text().splitlines()[1].strip())

        pyro.reset_workspace(workspace_id, snapshot="before")
        again = pyro.exec_workspace(workspace_id, command="python3 check.py")
        print("reset:", again["exit_code"])
    finally:
        pyro.delete_workspace(workspace_id)
