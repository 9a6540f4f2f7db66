"""Run one command in a computer that is gone afterwards.

python examples/python_run.py
"""

from pyro_mcp import Pyro

with Pyro() as pyro:
    result = pyro.run_in_vm(
        environment="debian:12",
        command="uname -r; id -un; exit 3",
        mem_mib=512,
        timeout_seconds=60,
    )

# A command that fails is a result, not an exception.
print("exit code", result["exit_code"], "after", result["duration_ms"], "ms")
print(result["stdout"], end="")
