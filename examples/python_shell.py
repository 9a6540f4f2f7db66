"""A terminal in a workspace that goes on by itself between calls.

python examples/python_shell.py
"""

from pyro_mcp import Pyro

with Pyro() as pyro:
    workspace_id = pyro.create_workspace(environment="debian:12", mem_mib=512)["workspace_id"]
    try:
        shell_id = pyro.open_shell(workspace_id)["shell_id"]
        for line in ("cd /tmp", "NAME=pyro", "echo $NAME is in $PWD; exit 3"):
            pyro.write_shell(workspace_id, shell_id, input=line)

        # Reading takes nothing away: a position in the output says where to go on.
        cursor, state = 0, "running"
        while state == "running":
            said = pyro.read_shell(
                workspace_id, shell_id, cursor=cursor, plain=True, wait_for_idle_ms=300
            )
            print(said["output"], end="")
            cursor, state = said["next_cursor"], said["state"]

        print("ended with", pyro.close_shell(workspace_id, shell_id)["exit_code"])
    finally:
        pyro.delete_workspace(workspace_id)
