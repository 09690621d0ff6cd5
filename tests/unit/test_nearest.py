"""nearest.py: "did you mean"."""

from __future__ import annotations

import pytest

from cohabit.nearest import did_you_mean, nearest

KEYS = ["command", "environment", "depends_on", "restart", "deploy", "user"]


@pytest.mark.parametrize(
    ("typed", "expected"),
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
def test_the_nearest_name_to_a_misspelt_one_is_found(typed: str, expected: str | None) -> None:
    """Letters may be dropped, added, changed, swapped or in the other case; an unrelated name finds nothing."""
    assert nearest(typed, KEYS) == expected


def test_the_hint_can_be_appended_to_a_message() -> None:
    """A hint has its own space and parentheses; without a near name it is empty."""
    assert did_you_mean("allways", ["no", "always"]) == " (did you mean 'always'?)"
    assert did_you_mean("xyzzy", ["no", "always"]) == ""


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("pss", "ps"), ("sp", "ps"), ("wep", "web"), ("we", "web"), ("cp", None), ("dbg", None), ("px", None)],
)
def test_a_short_name_with_another_letter_is_another_name(typed: str, expected: str | None) -> None:
    """`cp` is not a misspelt `up`."""
    assert nearest(typed, ["up", "ps", "db", "web"]) == expected
