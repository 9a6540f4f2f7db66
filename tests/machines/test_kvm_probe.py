"""The KVM probe tells what it saw, and a host without KVM is not an error."""

import json
import os
import subprocess
import sys
from pathlib import Path

from pyro_mcp.machines import kvm_probe


def test_it_says_whether_a_guest_ran_and_what_it_saw() -> None:
    runs, detail = kvm_probe.probe()

    assert detail
    if runs:
        assert "ran and halted" in detail
    else:
        assert not os.access("/dev/kvm", os.R_OK | os.W_OK) or "guest" in detail


def test_without_the_device_it_says_so(tmp_path: Path) -> None:
    """The probe's own program, with a device that is not there."""
    program = Path(kvm_probe.__file__).read_text().replace("/dev/kvm", str(tmp_path / "none"))
    copy = tmp_path / "probe.py"
    copy.write_text(program)

    ended = subprocess.run([sys.executable, "-I", "-S", str(copy)], capture_output=True, check=True)

    answer = json.loads(ended.stdout)
    assert answer["runs"] is False
    assert "No such file" in answer["detail"]


def test_a_probe_that_gives_no_answer_counts_as_no(tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexit 3\n")
    silent.chmod(0o755)

    assert kvm_probe.probe(str(silent)) == (False, "the probe ended with status 3 and no answer")
