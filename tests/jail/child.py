"""Running a piece of a test in a forked child, so that the test process stays as it is."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns (as JSON) in a child that ends with it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b""
        try:
            answer = json.dumps({"value": work()}).encode()
        except BaseException:  # noqa: BLE001 - told to the parent; a child must not run on
            answer = json.dumps({"error": traceback.format_exc()}).encode()
        finally:
            os.write(writer, answer)
            os._exit(0)
    os.close(writer)
    answered = b""
    while piece := os.read(reader, 65536):
        answered += piece
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {status:#x}"
    outcome = json.loads(answered)
    assert "error" not in outcome, outcome["error"]
    return outcome["value"]
