"""The catalogue: pyro's own environments, and what a user may add."""

import dataclasses
from pathlib import Path

import pytest

from pyro_mcp.config import Settings
from pyro_mcp.environments.catalogue import load_catalogue
from pyro_mcp.errors import CatalogueError, UnknownEnvironmentError


def _write(settings: Settings, text: str) -> None:
    settings.catalogue.write_text(text)


def _lab(extra: str = "") -> str:
    return f'[[environment]]\nname = "lab"\nsuite = "bookworm"\n{extra}\n'


def test_pyros_own_environments_are_there_without_any_file(empty_cache: Settings) -> None:
    catalogue = load_catalogue(empty_cache)

    assert list(catalogue.entries) == [
        "debian:12",
        "debian:12-base",
        "debian:12-build",
        "debian:13",
    ]
    assert {entry.version for entry in catalogue.entries.values()} == {"1.0.0"}
    assert "git" in catalogue.entry("debian:12").packages
    assert catalogue.entry("debian:13").distribution_version == "13"


def test_a_users_entry_joins_pyros_own(empty_cache: Settings, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hello")
    _write(
        empty_cache,
        _lab(
            'packages = ["git", "curl", "git"]\ndescription = "mine"\n'
            'files = [{ source = "motd", target = "/etc/motd", mode = "0600" }]'
        ),
    )

    entry = load_catalogue(empty_cache).entry("lab")

    assert entry.packages == ("git", "curl")
    assert entry.description == "mine"
    assert [(file.source, file.target, file.mode) for file in entry.files] == [
        (tmp_path / "motd", "/etc/motd", 0o600)
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: _write(settings, _lab('packages = ["curl"]')),
        lambda settings: _write(settings, _lab().replace("bookworm", "trixie")),
        lambda settings: (settings.catalogue.parent / "motd").write_text("changed"),
    ],
    ids=["packages", "suite", "content of a file"],
)
def test_an_entry_that_changes_is_another_version(empty_cache: Settings, change: object) -> None:
    (empty_cache.catalogue.parent / "motd").write_text("hello")
    _write(empty_cache, _lab('files = [{ source = "motd", target = "/etc/motd" }]'))
    before = load_catalogue(empty_cache).entry("lab")

    assert callable(change)
    change(empty_cache)

    after = load_catalogue(empty_cache).entry("lab")
    assert after.recipe != before.recipe
    assert after.directory_name != before.directory_name


def test_the_order_of_packages_and_the_description_change_nothing(empty_cache: Settings) -> None:
    _write(empty_cache, _lab('packages = ["git", "curl"]'))
    before = load_catalogue(empty_cache).entry("lab")

    _write(empty_cache, _lab('packages = ["curl", "git"]\ndescription = "new words"'))

    assert load_catalogue(empty_cache).entry("lab").recipe == before.recipe


def test_an_unknown_name_is_answered_with_the_nearest(empty_cache: Settings) -> None:
    with pytest.raises(UnknownEnvironmentError, match=r"'debain:12'.*Nearest: debian:12"):
        load_catalogue(empty_cache).entry("debain:12")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[environment", "is not TOML"),
        ("environment = 3", "environment"),
        ("[other]", "has other where"),
        ("environment = [1]", "is not a table"),
        ('[[environment]]\nsuite = "bookworm"', "has no name"),
        ('[[environment]]\nname = "lab"', "has no suite"),
        ('[[environment]]\nname = "Lab"\nsuite = "x"', "has the name 'Lab'"),
        ('[[environment]]\nname = "../lab"\nsuite = "x"', "has the name"),
        ('[[environment]]\nname = "a:b:c"\nsuite = "x"', "has the name"),
        ('[[environment]]\nname = "lab"\nsuite = "-oOption"', "has the suite"),
        ('[[environment]]\nname = "debian:12"\nsuite = "x"', "pyro's own"),
        (_lab() + _lab(), "the name of an earlier entry"),
        (_lab("colour = 1"), "unknown key 'colour'"),
        (_lab('packages = "git"'), "packages that are no list"),
        (_lab('packages = ["git,curl"]'), "asks for the package 'git,curl'"),
        (_lab('packages = ["--hook"]'), "asks for the package"),
        (_lab("packages = [1]"), "asks for the package 1"),
        (_lab("description = 1"), "description that is no text"),
        (_lab('version = "new"'), "has the version 'new'"),
        (_lab('unpacked_mib = "1"'), "unpacked_mib"),
        (_lab("unpacked_mib = true"), "unpacked_mib"),
        (_lab('files = "motd"'), "files that is no list"),
        (_lab('files = [{ source = "motd" }]'), "has the file"),
        (_lab('files = [{ source = "", target = "/a" }]'), "has no source"),
        (_lab('files = [{ source = "absent", target = "/a" }]'), "cannot be read"),
        (_lab('files = [{ source = ".", target = "/a" }]'), "cannot be read"),
        (_lab('files = [{ source = "here", target = "a" }]'), "places a file at 'a'"),
        (_lab('files = [{ source = "here", target = "/../a" }]'), "places a file at"),
        (_lab('files = [{ source = "here", target = "/" }]'), "places a file at"),
        (_lab('files = [{ source = "here", target = "/a", mode = "rwx" }]'), "the mode 'rwx'"),
        (_lab('files = [{ source = "here", target = "/a", mode = 420 }]'), "the mode 420"),
        (
            _lab('files = [{source="here", target="/a"}, {source="here", target="/a"}]'),
            "places /a twice",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(
    empty_cache: Settings, text: str, complaint: str
) -> None:
    (empty_cache.catalogue.parent / "here").touch()
    _write(empty_cache, text)

    with pytest.raises(CatalogueError) as refused:
        load_catalogue(empty_cache)

    assert complaint in str(refused.value)
    assert str(empty_cache.catalogue) in str(refused.value)


def test_a_catalogue_that_is_no_text_is_refused(empty_cache: Settings) -> None:
    empty_cache.catalogue.write_bytes(b"\xff\xfe")

    with pytest.raises(CatalogueError, match="is not TOML"):
        load_catalogue(empty_cache)


def test_a_catalogue_that_cannot_be_read_is_refused(empty_cache: Settings) -> None:
    settings = dataclasses.replace(empty_cache, catalogue=empty_cache.catalogue.parent)

    with pytest.raises(CatalogueError, match="cannot be read"):
        load_catalogue(settings)
