"""Recorded package versions."""

import pytest

from pyro_mcp.environments.packages import from_archive_name, from_status


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("busybox-static_1%3a1.38.0-3+b1_amd64.deb", ("busybox-static", "1:1.38.0-3+b1")),
        ("libc6_2.41-1_amd64.deb", ("libc6", "2.41-1")),
        ("partial", None),
        ("lock_x", None),
    ],
)
def test_a_downloaded_files_name_tells_package_and_version(
    name: str, expected: tuple[str, str] | None
) -> None:
    assert from_archive_name(name) == expected


def test_only_installed_packages_are_recorded() -> None:
    status = (
        "Package: zlib\nStatus: install ok installed\nVersion: 1:1.3\n"
        "Description: compression\n Version: not this one\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 2\n\n"
        "Package: apt\nStatus: install ok installed\nVersion: 3.0\n"
    )

    assert from_status(status) == {"apt": "3.0", "zlib": "1:1.3"}
