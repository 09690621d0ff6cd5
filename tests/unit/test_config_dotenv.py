"""config/values/dotenv.py: files of variables by Compose's rules."""

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
        ("A=# comment", {"A": ""}),
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
def test_a_line_means_what_compose_means(text: str, values: dict[str, str]) -> None:
    """Each rule of Compose's env_file, by example."""
    found = parse(text, ENVIRON.get)
    assert found.values == values
    assert found.problems == []


def test_every_wrong_line_is_told_and_the_others_count() -> None:
    """A line that is no statement does not hide the next."""
    text = "A=1\n=x\ntwo words\nB='open\nC=3"
    found = parse(text, ENVIRON.get)
    assert found.values == {"A": "1", "C": "3"}
    assert found.problems == [
        (2, "expected NAME=value"),
        (3, "expected NAME=value"),
        (4, "B: the quote ' is never closed"),
    ]


def test_text_behind_a_closing_quote_and_bad_variables_are_told() -> None:
    found = parse('A="x"y\nB=$5\nC="${V:?no}"', ENVIRON.get)
    assert found.values == {}
    assert found.problems == [
        (1, 'A: text behind the closing quote "'),
        (2, "B: a $ that names no variable, at character 1 (write $$ for $)"),
        (3, "C: a variable in it is not set, and must be"),
    ]


def test_lines_are_counted_across_values_of_several_lines() -> None:
    assert parse('A="1\n2\n3"\n=', ENVIRON.get).problems == [(4, "expected NAME=value")]


def test_variables_whose_values_name_an_unset_one_are_named() -> None:
    """Not the unset one itself: behind a stray $ it is a piece of the value."""
    assert parse("A=$NONE\nB=${NADA}\nC=x", ENVIRON.get).unset == ["A", "B"]


def test_variables_that_double_themselves_come_to_an_end() -> None:
    """Forty doublings are a million millions: told, not computed."""
    text = "A0=" + "x" * 1000 + "\n" + "".join(f"A{i + 1}=$A{i}$A{i}\n" for i in range(40))
    found = parse(text, ENVIRON.get)
    assert found.problems
    assert sum(map(len, found.values.values())) < 10_000_000


def test_raw_takes_values_as_they_are() -> None:
    """`format: raw` is docker run's --env-file: no quotes, no variables, no comments behind values."""
    found = parse_raw("# c\nA='$HOME' # x\n\nSECRET\nGONE\nB=\n C=1\r\nD E=1", ENVIRON.get)
    assert found.values == {"A": "'$HOME' # x", "SECRET": "s3", "B": "", "C": "1"}
    assert found.problems == [(8, "expected NAME=value")]


@given(st.text(alphabet="A='\"\\\n #$x{}:", max_size=40))
def test_any_text_gives_variables_or_problems(text: str) -> None:
    """No text raises."""
    parse(text, ENVIRON.get)
    parse_raw(text, ENVIRON.get)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), st.text(st.characters(codec="utf-8"))))
def test_quoted_values_come_back_as_they_were(values: dict[str, str]) -> None:
    """A value in double quotes, its special letters escaped, is any text at all."""
    escape = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"})
    text = "\n".join(f'{name}="{value.translate(escape)}"' for name, value in values.items())
    found = parse(text, dict[str, str]().get)
    assert found.problems == []
    assert found.values == values
