"""The work mix itself: run by Python inside whatever is measured; needs nothing of pyro.

Prints one line a step, `NAME SECONDS`, and `cpus N` first.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PLACE = Path("/workspace/mix")
C_FUNCTIONS = 220
GIT_FILES = 300
TEST_FILES, TESTS_EACH = 25, 20
FORKS = 200

NUMPY = """
import numpy
generator = numpy.random.default_rng(1)
a = generator.random((700, 700))
for _ in range(4):
    a = a @ a / 700
numpy.sort(generator.random(3_000_000))
numpy.linalg.svd(generator.random((250, 250)))
"""
NODE = """
const rows = [];
for (let i = 0; i < 200000; i++) rows.push({id: i, name: "row" + i, value: (i * 7919) % 10007});
const text = JSON.stringify(rows);
const back = JSON.parse(text).sort((a, b) => a.value - b.value);
let sum = 0;
for (let i = 0; i < 30000000; i++) sum = (sum + i * 3) % 1000003;
console.log(back.length, sum);
"""


def main() -> None:
    print("cpus", len(os.sched_getaffinity(0)), flush=True)
    for name, step in STEPS.items():
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir(parents=True)
        os.chdir(PLACE)
        started = time.perf_counter()
        step()
        print(name, f"{time.perf_counter() - started:.4f}", flush=True)
        os.chdir("/")
    shutil.rmtree(PLACE, ignore_errors=True)


def do(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def c_compile() -> None:
    functions = "\n".join(
        f"""static double f{n}(const double *x, int n) {{
            double sum = {n}; for (int i = 0; i < n; i++) sum += x[i] * (i % {n + 2});
            return sqrt(sum) + strlen("f{n}"); }}"""
        for n in range(C_FUNCTIONS)
    )
    calls = "".join(f"t += f{n}(x, 64);" for n in range(C_FUNCTIONS))
    includes = "#include <math.h>\n#include <stdio.h>\n#include <string.h>\n"
    main_function = f'int main(void) {{ double x[64] = {{1}}, t = 0; {calls} printf("%f\\n", t); }}'
    Path("a.c").write_text(includes + functions + main_function)
    do("gcc", "-O2", "-o", "a", "a.c", "-lm")
    for n in range(6):
        Path(f"small{n}.c").write_text(f"{includes} int small{n}(void) {{ return {n}; }}")
        do("gcc", "-O1", "-c", f"small{n}.c")
    do("./a")


def python_loop() -> None:
    table: dict[int, int] = {}
    for n in range(3_000_000):
        table[n % 1009] = table.get(n % 1009, 0) + n
    assert sum(table.values()) == 4_499_998_500_000


def numpy() -> None:
    do(sys.executable, "-c", NUMPY)


def node() -> None:
    do("node", "-e", NODE)


def pytest_500() -> None:
    for n in range(TEST_FILES):
        Path(f"test_{n}.py").write_text(
            "import pytest\n\n"
            f"@pytest.mark.parametrize('n', range({TESTS_EACH}))\n"
            "def test_square(n, tmp_path):\n"
            "    (tmp_path / 'f').write_text(str(n))\n"
            "    assert int((tmp_path / 'f').read_text()) ** 2 == n * n\n"
        )
    do(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", "temp")


def venv() -> None:
    do(sys.executable, "-m", "venv", "venv")


def git_300() -> None:
    for n in range(GIT_FILES):
        file = Path(f"d{n % 10}/file{n}.txt")
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"line {n}\n" * 50)
    do("git", "init", "-q")
    do("git", "add", ".")
    do("git", "-c", "user.name=b", "-c", "user.email=b@localhost", "commit", "-q", "-m", "all")
    do("git", "status", "--short")


def fork_exec_200() -> None:
    do("sh", "-c", f"i=0; while [ $i -lt {FORKS} ]; do /bin/true; i=$((i+1)); done")


def tar() -> None:
    do("tar", "-C", "/usr/lib", "-cf", "a.tar", "python3", "python3.11")
    do("tar", "-xf", "a.tar")


def sha256() -> None:
    do("sh", "-c", "head -c 300000000 /dev/zero | sha256sum")


STEPS = {
    "C compile": c_compile,
    "Python loop": python_loop,
    "numpy": numpy,
    "node": node,
    "pytest, 500 tests": pytest_500,
    "python -m venv": venv,
    "git, 300 files": git_300,
    "200 x fork+exec": fork_exec_200,
    "tar": tar,
    "sha256 of 300 MB": sha256,
}

main()
