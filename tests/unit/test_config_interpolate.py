"""config/values/interpolate.py: Compose's variables."""

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
        ("${V:?told}", "value"),
        ("${EMPTY?told}", ""),
        ("${NONE:-${V}}", "value"),
        ("${NONE:-${NONE:-${W}x}y}", "wxy"),
        ("${NONE:-a $$ b}", "a $ b"),
        ("${NONE:-$${V}", "${V"),
        ("${NONE:-a:-b}", "a:-b"),
        ("${NONE:-a{b}", "a{b"),
        ("$DOLLAR", "$V"),
        ("${V:-${BROKEN:?never looked at}}", "value"),
    ],
)
def test_a_variable_means_what_compose_means(text: str, meaning: str) -> None:
    """Each form of Compose's interpolation, nested and escaped."""
    assert expanded(text) == (meaning, [])


def test_an_unset_variable_is_empty_and_told() -> None:
    assert expanded("a${NONE}b$NADA") == ("ab", ["NONE", "NADA"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${NONE:?we need it}", "the variable NONE is not set: we need it"),
        ("${EMPTY:?}", "the variable EMPTY is empty"),
        ("${NONE?see $W}", "the variable NONE is not set: see $W"),
        ("cost: $5", "a $ that names no variable, at character 7 (write $$ for $)"),
        ("end$", "a $ that names no variable, at character 4 (write $$ for $)"),
        ("${V", "a ${ without its }, at character 1"),
        ("${}", "a ${…} that names no variable, at character 1 (write $$ for a plain $)"),
        ("${1}", "a ${…} that names no variable, at character 1 (write $$ for a plain $)"),
        (
            "${V/a/b}",
            "a ${…} that is no known form, at character 1 (there are ${NAME}, and :- - :? ? :+ + behind the name)",
        ),
        ("${NONE:-" * 30 + "}" * 30, "variables nested more than 20 deep"),
    ],
)
def test_what_means_nothing_is_told(text: str, why: str) -> None:
    """A variable that must be set, a lone dollar and unknown forms are errors that say what to write."""
    with pytest.raises(InterpolationError) as error:
        expanded(text)
    assert str(error.value) == why


def test_a_text_cannot_grow_without_end() -> None:
    """Variables put in a thousand times over stop at what the kernel would take."""
    with pytest.raises(InterpolationError, match="longer than"):
        expand("$A" * 1000, {"A": "x" * 1000}.get, [])
    assert len(expand("$A" * 100, {"A": "x" * 1000}.get, [])) < LIMIT_LENGTH


@given(st.text())
def test_doubled_dollars_give_back_any_text(text: str) -> None:
    """Whatever the text, with each $ doubled it comes back as it was."""
    assert expanded(text.replace("$", "$$")) == (text, [])


@given(st.text(alphabet="$V{}:-?+ax_E", max_size=30))
def test_any_text_is_either_expanded_or_refused(text: str) -> None:
    """No text raises anything but the one error."""
    try:
        expanded(text)
    except InterpolationError:
        pass
