"""The same as python_run.py in single steps, for who wants to do something in between.

python examples/python_lifecycle.py
"""

from pyro_mcp import Pyro

with Pyro() as pyro:  # whatever happens, no computer outlives this block
    vm_id = pyro.create_vm(environment="debian:12", mem_mib=512, ttl_seconds=300)["vm_id"]
    print("created:", pyro.status_vm(vm_id)["state"])

    pyro.start_vm(vm_id)
    print("booted:", pyro.status_vm(vm_id)["state"])

    # exec_vm runs the one command a computer is for, and deletes it. One that is kept across
    # commands is a workspace: see python_workspace.py.
    result = pyro.exec_vm(vm_id, command="git --version")
    print("said:", result["stdout"].strip())
    print("deleted:", result["cleanup"]["deleted"])

    spare = pyro.create_vm(environment="debian:12", mem_mib=512)["vm_id"]
    pyro.start_vm(spare)
    pyro.stop_vm(spare)
    print("deleted unused:", pyro.delete_vm(spare)["deleted"])
