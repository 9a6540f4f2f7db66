"""What this host needs for building, and what is said when it is not there."""

from pathlib import Path

import pytest

from pyro_mcp.environments.archive import has_subordinate_ids


@pytest.mark.parametrize(
    ("line", "enough"),
    [
        ("ada:100000:65536", True),
        ("1000:100000:65536", True),
        ("ada:100000:1000", False),
        ("adam:100000:65536", False),
        ("ada:100000", False),
        ("ada:100000:many", False),
        ("", False),
    ],
)
def test_subordinate_ids_are_looked_up_by_name_and_number(
    tmp_path: Path, line: str, enough: bool
) -> None:
    """subuid(5): name or number of the user, first id, how many."""
    table = tmp_path / "subuid"
    table.write_text(f"# comment\nroot:1:1\n{line}\n")

    assert has_subordinate_ids(table, {"ada", "1000"}) is enough


def test_without_the_table_nobody_has_any(tmp_path: Path) -> None:
    assert not has_subordinate_ids(tmp_path / "absent", {"ada"})
