"""What a command in a guest meets: shell, directory, variables, streams, status."""

from __future__ import annotations

import hashlib

import pytest

from pyro_mcp.errors import GuestRefusedError
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.requests import CommandOutcome


def run(machine: Machine, command: str, *, timeout_seconds: float = 60) -> CommandOutcome:
    return machine.execute(command, timeout_seconds=timeout_seconds)


def test_it_is_answered_by_a_linux_kernel_that_is_not_the_hosts(shared_machine: Machine) -> None:
    import os

    outcome = run(shared_machine, "uname -sr")

    assert outcome.stdout.text().startswith("Linux ")
    assert outcome.stdout.text().strip() != f"Linux {os.uname().release}"


def test_the_environment_has_what_its_catalogue_entry_names(shared_machine: Machine) -> None:
    outcome = run(shared_machine, "git --version && python3 --version && cat /etc/debian_version")

    assert outcome.exit_code == 0
    lines = outcome.stdout.text().splitlines()
    assert lines[0].startswith("git version 2.")
    assert lines[1].startswith("Python 3.11")
    assert lines[2].startswith("12")


def test_it_starts_in_the_workspace_as_root_with_few_variables(shared_machine: Machine) -> None:
    outcome = run(shared_machine, "pwd; id -u; env")

    lines = outcome.stdout.text().splitlines()
    variables = dict(line.split("=", 1) for line in lines[2:])
    assert lines[:2] == ["/workspace", "0"]
    assert variables["HOME"] == "/root"
    assert variables["LANG"] == "C.UTF-8"
    assert "/usr/bin" in variables["PATH"].split(":")
    assert set(variables) <= {"HOME", "LANG", "PATH", "PWD", "SHLVL", "_", "OLDPWD", "TERM"}


def test_variables_of_the_caller_reach_the_command(shared_machine: Machine) -> None:
    outcome = shared_machine.execute(
        'printf %s "$WORD"', timeout_seconds=30, env={"WORD": "tromsø 'quoted' $x"}
    )

    assert outcome.stdout.text() == "tromsø 'quoted' $x"


def test_stdout_and_stderr_stay_apart(shared_machine: Machine) -> None:
    outcome = run(shared_machine, "echo out; echo err >&2")

    assert outcome.stdout.text() == "out\n"
    assert outcome.stderr.text() == "err\n"


@pytest.mark.parametrize("code", [0, 1, 2, 42, 126, 255])
def test_the_exit_status_comes_back(shared_machine: Machine, code: int) -> None:
    outcome = run(shared_machine, f"exit {code}")

    assert (outcome.exit_code, outcome.signal, outcome.timed_out) == (code, None, False)


@pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("TERM", 15), ("SEGV", 11)])
def test_a_command_killed_by_a_signal_says_which(
    shared_machine: Machine, name: str, number: int
) -> None:
    outcome = run(shared_machine, f"kill -{name} $$; sleep 30")

    assert (outcome.exit_code, outcome.signal) == (128 + number, number)


def test_binary_output_arrives_byte_for_byte(shared_machine: Machine) -> None:
    received = bytearray()

    shared_machine.execute(
        "python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 100)'",
        timeout_seconds=60,
        on_output=lambda _stream, data: received.extend(data),
    )

    assert bytes(received) == bytes(range(256)) * 100


def test_text_that_is_not_utf8_is_replaced_and_not_an_error(shared_machine: Machine) -> None:
    outcome = run(shared_machine, r"printf 'caf\351\n'")

    assert outcome.exit_code == 0
    assert outcome.stdout.text() == "caf�\n"


def test_a_command_runs_once_whatever_it_prints_and_however_it_ends(
    shared_machine: Machine,
) -> None:
    """Nothing is ever asked again on its behalf: it may have had effects."""
    run(shared_machine, r"echo ran >> once; printf '\351\0\377'; kill -9 $$")

    assert run(shared_machine, "cat once; rm once").stdout.text() == "ran\n"


def test_output_comes_while_the_command_still_runs(shared_machine: Machine) -> None:
    """The command waits for an answer to what it printed: buffering would hang it."""
    import os

    reader, writer = os.pipe()

    def answer(_stream: str, data: bytes) -> None:
        if data == b"question\n":
            os.write(writer, b"answer\n")
            os.close(writer)

    try:
        with open(reader, "rb", closefd=False) as stdin:
            outcome = shared_machine.execute(
                "echo question; read reply; echo got $reply",
                timeout_seconds=30,
                stdin=stdin,
                on_output=answer,
            )
    finally:
        os.close(reader)

    assert outcome.stdout.text() == "question\ngot answer\n"


def test_input_arrives_whole_and_ends(shared_machine: Machine) -> None:
    data = bytes(range(256)) * 20_000

    outcome = shared_machine.execute("sha256sum", timeout_seconds=60, stdin=data)

    assert outcome.stdout.text().split()[0] == hashlib.sha256(data).hexdigest()


def test_without_input_the_command_reads_end_of_file(shared_machine: Machine) -> None:
    assert run(shared_machine, "cat; echo done").stdout.text() == "done\n"


def test_input_that_nobody_reads_does_not_hold_the_command(shared_machine: Machine) -> None:
    outcome = shared_machine.execute("echo done", timeout_seconds=30, stdin=b"x" * 5_000_000)

    assert (outcome.exit_code, outcome.stdout.text()) == (0, "done\n")


def test_what_one_command_writes_the_next_one_reads(shared_machine: Machine) -> None:
    run(shared_machine, "echo kept > note; echo system > /etc/pyro-note")

    outcome = run(shared_machine, "cat note /etc/pyro-note; rm note /etc/pyro-note")

    assert outcome.stdout.text() == "kept\nsystem\n"


def test_a_background_process_does_not_hold_the_command(shared_machine: Machine) -> None:
    outcome = run(shared_machine, "sleep 300 & echo started", timeout_seconds=30)

    assert outcome.stdout.text() == "started\n"
    assert not outcome.timed_out


def test_a_command_sees_its_own_processes_only(shared_machine: Machine) -> None:
    outcome = run(shared_machine, "ls /proc | grep -c '^[0-9]'; cat /proc/*/comm")

    assert int(outcome.stdout.text().split()[0]) <= 5
    assert "python3" not in outcome.stdout.text()


def test_many_commands_leave_no_process_behind(shared_machine: Machine) -> None:
    for _ in range(20):
        run(shared_machine, "(sleep 200 &) ; true")

    outcome = run(shared_machine, "cat /proc/loadavg")
    total = int(outcome.stdout.text().split()[3].split("/")[1])
    assert total < 60


def test_commands_run_side_by_side(shared_machine: Machine) -> None:
    """The first waits for a file that the second makes."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        waits = pool.submit(
            run, shared_machine, "until [ -e /tmp/go ]; do sleep 0.05; done; rm /tmp/go; echo went"
        )
        run(shared_machine, "touch /tmp/go")
        outcome = waits.result(timeout=60)

    assert outcome.stdout.text() == "went\n"


def test_a_directory_that_is_not_there_is_refused(shared_machine: Machine) -> None:
    from pyro_mcp.machines import requests

    with pytest.raises(GuestRefusedError, match="/no/such/place"):
        requests.execute(
            shared_machine.directory,
            "true",
            timeout_seconds=10,
            cwd="/no/such/place",
            output_limit=1000,
        )


def test_a_command_that_is_too_long_is_refused_with_another_way(shared_machine: Machine) -> None:
    with pytest.raises(GuestRefusedError, match=r"too long.* Write the command to a file"):
        run(shared_machine, "x" * 200_000)


def test_the_shells_profiles_start_no_program(shared_machine: Machine) -> None:
    """They are read before every command, and starting a program is what costs time in a guest."""
    outcome = run(
        shared_machine, "cat /etc/profile ~/.profile; PS1=x PATH= . /etc/profile; echo $PATH"
    )

    assert "id -u" not in outcome.stdout.text()
    assert "mesg" not in outcome.stdout.text()
    assert outcome.stderr.text() == ""
    assert outcome.stdout.text().splitlines()[-1].startswith("/usr/local/sbin:/usr/local/bin:")
