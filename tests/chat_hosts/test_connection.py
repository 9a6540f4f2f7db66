"""Each host's own file: our entry comes and goes, and the rest of it stays as it was."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from pyro_mcp.chat_hosts import connection
from pyro_mcp.chat_hosts.catalogue import HOSTS
from pyro_mcp.chat_hosts.config_file import BACKUP_SUFFIX
from pyro_mcp.chat_hosts.connection import Change, Wanted
from pyro_mcp.errors import InvalidInputError
from pyro_mcp.errors.chat_hosts import HostFileError, HostMissingError, UnknownHostError
from tests.support.needs import CHECKOUT

GOLDEN = Path(__file__).with_name("golden")
OURS = Wanted(command="/opt/pyro")
WITH_PROJECT = [name for name, host in HOSTS.items() if host.project]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has nothing yet; the variables that move files are unset."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for variable in ("XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(variable, raising=False)
    return home


def _file_of(name: str) -> Path:
    path = HOSTS[name].user[0].path
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _connect(name: str, wanted: Wanted = OURS, *, dry_run: bool = False) -> Change:
    return connection.connect(name, wanted, scope="user", directory=Path.cwd(), dry_run=dry_run)


def _disconnect(name: str) -> Change:
    return connection.disconnect(name, scope="user", directory=Path.cwd())


@pytest.mark.parametrize("name", HOSTS)
def test_a_file_with_other_things_gets_our_entry_and_no_other_change(name: str) -> None:
    path = _file_of(name)
    path.write_bytes((GOLDEN / f"{name}.before").read_bytes())

    change = _connect(name)

    assert path.read_bytes() == (GOLDEN / f"{name}.after").read_bytes()
    assert change.changed
    assert change.path == path


@pytest.mark.parametrize("name", HOSTS)
def test_a_second_time_changes_nothing(name: str) -> None:
    path = _file_of(name)
    path.write_bytes((GOLDEN / f"{name}.after").read_bytes())
    before = path.stat()

    change = _connect(name)

    assert not change.changed
    assert change.diff == ""
    assert path.stat() == before
    assert sorted(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", HOSTS)
def test_disconnecting_takes_our_entry_and_nothing_else(name: str) -> None:
    path = _file_of(name)
    path.write_bytes((GOLDEN / f"{name}.after").read_bytes())

    change = _disconnect(name)

    assert change.changed
    left, before = path.read_text(), (GOLDEN / f"{name}.before").read_text()
    assert "/opt/pyro" not in left
    if name in ("claude-code", "codex", "opencode"):  # the others had no servers, or an older entry
        assert left == before
    assert not _disconnect(name).changed


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_without_a_file_gets_one_that_only_its_user_reads(name: str) -> None:
    path = _file_of(name)
    path.with_name("something").touch()

    change = connection.connect(name, OURS, scope="user", directory=Path.cwd(), force=True)

    assert path.read_text() == connection.snippet(name, OURS, scope="user")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert change.backup is None
    assert change.diff.startswith("--- /dev/null\n")


@pytest.mark.parametrize("name", WITH_PROJECT)
def test_a_projects_file_names_the_project(name: str, tmp_path: Path) -> None:
    change = connection.connect(name, OURS, scope="project", directory=tmp_path)

    written = change.path.read_text()
    assert change.path == tmp_path / HOSTS[name].project[0]
    assert f'"--project-path", "{HOSTS[name].project_path}"' in written
    connection.disconnect(name, scope="project", directory=tmp_path)
    assert "/opt/pyro" not in change.path.read_text()


@pytest.mark.parametrize("name", sorted(set(HOSTS) - set(WITH_PROJECT)))
def test_a_host_without_projects_says_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="has no file for a single project"):
        connection.connect(name, OURS, scope="project", directory=tmp_path)


def test_a_dry_run_shows_the_change_and_makes_none() -> None:
    path = _file_of("zed")
    path.write_bytes((GOLDEN / "zed.before").read_bytes())

    change = _connect("zed", dry_run=True)

    assert path.read_bytes() == (GOLDEN / "zed.before").read_bytes()
    assert sorted(path.parent.iterdir()) == [path]
    assert '-  "context_servers": {},\n+  "context_servers": {\n' in change.diff


def test_what_the_file_was_is_kept_beside_it_with_its_mode() -> None:
    path = _file_of("codex")
    path.write_bytes((GOLDEN / "codex.before").read_bytes())
    path.chmod(0o640)

    change = _connect("codex")

    assert change.backup == path.with_name(path.name + BACKUP_SUFFIX)
    assert change.backup.read_bytes() == (GOLDEN / "codex.before").read_bytes()
    assert {stat.S_IMODE(one.stat().st_mode) for one in (path, change.backup)} == {0o640}


def test_a_link_stays_one_and_what_it_leads_to_is_changed(tmp_path: Path) -> None:
    """As those have it who keep their settings in a repository."""
    path = _file_of("zed")
    real = tmp_path / "dotfiles" / "zed.json"
    real.parent.mkdir()
    real.write_bytes((GOLDEN / "zed.before").read_bytes())
    path.symlink_to(os.path.relpath(real, path.parent))

    _connect("zed")

    assert path.is_symlink()
    assert real.read_bytes() == (GOLDEN / "zed.after").read_bytes()


def test_a_link_to_nowhere_is_followed_too(tmp_path: Path) -> None:
    path = _file_of("cursor")
    path.symlink_to(tmp_path / "not" / "there.json")

    _connect("cursor")

    assert path.is_symlink()
    assert "/opt/pyro" in (tmp_path / "not" / "there.json").read_text()


def test_a_link_to_itself_is_refused() -> None:
    path = _file_of("cursor")
    path.symlink_to(path)

    with pytest.raises(HostFileError, match="cannot be read: Too many levels"):
        _connect("cursor")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("claude-code", '{\n  // mine\n}', "line 2, column 3: there is a comment, and this"),
        ("zed", '{\n  "a": \n', "line 3, column 1: a value is expected, and the file ends"),
        ("codex", 'a = 1\nb = "x\n', "line 2, column 7: illegal character"),
        ("cursor", '{"mcpServers": []}', "line 1, column 16: 'mcpServers' is not an object"),
        ("codex", "mcp_servers = 1\n", "'mcp_servers' is not a table"),
        ("zed", '{"a": "\udcff"}', "line 1, column 8: there are bytes that are not UTF-8"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_with_its_place_and_left(
    name: str, content: str, said: str
) -> None:
    path = _file_of(name)
    path.write_bytes(content.encode("utf-8", "surrogateescape"))

    for act in (_connect, _disconnect):
        with pytest.raises(HostFileError) as caught:
            act(name)

        assert said in str(caught.value)
        assert str(path) in str(caught.value)
        assert path.read_bytes() == content.encode("utf-8", "surrogateescape")
        assert sorted(path.parent.iterdir())[0] == path


def test_a_file_that_is_none_is_refused() -> None:
    _file_of("zed").mkdir()

    with pytest.raises(HostFileError, match="cannot be read: Is a directory"):
        _connect("zed")


def test_a_directory_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/self")  # not even root may

    with pytest.raises(HostFileError, match="cannot be written: No such file"):
        connection.connect("zed", OURS, scope="user", directory=Path.cwd(), force=True)


def test_a_place_that_cannot_be_made_is_said(home: Path) -> None:
    (home / ".gemini").write_text("a file where the directory should be")

    with pytest.raises(HostFileError, match=r"cannot be (read|written): Not a directory"):
        _connect("gemini-cli")


def test_an_own_setting_of_the_entry_stays() -> None:
    path = _file_of("codex")
    path.write_text(
        '[mcp_servers.pyro]\ncommand = "old"\nargs = []\ntool_timeout_sec = 600 # slow\n'
    )

    _connect("codex", Wanted(command="/opt/pyro", env={"A": "1"}))

    assert path.read_text() == (
        '[mcp_servers.pyro]\ncommand = "/opt/pyro"\n'
        'args = ["mcp", "serve", "--profile", "workspace-core"]\ntool_timeout_sec = 600 # slow\n'
        '\n[mcp_servers.pyro.env]\nA = "1"\n'
    )  # fmt: skip


def test_from_a_program_to_an_address_nothing_of_the_program_stays() -> None:
    path = _file_of("claude-code")
    path.write_bytes((GOLDEN / "claude-code.after").read_bytes())
    url = "http://127.0.0.1:8765/mcp"

    _connect("claude-code", Wanted(url=url, token_variable="PYRO_TOKEN"))

    _, _, entry = connection.configured("claude-code", scope="user", directory=Path.cwd())
    assert entry == {
        "type": "http",
        "url": url,
        "headers": {"Authorization": "Bearer ${PYRO_TOKEN}"},
    }


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(url="localhost:1"), "url is 'localhost:1'"),
        (Wanted(url="http://h/mcp", token_variable="sk 123"), "token_variable is no name"),
        (Wanted(token_variable="A"), "token_variable is given without url"),
    ],
)
def test_an_address_that_is_none_is_refused(wanted: Wanted, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        connection.snippet("codex", wanted, scope="user")

    assert said in str(caught.value)
    assert "sk 123" not in str(caught.value)


def test_a_host_that_only_starts_programs_says_so() -> None:
    with pytest.raises(InvalidInputError, match="no way to write one for Claude Desktop"):
        connection.snippet("claude-desktop", Wanted(url="http://h/mcp"), scope="user")


def test_a_host_that_is_not_there_is_written_only_when_forced(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(HostMissingError, match=r"Zed is not installed for this user.*--force"):
        _connect("zed")

    assert list(home.iterdir()) == []
    connection.connect("zed", OURS, scope="user", directory=Path.cwd(), force=True)
    assert (home / ".config/zed/settings.json").is_file()


def test_an_unknown_host_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownHostError, match=r"no host named 'claude_cod'. Nearest: claude-code"):
        _connect("claude_cod")
    with pytest.raises(UnknownHostError, match="It knows: claude-code, claude-desktop, codex"):
        _connect("emacs")


def test_files_that_variables_move_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))

    places = {name: HOSTS[name].user[0].path for name in ("zed", "codex", "claude-code")}

    assert places == {
        "zed": tmp_path / "xdg/zed/settings.json",
        "codex": tmp_path / "codex/config.toml",
        "claude-code": tmp_path / "claude/.claude.json",
    }


def test_of_two_files_the_one_that_has_our_entry_is_meant(tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in HOSTS["opencode"].project)
    connection.connect("opencode", OURS, scope="project", directory=tmp_path)
    first.rename(second)
    first.write_text("{}\n")

    change = connection.connect("opencode", OURS, scope="project", directory=tmp_path)

    assert change.path == second
    assert not change.changed


def test_the_command_is_this_pyro_with_its_whole_path() -> None:
    connection.connect("zed", Wanted(), scope="user", directory=Path.cwd(), force=True)

    _, _, entry = connection.configured("zed", scope="user", directory=Path.cwd())

    script = Path(sys.executable).with_name("pyro")
    assert Path(entry["command"]).is_absolute()
    assert Path(entry["command"]).samefile(script)


def test_a_profile_or_a_mode_is_passed_on() -> None:
    profile = connection.snippet("zed", Wanted(profile="vm-run"), scope="user")
    mode = connection.snippet("zed", Wanted(mode="review"), scope="user")

    assert '"serve", "--profile", "vm-run"]' in profile
    assert '"serve", "--mode", "review"]' in mode


@pytest.mark.parametrize("name", HOSTS)
def test_the_example_of_each_host_is_what_is_printed(name: str) -> None:
    (example,) = (CHECKOUT / "examples/hosts").glob(f"{name}.*")

    assert example.read_text() == connection.snippet(name, Wanted(command="pyro"), scope="user")


def test_the_page_of_examples_names_each() -> None:
    page = (CHECKOUT / "examples/mcp_client_config.md").read_text()

    for example in (CHECKOUT / "examples/hosts").iterdir():
        assert f"(hosts/{example.name})" in page


@pytest.mark.parametrize("name", HOSTS)
def test_the_page_about_hosts_says_where_their_files_are(name: str) -> None:
    page = (CHECKOUT / "docs/chat-hosts.md").read_text()
    host = HOSTS[name]
    place = host.user[0]
    project = f"`{host.project[0]}`" if host.project else "none"

    assert f"| `{name}` | `{place.base}/{place.name}` | {project} |" in page
