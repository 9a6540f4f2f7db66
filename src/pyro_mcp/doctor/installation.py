"""Whether pyro itself is whole: its files, and what it depends on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.doctor.checks import REINSTALL, Check

if TYPE_CHECKING:
    from collections.abc import Iterator

_DISTRIBUTION = "pyro-mcp"
_DEPENDENCIES = ("click", "platformdirs", "rich")
_DATA = (
    *("environments/catalogue.toml", "jail/uml.seccomp", "protocol.py", "guest/__main__.py"),
    *("environments/kernel/linux.xz", "environments/kernel/provenance.json"),
)
"""Files that nothing imports on the host, so that only the first run would miss them."""

_PARTS = ("host", "engines", "jail", "vsock", "environments", "machines", "sdk")
_ENTRIES = ("environments.cache", "machines.monitor.__main__", "machines.registry", "sdk.pyro")
"""What a run begins with."""


def installation_checks() -> Iterator[Check]:
    """Files, dependencies and modules."""
    yield _reported("package files", list(missing_files()))
    yield _reported("dependencies", list(_missing_dependencies()))
    yield _reported("modules", list(_unimportable()))


def missing_files(package: Path | None = None) -> Iterator[str]:
    """Files of the package that are not there: those of the record of what was installed, too."""
    root = package or Path(__file__).parents[1]
    for name in _DATA:
        if not (root / name).is_file():
            yield str(root / name)
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        recorded = distribution(_DISTRIBUTION).files or []
    except PackageNotFoundError:
        return  # used from a source tree
    for file in recorded:
        if file.parts[0] != root.name or file.suffix == ".pyc":
            continue
        inside = Path(*file.parts[1:])
        if str(inside) not in _DATA and not (root / inside).is_file():
            yield str(root / inside)


def _missing_dependencies() -> Iterator[str]:
    from importlib.util import find_spec

    for name in _DEPENDENCIES:
        if find_spec(name) is None:
            yield name


def _unimportable() -> Iterator[str]:
    """Modules that must be there, and whatever else is: each is loaded once."""
    from importlib import import_module

    root = Path(__file__).parents[1]
    found = {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for part in (*_PARTS, "config.py", "results")
        for file in ((root / part).rglob("*.py") if (root / part).is_dir() else (root / part,))
    }
    for name in sorted(found | set(_ENTRIES)):
        try:
            import_module(f"{root.name}.{name}")
        except (ImportError, OSError, SyntaxError) as error:
            yield f"{root.name}.{name} ({error})"


def _reported(name: str, missing: list[str]) -> Check:
    if missing:
        return Check(name, False, f"missing: {', '.join(missing)}", REINSTALL)
    return Check(name, True, "all there")
