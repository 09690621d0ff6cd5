"""config/values/dotenv.py: files of variables with Compose's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.values.dotenv import parse, parse_raw

ENVIRON = {"HOME": "/root", "SECRET": "s3"}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1", {"A": "1"}),
        ("A=1\nB=2\n", {"A": "1", "B": "2"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\n# a comment\n  # another\n\nA=1\n", {"A": "1"}),
        ("export A=1\nexport\tB=2", {"A": "1", "B": "2"}),
        ("  A = spaced out  ", {"A": "spaced out"}),
        ("A: yaml", {"A": "yaml"}),
        ("A=", {"A": ""}),
        ("A=\nB=2", {"A": "", "B": "2"}),
        ("A=x # comment", {"A": "x"}),
        ("A=x#no comment", {"A": "x#no comment"}),
        ("COLOR=#ff0000", {"COLOR": "#ff0000"}),
        ("A= #x\nB=x\t#y", {"A": "#x", "B": "x\t#y"}),
        ("PW=p@ss$ # comment", {"PW": "p@ss$"}),
        ('A="\\a\\b\\f\\v\\0123\\07"', {"A": "\a\b\f\vS\\07"}),
        ("A=a=b=c", {"A": "a=b=c"}),
        ("A='$HOME # literal'", {"A": "$HOME # literal"}),
        ("A='it\\'s'", {"A": "it's"}),
        ("A='a\\nb'", {"A": "a\\nb"}),
        ('A="$HOME # in quotes" # comment', {"A": "/root # in quotes"}),
        ('A="a\\nb\\tc\\\\d\\"e"', {"A": 'a\nb\tc\\d"e'}),
        ('A="\\$HOME"', {"A": "$HOME"}),
        ('A="one\ntwo"\nB=2', {"A": "one\ntwo", "B": "2"}),
        ("A='one\r\ntwo'", {"A": "one\ntwo"}),
        ("A=$HOME/x", {"A": "/root/x"}),
        ("A=${NONE:-d}", {"A": "d"}),
        ("A=1\nB=$A$A", {"A": "1", "B": "11"}),
        ("HOME=/other\nB=$HOME", {"HOME": "/other", "B": "/root"}),
        ("SECRET\nGONE\nA=1", {"SECRET": "s3", "A": "1"}),
        ("A=pa$$word", {"A": "pa$word"}),
        ("MY.VAR-1=x", {"MY.VAR-1": "x"}),
        ("A=1\nA=2", {"A": "2"}),
    ],
)
def test_a_line_has_the_meaning_of_compose(text: str, values: dict[str, str]) -> None:
    """One example for each rule of Compose's env_file."""
    found = parse(text, ENVIRON.get)
    assert found.values == values
    assert found.diagnostics == []


def test_every_invalid_line_is_reported_and_the_others_are_read() -> None:
    """An invalid line does not affect the next."""
    text = "A=1\n=x\ntwo words\nB='open\nC=3"
    found = parse(text, ENVIRON.get)
    assert found.values == {"A": "1", "C": "3"}
    assert found.diagnostics == [
        (2, "expected NAME=value"),
        (3, "expected NAME=value"),
        (4, "B: the quote ' is not closed"),
    ]


def test_text_after_a_closing_quote_and_invalid_variables_are_reported() -> None:
    found = parse('A="x"y\nB=${5}\nC="${V:?no}"', ENVIRON.get)
    assert found.values == {}
    assert found.diagnostics == [
        (1, 'A: text after the closing quote "'),
        (2, "B: ${…} without a variable name at character 1 (write $$ for a literal $)"),
        (3, "C: a required variable in it is not set"),
    ]


def test_lines_are_counted_across_values_of_several_lines() -> None:
    assert parse('A="1\n2\n3"\n=', ENVIRON.get).diagnostics == [(4, "expected NAME=value")]


def test_variables_that_refer_to_unset_ones_are_reported() -> None:
    """The name of the unset variable is not shown: after a stray $ it is part of the value."""
    text = "a variable in it is not set: replaced by an empty string (write $$ for a literal $)"
    assert parse("A=$NONE\n\nB=${NADA}\nC=x", ENVIRON.get).warnings == [(1, f"A: {text}"), (3, f"B: {text}")]


def test_a_command_that_no_shell_runs_is_a_warning() -> None:
    found = parse("A=$(hostname)\nB=$$(x)\nC='$(x)'", ENVIRON.get)
    assert found.values == {"A": "$(hostname)", "B": "$(x)", "C": "$(x)"}
    assert found.warnings == [(1, "A: $(…) in it stays as it is: no shell runs")]


def test_values_may_refer_to_the_fallback_last() -> None:
    """The environment, then earlier lines, then the fallback."""
    found = parse("B=1\nC=$HOME$B$D", ENVIRON.get, {"HOME": "no", "B": "no", "D": "yes", "E": None})
    assert found.values["C"] == "/root1yes"


def test_exponential_growth_of_variables_is_limited() -> None:
    """Forty doublings are reported without being computed."""
    text = "A0=" + "x" * 1000 + "\n" + "".join(f"A{i + 1}=$A{i}$A{i}\n" for i in range(40))
    found = parse(text, ENVIRON.get)
    assert found.diagnostics
    assert sum(map(len, found.values.values())) < 10_000_000


def test_raw_values_are_literal() -> None:
    """`format: raw` means `docker run --env-file`: no quotes, no variables, no comments after values."""
    found = parse_raw("# c\nA='$HOME' # x\n\nSECRET\nGONE\nB=\n C=1\r\nD E=1", ENVIRON.get)
    assert found.values == {"A": "'$HOME' # x", "SECRET": "s3", "B": "", "C": "1"}
    assert found.diagnostics == [(8, "expected NAME=value")]


@given(st.text(alphabet="A='\"\\\n #$x{}:", max_size=40))
def test_every_text_gives_variables_or_diagnostics(text: str) -> None:
    """No text raises."""
    parse(text, ENVIRON.get)
    parse_raw(text, ENVIRON.get)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), st.text(st.characters(codec="utf-8"))))
def test_quoted_values_are_read_back_unchanged(values: dict[str, str]) -> None:
    """Every text can be written in double quotes with its special characters escaped."""
    escape = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"})
    text = "\n".join(f'{name}="{value.translate(escape)}"' for name, value in values.items())
    found = parse(text, dict[str, str]().get)
    assert found.diagnostics == []
    assert found.values == values
