"""plan/nearest.py: "did you mean"."""

from __future__ import annotations

import pytest

from cohabit.plan.nearest import did_you_mean, nearest

KEYS = ["command", "environment", "depends_on", "restart", "deploy", "user"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("comand", "command"),
        ("enviroment", "environment"),
        ("depend_on", "depends_on"),
        ("Restart", "restart"),
        ("retsart", "restart"),
        ("usr", "user"),
        ("xyzzy", None),
        ("", None),
        ("c" * 1000, None),
    ],
)
def test_a_misspelt_word_finds_the_one_that_was_meant(typed: str, meant: str | None) -> None:
    """Letters dropped, added, changed, swapped or in the other case still point to the word; nonsense does not."""
    assert nearest(typed, KEYS) == meant


def test_the_hint_is_ready_to_be_put_behind_a_message() -> None:
    """A hint brings its own space and brackets, and is nothing if there is none."""
    assert did_you_mean("allways", ["no", "always"]) == " (did you mean 'always'?)"
    assert did_you_mean("xyzzy", ["no", "always"]) == ""
