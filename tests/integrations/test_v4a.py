"""V4A diffs: put where they certainly belong, and refused with a reason elsewhere."""

from __future__ import annotations

import pytest
from agents.apply_diff import apply_diff
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp.integrations.v4a import V4aError, created, updated

FILE = "import os\n\ndef one():\n    return 1\n\ndef two():\n    return 1\n"


def test_a_created_file_ends_with_its_last_line() -> None:
    assert created("+a\n+\n+b") == "a\n\nb\n"
    assert created("+a\n+b\n+\n") == "a\nb\n"
    assert created("") == ""
    assert created("*** Begin Patch\n*** Add File: x\n+a\n*** End Patch") == "a\n"


def test_a_line_without_its_plus_is_named() -> None:
    with pytest.raises(V4aError, match="Line 2 of the diff is 'b'"):
        created("+a\nb")


@pytest.mark.parametrize(
    ("diff", "result"),
    [
        ("-import os\n+import sys", FILE.replace("os", "sys")),
        (" \n-def one():\n+def first():", FILE.replace("one", "first")),
        (
            "@@ def two():\n-    return 1\n+    return 2",
            "import os\n\ndef one():\n    return 1\n\ndef two():\n    return 2\n",
        ),
        (
            "@@ def one():\n@@\n-    return 1\n+    return 0\n"
            "@@ def two():\n-    return 1\n+    return 2",
            "import os\n\ndef one():\n    return 0\n\ndef two():\n    return 2\n",
        ),
        ("-    return 1\n+    return 9\n*** End of File", FILE[:-9] + "return 9\n"),
        ("+# end\n*** End of File", FILE + "# end\n"),
        ("@@ def one():\n+    # first", FILE.replace("one():\n", "one():\n    # first\n")),
        ("@@ -1,1 +1,1 @@\n-import os\n+import sys", FILE.replace("os", "sys")),
        ("-import os   \n+import sys", FILE.replace("os", "sys")),
        (" def one():\n-return 1\n+    return 0", FILE.replace("return 1", "return 0", 1)),
        (
            "*** Begin Patch\n*** Update File: f.py\n@@\n-import os\n+import sys\n*** End Patch\n",
            FILE.replace("os", "sys"),
        ),
    ],
)
def test_hunks_go_where_their_lines_are(diff: str, result: str) -> None:
    assert updated(FILE, diff) == result


@pytest.mark.parametrize(
    ("diff", "reason"),
    [
        ("-    return 1\n+    return 2", r"hunk 1 are in the file 2 times \(lines 4, 7\)"),
        ("-import sys\n+import os", "hunk 1 are not in the file. Expected:\nimport sys"),
        (" import os\n-x", "From line 1 the file has:\nimport os\n\n"),
        (" def two():\n+x\n@@\n def one():\n+y", "Hunks stand in the order of their places"),
        ("@@ class None:\n-no\n+yes", "nor is its anchor 'class None:'"),
        ("+only\n", "does not say where"),
        ("import os", "lines begin with"),
        ("", "is empty"),
        ("@@ def one():", "Hunk 1 of the diff has no lines"),
        ("*** Update File: a\n+x\n*** Update File: b\n+y", "several files"),
    ],
)
def test_what_does_not_fit_says_why(diff: str, reason: str) -> None:
    with pytest.raises(V4aError, match=reason):
        updated(FILE, diff)


def test_ends_of_lines_stay_as_they_are() -> None:
    assert updated("a\r\nb\r\nc\r\n", " a\n-b\n+B") == "a\r\nB\r\nc\r\n"
    assert updated("a\nb\r\nc\n", "-a\n+A") == "A\nb\r\nc\n"
    assert updated("a\nb", "-b\n+c\n+d") == "a\nc\nd"
    assert updated("a\nb", " b\n+c") == "a\nb\nc"
    assert updated("", "+a") == "a\n"
    assert updated("a\n", "-a") == ""


LINES = st.lists(st.sampled_from(["a", "b", "c", "d", " e", "f ", ""]), min_size=1, max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(old=LINES, body=st.lists(st.tuples(st.sampled_from(" -+"), st.integers(0, 7))))
def test_where_a_hunk_fits_the_result_is_that_of_the_agents_library(
    old: list[str], body: list[tuple[str, int]]
) -> None:
    """Ours refuses more, for it guesses nothing; it never decides otherwise."""
    content = "\n".join(old) + "\n"
    lines = [mark + old[number % len(old)] for mark, number in body]
    diff = "\n".join(["@@", *lines])
    try:
        ours = updated(content, diff)
    except V4aError:
        return

    assert ours == apply_diff(content, diff)
