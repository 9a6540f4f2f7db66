"""Single checks, each on something real."""

from pathlib import Path

from pyro_mcp.doctor import checks, kernel
from pyro_mcp.doctor.installation import missing_files


def test_a_directory_with_too_little_room_says_how_much_is_needed(tmp_path: Path) -> None:
    found = checks.directory_check("cache", tmp_path / "new", "PYRO_CACHE", needed_mib=1 << 40)

    assert found.ok is False
    assert f"{1 << 40} MiB" in found.remedy
    assert "PYRO_CACHE" in found.remedy


def test_a_directory_that_is_not_there_yet_is_fine_and_stays_so(tmp_path: Path) -> None:
    found = checks.directory_check("cache", tmp_path / "a" / "b", "PYRO_CACHE", needed_mib=1)

    assert found.ok is True
    assert not (tmp_path / "a").exists()


def test_every_missing_file_of_the_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyro_mcp").mkdir()

    found = list(missing_files(tmp_path / "pyro_mcp"))

    assert str(tmp_path / "pyro_mcp/environments/catalogue.toml") in found
    assert str(tmp_path / "pyro_mcp/guest/__main__.py") in found


def test_this_package_misses_nothing() -> None:
    assert list(missing_files()) == []


def test_kvm_that_makes_a_machine_can_be_opened() -> None:
    kvm = kernel.kvm_probe()

    assert not kvm.runs_guest or (kvm.exists and kvm.readable and kvm.writable)
    assert kvm.detail


def test_what_forbids_namespaces_is_answered_with_something_to_do() -> None:
    assert kernel.namespace_remedy()


def test_ids_that_are_proposed_are_nobodys(tmp_path: Path) -> None:
    table = tmp_path / "subuid"
    table.write_text("one:100000:65536\ntwo:300000:65536\nnonsense\n")

    assert checks._free_range((str(table),)) == "365536-431071"
    assert checks._free_range((str(tmp_path / "none"),)) == "100000-165535"
