"""Which packages an image consists of, with their exact versions."""

from __future__ import annotations

from urllib.parse import unquote


def from_archive_name(name: str) -> tuple[str, str] | None:
    """Package and version of a downloaded `NAME_VERSION_ARCH.deb`; apt escapes colons."""
    parts = name.removesuffix(".deb").split("_")
    if not name.endswith(".deb") or len(parts) != 3:
        return None
    return parts[0], unquote(parts[1])


def from_status(status: str) -> dict[str, str]:
    """Installed packages of a dpkg status file (dpkg-query(1), deb822(5)), by name."""
    found = {}
    for stanza in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in stanza.splitlines()
            if not line.startswith(" ") and ": " in line
        )
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return dict(sorted(found.items()))
