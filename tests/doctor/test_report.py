"""The doctor tells a healthy host from one with problems, and names the remedy of each."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pyro_mcp
from pyro_mcp.config import CACHE_VARIABLE, PLATFORM, STATE_VARIABLE
from pyro_mcp.machines.spec import Images
from tests.support.needs import CHECKOUT

CONTRACT = json.loads((CHECKOUT / "tests/contract/cli.json").read_text())["doctor_report"]
RUNTIME = CONTRACT.pop("runtime (only when the bundle resolves)")
PACKAGE = Path(pyro_mcp.__file__).parent


def doctor(
    *words: str, variables: dict[str, str] | None = None, source: Path = PACKAGE.parent
) -> tuple[int, dict[str, Any]]:
    """Status and report of a process; `source` is where it has pyro from."""
    finished = subprocess.run(
        [sys.executable, "-m", "pyro_mcp", "doctor", "--json", *words],
        env={**os.environ, "PYTHONPATH": str(source), **(variables or {})},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.stderr == ""
    report: dict[str, Any] = json.loads(finished.stdout)
    return finished.returncode, report


def _check(report: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in report["checks"] if one["name"] == name)
    return found


@pytest.fixture(autouse=True)
def _nothing_built_unless_asked_for(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Comparing the images of the real cache with their records takes seconds.
    if "images" not in request.fixturenames:
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "no-images"))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A copy of the package, to be damaged; gives the folder it is imported from."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "src/pyro_mcp", ignore=ignored)
    return tmp_path / "src"


@pytest.mark.usefixtures("images")
def test_a_host_that_runs_guests_is_healthy_and_shows_one() -> None:
    status, report = doctor()

    assert report["issues"] == []
    assert status == 0
    assert report["runtime_ok"] is True
    assert "booted and answered" in _check(report, "guest boot")["detail"]
    assert report["runtime"]["capabilities"]["supports_guest_exec"] is True
    assert _check(report, "user namespaces")["ok"] is True


@pytest.mark.usefixtures("images")
def test_the_report_has_all_that_the_contract_names() -> None:
    _, report = doctor("--no-boot")

    assert CONTRACT.keys() <= report.keys()
    assert CONTRACT["kvm"].keys() <= report["kvm"].keys()
    assert CONTRACT["networking"].keys() <= report["networking"].keys()
    assert RUNTIME.keys() <= report["runtime"].keys()
    assert RUNTIME["capabilities"].keys() <= report["runtime"]["capabilities"].keys()
    assert report["platform"] == PLATFORM


def test_the_chosen_engine_is_one_that_is_available_and_says_why() -> None:
    _, report = doctor("--no-boot")

    chosen = next(one for one in report["engines"] if one["name"] == report["engine"])
    assert chosen["available"] is True
    assert chosen["reason"] in report["engine_reason"]


def test_kvm_is_no_issue_because_nothing_needs_it() -> None:
    _, report = doctor("--no-boot")

    assert _check(report, "kvm")["required"] is False
    assert report["kvm"]["exists"] is Path("/dev/kvm").exists()


def test_a_fresh_host_is_healthy_with_nothing_built(tmp_path: Path) -> None:
    """The first run builds what it needs, so nothing stands in its way."""
    status, report = doctor(variables={CACHE_VARIABLE: str(tmp_path / "cache")})

    assert (status, report["issues"]) == (0, [])
    assert "not built yet" in _check(report, "runtime")["detail"]
    assert not (tmp_path / "cache").exists()


def test_a_boot_that_was_asked_for_and_is_not_possible_is_an_issue(tmp_path: Path) -> None:
    status, report = doctor("--boot", variables={CACHE_VARIABLE: str(tmp_path / "cache")})

    assert status == 1
    assert "pyro env pull" in report["issues"][0]


def test_missing_programs_are_named_with_their_packages(tmp_path: Path) -> None:
    status, report = doctor("--no-boot", variables={"PATH": str(tmp_path)})

    assert status == 1
    assert _check(report, "tool bwrap")["ok"] is False
    assert any("apt-get install bubblewrap" in issue for issue in report["issues"])


@pytest.mark.parametrize(
    ("variable", "name"), [(CACHE_VARIABLE, "cache directory"), (STATE_VARIABLE, "state directory")]
)
def test_a_directory_that_cannot_be_made_is_an_issue(
    variable: str, name: str, tmp_path: Path
) -> None:
    blocker = tmp_path / "file"
    blocker.touch()

    status, report = doctor("--no-boot", variables={variable: str(blocker / "below")})

    assert status == 1
    assert any(issue.startswith(name) and variable in issue for issue in report["issues"])


def test_a_damaged_kernel_is_found(images: Images, tmp_path: Path) -> None:
    runtime = images.jail_root.parent
    ours = tmp_path / "runtime" / runtime.name
    (ours / "jail").mkdir(parents=True)
    kernel = bytearray((runtime / "jail/linux").read_bytes())
    kernel[len(kernel) // 2] ^= 1
    (ours / "jail/linux").write_bytes(kernel)
    (ours / "tree").symlink_to(runtime / "tree")
    (ours / "runtime.json").symlink_to(runtime / "runtime.json")

    status, report = doctor(variables={CACHE_VARIABLE: str(tmp_path)})

    assert status == 1
    assert "not the file that was recorded" in _check(report, "runtime")["detail"]


def test_a_damaged_image_is_found(images: Images, tmp_path: Path) -> None:
    place = images.environment_image.parent
    ours = tmp_path / place.parent.name / place.name
    ours.mkdir(parents=True)
    (ours / "environment.json").symlink_to(place / "environment.json")
    with (ours / "rootfs.ext4").open("wb") as image:
        image.truncate(images.environment_image.stat().st_size)

    status, report = doctor(variables={CACHE_VARIABLE: str(tmp_path)})

    assert status == 1
    assert _check(report, "environment debian:12")["ok"] is False


def test_a_catalogue_that_cannot_be_read_is_an_issue(tmp_path: Path) -> None:
    wrong = tmp_path / "environments.toml"
    wrong.write_text("[[environment]\n")

    status, report = doctor("--no-boot", variables={"PYRO_CATALOGUE": str(wrong)})

    assert status == 1
    assert any(str(wrong) in issue for issue in report["issues"])


@pytest.mark.parametrize(
    "part",
    [
        "sdk", "environments", "machines", "engines", "jail", "guest", "host",
        "environments/catalogue.toml", "jail/uml.seccomp", "guest/__main__.py", "protocol.py",
        "results/base.py",
    ],
)  # fmt: skip
def test_it_works_where_nothing_else_does(part: str, broken: Path) -> None:
    """Whatever is missing of an installation, the doctor says what, and how to put it back."""
    damaged = broken / "pyro_mcp" / part
    if damaged.is_dir():
        shutil.rmtree(damaged)
    else:
        damaged.unlink()

    status, report = doctor("--no-boot", source=broken)

    assert status == 1
    assert report["runtime_ok"] is False
    assert any("pip install --force-reinstall" in issue for issue in report["issues"])


def test_a_module_that_does_not_compile_is_found(broken: Path) -> None:
    (broken / "pyro_mcp/machines/machine.py").write_text("def (:\n")

    status, report = doctor("--no-boot", source=broken)

    assert status == 1
    assert "machine" in _check(report, "modules")["detail"]


def test_other_commands_of_a_broken_installation_point_to_the_doctor(broken: Path) -> None:
    shutil.rmtree(broken / "pyro_mcp/environments")

    finished = subprocess.run(
        [sys.executable, "-m", "pyro_mcp", "env", "list"],
        env={**os.environ, "PYTHONPATH": str(broken)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert finished.returncode == 1
    assert finished.stderr.startswith("[error] This installation of pyro is not whole")
    assert "pyro doctor" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_people_are_shown_every_check_and_issue(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "pyro_mcp", "doctor", "--no-boot"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    heads = [line.partition(":")[0] for line in finished.stdout.splitlines() if line[0] not in " -"]
    assert heads == [
        "Platform", "Runtime", "Engine", "KVM", "Environment cache", "Capabilities", "Networking",
        "Checks", "Issues",
    ]  # fmt: skip
    assert "Runtime: FAIL" in finished.stdout
    assert finished.returncode == 1
