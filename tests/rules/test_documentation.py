"""What the documentation says is so."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pyro_mcp.cli.main import root
from pyro_mcp.config import Settings
from pyro_mcp.environments.catalogue import load_catalogue
from tests.support.needs import CHECKOUT
from tests.support.pages import PAGES, README, blocks, commands, name_of

COMMANDS = [words[1:] for page in PAGES for words in commands(page, "pyro")]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_documented_options_exist(words: list[str]) -> None:
    words = words[: words.index("--")] if "--" in words else words
    command: click.Command = root
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        below = command.get_command(click.Context(command), words[0])
        assert below is not None, words
        command, words = below, words[1:]

    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert option in known or option in ("--help", "--version"), option


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_table_of_environments_is_the_catalogue(settings: Settings) -> None:
    said = dict(re.findall(r"^\| `(debian:[\w-]+)` \| (.*) \|$", README.read_text(), re.MULTILINE))

    entries = load_catalogue(settings).entries

    assert said == {name: entry.description for name, entry in entries.items()}


def test_the_example_of_an_own_environment_is_accepted(settings: Settings) -> None:
    (example,) = blocks(README, "toml")
    settings.catalogue.write_text(example)
    settings.catalogue.with_name("motd").write_text("welcome\n")

    entry = load_catalogue(settings).entry("lab")

    assert entry.packages == ("nodejs", "jq")


def test_the_python_example_runs_as_written() -> None:
    (example,) = blocks(README, "python")

    ran = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("0 git version")


def test_every_variable_is_documented() -> None:
    sources = [path.read_text() for path in (CHECKOUT / "src").rglob("*.py")]
    used = {name for text in sources for name in re.findall(r'"(PYRO_[A-Z_]+)"', text)}

    assert set(re.findall(r"^\| `(PYRO_\w+)`", README.read_text(), re.MULTILINE)) == used


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_is_named_as_proof_exists(page: Path) -> None:
    sources = [path.read_text() for path in (CHECKOUT / "tests").rglob("test_*.py")]
    written = {
        name for text in sources for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)
    }

    assert set(re.findall(r"`(test_\w+)`", page.read_text())) - written == set()


def test_every_row_of_what_is_better_names_its_proof() -> None:
    page = (CHECKOUT / "docs/compared-with-3.x.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line]

    facts = [row for row in rows if not row.startswith("| in 3.x")]
    assert len(facts) == 41
    for row in facts:
        assert re.search(r"`test_\w+` \|$", row), row


@pytest.mark.parametrize(
    ("script", "page"),
    [("reference.py", "public-contract.md"), ("tools_reference.py", "mcp-tools.md")],
)
def test_the_pages_of_what_is_promised_are_current(script: str, page: str) -> None:
    """`scripts/dev reference` writes them anew."""
    printed = subprocess.run(
        [sys.executable, CHECKOUT / "scripts" / script], capture_output=True, check=True
    )

    assert (CHECKOUT / "docs" / page).read_bytes() == printed.stdout
