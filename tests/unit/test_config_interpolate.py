"""config/values/interpolate.py: Compose's interpolation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.values.interpolate import LIMIT_LENGTH, InterpolationError, expand

SET = {"V": "value", "EMPTY": "", "W": "w", "DOLLAR": "$V"}


def expanded(text: str) -> tuple[str, list[str]]:
    unset: list[str] = []
    return expand(text, SET.get, unset), unset


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$V", "value"),
        ("${V}", "value"),
        ("a${V}b$W.", "avaluebw."),
        ("$V$W", "valuew"),
        ("$$V", "$V"),
        ("$$$V", "$value"),
        ("$$$$", "$$"),
        ("${V:-d}", "value"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NONE:-d}", "d"),
        ("${NONE-d}", "d"),
        ("${NONE:-}", ""),
        ("${V:+r}", "r"),
        ("${EMPTY:+r}", ""),
        ("${EMPTY+r}", "r"),
        ("${NONE+r}", ""),
        ("${V:?text}", "value"),
        ("${EMPTY?text}", ""),
        ("${NONE:-${V}}", "value"),
        ("${NONE:-${NONE:-${W}x}y}", "wxy"),
        ("${NONE:-a $$ b}", "a $ b"),
        ("${NONE:-$${V}", "${V"),
        ("${NONE:-a:-b}", "a:-b"),
        ("${NONE:-a{b}", "a{b"),
        ("$DOLLAR", "$V"),
        ("${V:-${BROKEN:?never looked at}}", "value"),
        ("cost: $5, 100$", "cost: $5, 100$"),
        ("$(V) $? $", "$(V) $? $"),
        ('${V:-{"a":{"b":1}}}!', "value!"),
        ('${NONE:-{"a":{"b":"$W"}}}!', '{"a":{"b":"w"}}!'),
        ("${V:-{x} and ${W}", "value and w"),
    ],
)
def test_a_variable_has_the_meaning_of_compose(text: str, meaning: str) -> None:
    """Each form of Compose's interpolation, nested and escaped."""
    assert expanded(text) == (meaning, [])


def test_an_unset_variable_is_empty_and_reported() -> None:
    assert expanded("a${NONE}b$NADA") == ("ab", ["NONE", "NADA"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${NONE:?we need it}", "the variable NONE is not set: we need it"),
        ("${EMPTY:?}", "the variable EMPTY is empty"),
        ("${NONE?see $W}", "the variable NONE is not set: see $W"),
        ("${V", "${ without } at character 1"),
        ("${}", "${…} without a variable name at character 1 (write $$ for a literal $)"),
        ("${1}", "${…} without a variable name at character 1 (write $$ for a literal $)"),
        (
            "${V/a/b}",
            "${…} of an unknown form at character 1 (write ${NAME}, with :- - :? ? :+ or + after the name)",
        ),
        ("${NONE:-" * 30 + "}" * 30, "variables nested more than 20 levels deep"),
    ],
)
def test_an_invalid_text_is_reported(text: str, why: str) -> None:
    """A required variable, a lone dollar and unknown forms are errors with advice."""
    with pytest.raises(InterpolationError) as error:
        expanded(text)
    assert str(error.value) == why


def test_the_length_of_the_result_is_limited() -> None:
    """The result is limited to the longest argument of the kernel."""
    with pytest.raises(InterpolationError, match="longer than"):
        expand("$A" * 1000, {"A": "x" * 1000}.get, [])
    assert len(expand("$A" * 100, {"A": "x" * 1000}.get, [])) < LIMIT_LENGTH


@given(st.text())
def test_every_text_with_doubled_dollars_is_unchanged(text: str) -> None:
    """Every text with each $ doubled expands to itself."""
    assert expanded(text.replace("$", "$$")) == (text, [])


@given(st.text(alphabet="$V{}:-?+ax_E", max_size=30))
def test_every_text_is_expanded_or_refused(text: str) -> None:
    """No text raises any other exception."""
    try:
        expanded(text)
    except InterpolationError:
        pass
