"""Each example runs as it is written; only the paid API is a stub, which says what is below."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.fake_responses import Item, call, edit, fake_responses, say, shell
from tests.support.needs import CHECKOUT

EXAMPLES = CHECKOUT / "examples"
MOST_LINES = 60

RUN = {"environment": "debian:12", "mem_mib": 512}
SCRIPTS: dict[str, list[list[Item]]] = {
    "openai_responses_vm_run": [
        [call("vm_run", {**RUN, "command": "git --version"})],
        [say("It has git 2.39.")],
    ],
    "openai_responses_workspace_core": [
        [
            edit("create_file", "primes.py", "+print(2, 3, 5)", "1"),
            shell(["python3 primes.py"], "2"),
        ],
        [call("workspace_file_read", {"path": "primes.py"})],
        [say("Written and run.")],
    ],
    "openai_agents_workspace": [
        [edit("create_file", "hello.py", "+print('hello')")],
        [call("workspace_exec", {"command": "python3 hello.py"}, "2")],
        [say("It prints hello.")],
    ],
    "langchain_vm_run": [
        [call("vm_run", {**RUN, "command": "readlink -f /bin/sh"})],
        [say("It is dash.")],
    ],
    "pydantic_ai_workspace": [
        [call("workspace_exec", {"command": "ls -S /usr/bin | head -3 > largest.txt"})],
        [say("Written.")],
        [call("workspace_file_read", {"path": "largest.txt"}, "2")],
        [say("The first.")],
    ],
    "custom_loop": [
        [call("workspace_exec", {"command": "wc -l < /etc/passwd"})],
        [say("It has 18 lines.")],
    ],
}
SAID = {
    "python_run": ["exit code 3 after", "root"],
    "python_lifecycle": ["created: created", "booted: started", "said: git", "unused: True"],
    "python_workspace": [
        "before: 1 AssertionError", "after: 0", "changed: ['double.py']",
        "taken home: return number * 2", "reset: 1",
    ],
    "python_shell": ["pyro is in /tmp", "ended with 3"],
    "openai_responses_vm_run": ["It has git 2.39.", "(done after 2 requests)"],
    "openai_responses_workspace_core": [
        "[apply_patch_call]", "[shell_call]", "[workspace_file_read]", "(done after 3 requests)",
        "changed: primes.py",
    ],
    "openai_agents_workspace": ["It prints hello."],
    "langchain_vm_run": ["exit code 0", "It is dash."],
    "pydantic_ai_workspace": ["Written.", "The first."],
    "custom_loop": ["[workspace_exec] ok", "It has 18 lines."],
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs_as_it_is_written(name: str, images: object) -> None:
    with fake_responses(SCRIPTS.get(name, [])) as fake:
        ran = subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", EXAMPLES / f"{name}.py"],
            env={
                **os.environ,
                "OPENAI_BASE_URL": fake.url,
                "OPENAI_API_KEY": "none",
                "OPENAI_AGENTS_DISABLE_TRACING": "1",
                "MODEL_URL": fake.url,
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip

        assert ran.returncode == 0, ran.stderr
        for words in SAID[name]:
            assert words in ran.stdout
        assert len(fake.requests) == len(SCRIPTS.get(name, []))


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_an_example_fits_on_a_page_and_says_how_to_start_it(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()

    assert len(text.splitlines()) < MOST_LINES
    assert f"python examples/{name}.py" in text
