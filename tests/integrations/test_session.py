"""What an agent has of pyro, whatever framework it lives in."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import InvalidInputError, UnknownToolError
from pyro_mcp.integrations.order import Order
from pyro_mcp.integrations.session import Session
from pyro_mcp.tools.parameters import kinds_of
from pyro_mcp.tools.strict import relaxed, strict_schema
from pyro_mcp.tools.table import TOOLS
from tests.integrations.conftest import Shared

NEW = {"environment": "debian:12", "mem_mib": 256}


def test_a_confined_session_reaches_nothing_else(shared: Shared) -> None:
    """Whatever a model was talked into asking for."""
    host = ["workspace_sync_push", "workspace_export"]
    with Session(
        shared.pyro, profile="workspace-full", workspace=shared.workspace_id, without=host
    ) as session:
        named = session.call("workspace_exec", {"command": "true", "workspace_id": "0" * 12})
        refused = [
            session.call(name, {})
            for name in ("workspace_list", "workspace_create", "workspace_delete", *host)
        ]

    assert named.structured["error"]["code"] == "invalid_input"
    assert {answer.structured["error"]["code"] for answer in refused} == {"unknown_tool"}
    announced = {name for tool in session.tools for name in tool.input_schema["properties"]}
    assert not announced & {"workspace_id", "seed_path", "source_path"}


def test_a_tool_to_leave_out_must_exist() -> None:
    with pytest.raises(UnknownToolError, match="workspace_exec"):
        Session(without=["workspace_exce"])
    with pytest.raises(InvalidInputError, match="profile"):
        Session(profile="workspace-cor")


def test_many_first_calls_make_one_workspace(images: object) -> None:
    with Pyro() as pyro, Session(pyro, workspace=NEW) as session:
        pass
    with Pyro() as pyro:
        session = Session(pyro, workspace=NEW)
        with ThreadPoolExecutor(4) as pool:
            ids = {*pool.map(lambda _: session.workspace_id, range(4))}

        assert len(ids) == len(pyro.list_workspaces()["workspaces"]) == 1
        session.close()
        session.close()
        assert pyro.list_workspaces()["workspaces"] == []


def test_a_session_that_is_begun_again_makes_another_workspace(images: object) -> None:
    with Pyro() as pyro:
        session = Session(pyro, workspace=NEW)
        with session:
            first = session.workspace_id
        with session:
            assert session.call("workspace_exec", {"command": "true"}).is_error is False
            assert session.workspace_id != first


def test_what_somebody_else_deleted_is_no_error_at_the_end(images: object) -> None:
    with Pyro() as pyro, Session(pyro, workspace=NEW) as session:
        pyro.delete_workspace(session.workspace_id)


def test_changes_keep_their_order_and_looks_overlap() -> None:
    order = Order()
    done: list[str] = []
    both_look = threading.Barrier(2, timeout=60)
    begin = threading.Event()

    def change(name: str) -> None:
        begin.wait(60)
        done.append(name)

    def look(name: str) -> None:
        both_look.wait()
        done.append(name)

    order.submit("lane", lambda: change("first"), changes=True)
    looks = [order.submit("lane", lambda: look("look"), changes=False) for _ in range(2)]
    order.submit("lane", lambda: change("last"), changes=True)
    elsewhere = order.submit("other", lambda: "free", changes=True)
    alone = order.submit(None, lambda: "free", changes=True)

    assert (elsewhere.result(60), alone.result(60)) == ("free", "free")
    assert not any(look.done() for look in looks)
    begin.set()
    order.close()
    assert done == ["first", "look", "look", "last"]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_schema_is_strict(tool: object) -> None:
    """As OpenAI's strict mode wants it, at every depth."""
    from pyro_mcp.tools import Tool

    assert isinstance(tool, Tool)
    todo = [strict_schema(tool)]
    while todo:
        schema = todo.pop()
        kinds = kinds_of(schema)
        assert "default" not in schema
        if "object" in kinds:
            assert schema["additionalProperties"] is False
            assert schema["required"] == [*schema["properties"]]
            todo += schema["properties"].values()
        if "array" in kinds:
            todo.append(schema["items"])


def test_what_a_strict_model_sends_is_what_the_tool_takes() -> None:
    (create,) = (tool for tool in TOOLS if tool.name == "workspace_create")

    taken = relaxed(
        create,
        {
            "environment": "debian:12",
            "mem_mib": None,
            "labels": [{"key": "a", "value": "1"}],
            "secrets": [[{"key": "name", "value": "T"}, {"key": "value", "value": "x"}]],
            "unknown": None,
        },
    )

    assert taken == {
        "environment": "debian:12",
        "labels": {"a": "1"},
        "secrets": [{"name": "T", "value": "x"}],
        "unknown": None,
    }
