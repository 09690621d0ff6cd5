"""config/text/toml_text.py: TOML with lines."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.text.toml_text import parse
from cohabit.plan.node import Node, SyntaxProblemError

TEXT = '''# a comment with [brackets] and x = 1
name = "demo"
[services.web]
command = ["a",
  "b # no comment",
  "c"]   # services.x = 1
environment = { A = "1", B = 2 }
text = """
[services.not-a-table]
also = "not a key"
"""
restart = 'no'

[services."d.b"]
healthcheck.test = ["TCP", "x"]
healthcheck.timeout = "5s"

[[list]]
a = 1.10
[[list]]
a = 2
  [list.below]
  b = true
'''


def at(node: Node, *path: str | int) -> Node:
    for part in path:
        children: object = node.value
        if isinstance(children, dict):
            node = children[str(part)]
        elif isinstance(children, list):
            node = children[int(part)]
    return node


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("services",), 3),
        (("services", "web"), 3),
        (("services", "web", "command"), 4),
        (("services", "web", "command", 1), 4),
        (("services", "web", "environment", "B"), 7),
        (("services", "web", "text"), 8),
        (("services", "web", "restart"), 12),
        (("services", "d.b"), 14),
        (("services", "d.b", "healthcheck"), 15),
        (("services", "d.b", "healthcheck", "timeout"), 16),
        (("list", 0, "a"), 19),
        (("list", 1, "a"), 21),
        (("list", 1, "below"), 22),
        (("list", 1, "below", "b"), 23),
    ],
)
def test_every_key_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    """Tables, dotted keys and arrays of tables; not strings and comments that look like them."""
    assert at(parse(TEXT, "f")[0][0], *path).line == line


def refusal(text: str) -> tuple[str, int]:
    """Why the text is refused, and the line."""
    with pytest.raises(SyntaxProblemError) as error:
        parse(text, "f")
    return str(error.value), error.value.line


def test_values_are_those_of_tomllib_and_keep_their_text() -> None:
    (node,), diagnostics = parse("a = 1.10\nb = true\nc = 0x10\nd = 2024-01-01\ne = 'x'", "f")
    assert diagnostics == []
    assert isinstance(node.value, dict)
    assert [(child.value, child.text) for child in node.value.values()] == [
        (1.1, "1.10"),
        (True, "true"),
        (16, "16"),
        ("2024-01-01", "2024-01-01"),
        ("x", "x"),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\na = 2\n", 2), ("a = \n", 1), ("a = [1,\n", 2), ("a\tb", 1)],
)
def test_invalid_toml_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(SyntaxProblemError, match="not valid TOML: ") as error:
        parse(text, "f")
    assert error.value.line == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = 9223372036854775808", 2),
        ("a = 1\nb = -9223372036854775809", 2),
        ("a = 1\nb = 0x" + "9" * 5000, 2),
        ("a = " + "9" * 5000, 0),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_integers_have_64_bits(text: str, line: int) -> None:
    """As in the TOML specification, and before Python refuses the conversion."""
    assert refusal(text) == ("not valid TOML: an integer does not fit into 64 bits", line)


def test_the_largest_integers() -> None:
    (node,), _ = parse("a = [9223372036854775807, -9223372036854775808]", "f")
    assert isinstance(node.value, dict)
    assert str(node.value["a"].value) == "[Node(9223372036854775807, line 1), Node(-9223372036854775808, line 1)]"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = " + "[" * 100_000, 0),
        ("a = " + "{a = " * 100_000, 0),
        ("\na = " + "[" * 70 + "]" * 70, 2),
        ("\n[" + "a." * 500_000 + "a]", 2),
        ("\n[[" + '"a" . ' * 64 + "a]]", 2),
        ("\n" + "'a'." * 200_000 + "a = 1", 2),
        ("b = 1\na = [{" + "a." * 500_000 + "a = 1}]", 2),
        ("[" + "a." * 39 + "a]\n" + "b." * 39 + "b = 1", 2),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_deep_nesting_is_refused_quickly(text: str, line: int) -> None:
    """A megabyte of brackets or dots must not overflow the stack or take minutes."""
    assert refusal(text) == ("nested more than 64 levels deep", line)


@pytest.mark.parametrize(
    "text", ['"""\n{}\n"""', "'''\n{}\n'''", '"{}"', "'{}'", "1 # {}", '"\\"{}"', '""\n"b" = "{}"']
)
def test_dots_in_values_are_not_nesting(text: str) -> None:
    (node,), _ = parse("a = " + text.format("a." * 70 + "a"), "f")
    assert isinstance(node.value, dict)


KEY = st.sampled_from(["a", "b.c", '"q.r"', "'s'", "a.b"])
VALUE = st.sampled_from(["1", '"x"', "[1,\n2]", '{k = "]"}', "'''\n[t]\n'''", '"""a\\""""""', "true # [c]"])
STATEMENT = st.builds("{} = {}".format, KEY, VALUE) | st.sampled_from(["[t]", "[[l]]", "[t.u]", "[l.m]", "# x", ""])


@given(st.lists(STATEMENT).map("\n".join))
def test_lines_are_found_in_every_valid_text(text: str) -> None:
    """In every valid text, each top-level key is in its reported line."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(SyntaxProblemError):
            parse(text, "f")
        return
    (node,), _ = parse(text, "f")
    assert isinstance(node.value, dict)
    assert list(node.value) == list(values)
    lines = text.split("\n")
    for key, child in node.value.items():
        assert key in lines[child.line - 1]


@given(st.text())
def test_every_text_is_a_tree_or_refused(text: str) -> None:
    """No text raises any other exception."""
    try:
        parse(text, "f")
    except SyntaxProblemError:
        pass
