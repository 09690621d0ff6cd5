"""config/text/yaml_text.py: YAML as in Compose, with lines and limits."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.text.yaml_text import NO_ANCHOR, UNKNOWN_TAG, parse, plain_scalar
from cohabit.plan.node import TOO_MANY, Node, SyntaxProblemError


def plain(node: Node) -> Any:
    """The values without lines."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def read(text: str) -> Any:
    (node,), diagnostics = parse(text, "f")
    assert diagnostics == []
    return plain(node)


def problems_of(text: str) -> list[str]:
    return [str(diagnostic) for diagnostic in parse(text, "f")[1]]


def refusal(text: str) -> tuple[str, int]:
    with pytest.raises(SyntaxProblemError) as error:
        parse(text, "f")
    return str(error.value), error.value.line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("nUll", "nUll"),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("0", 0),
        ("-17", -17),
        ("+5", 5),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("22:22", "22:22"),
        ("3306:3306", "3306:3306"),
        ("1.10", 1.1),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.inf", float("-inf")),
        ("1.2.3", "1.2.3"),
        ("2024-01-01", "2024-01-01"),
        (".", "."),
        ("-", "-"),
        ("+", "+"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_plain_scalar_follows_yaml_1_2(text: str, value: object) -> None:
    """Yes and no, times of day and octal-looking numbers do not have their YAML 1.1 meaning."""
    assert plain_scalar(text) == value
    assert type(plain_scalar(text)) is type(value)


def test_a_scalar_keeps_its_text() -> None:
    """1.10 is not 1.1 as text; a boolean has one text."""
    (node,), _ = parse("[1.10, 0777, 'x', TRUE, 1e3]", "f")
    assert isinstance(node.value, list)
    assert [child.text for child in node.value] == ["1.10", "0777", "x", "true", "1e3"]


def test_quoted_and_tagged_scalars_have_their_type() -> None:
    text = "- '1'\n- \"true\"\n- !!str 5\n- !!int '7'\n- ! 8\n- |\n 9\n"
    assert read(text) == ["1", "true", "5", 7, "8", "9\n"]


def test_values_have_the_line_of_their_key() -> None:
    (node,), _ = parse("a: 1\nb:\n  c:\n    - x\n    - y\n", "f")
    assert isinstance(node.value, dict)
    b = node.value["b"]
    assert isinstance(b.value, dict)
    c = b.value["c"]
    assert isinstance(c.value, list)
    assert [node.value["a"].line, b.line, c.line, *(item.line for item in c.value)] == [1, 2, 3, 4, 5]


def test_anchors_and_merge_keys() -> None:
    """Own keys override merged ones, independent of the position of <<; the first source overrides later ones."""
    text = """
x: &x {a: 1, b: 1}
y: &y {b: 2, c: 2}
one: {<<: *x, b: own}
two: {b: own, <<: [*x, *y]}
three: *x
four: {<<: {z: 1}}
five: {'<<': quoted}
"""
    found = read(text)
    assert found["one"] == {"b": "own", "a": 1}
    assert found["two"] == {"b": "own", "a": 1, "c": 2}
    assert found["three"] == {"a": 1, "b": 1}
    assert found["four"] == {"z": 1}
    assert found["five"] == {"<<": "quoted"}


def test_an_alias_has_its_own_line_and_an_anchor_can_be_redefined() -> None:
    (node,), _ = parse("a: &n 1\nb: *n\nc: &n 2\nd: *n\n", "f")
    assert isinstance(node.value, dict)
    assert [(child.value, child.line) for child in node.value.values()] == [(1, 1), (1, 2), (2, 3), (2, 4)]


@pytest.mark.parametrize(
    ("text", "diagnostic"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3: duplicate key 'a', first in line 1 (remove one)"),
        ("1: x", "f:1: a key must be a string, got 1 (put it in quotes)"),
        ("true: x", "f:1: a key must be a string, got true (put it in quotes)"),
        ("~: x", "f:1: a key must be a string, got nothing (put it in quotes)"),
        ("? [a, b]\n: x", "f:1: a key must be a string, got a list (put it in quotes)"),
        ("a: {<<: 5}", "f:1: <<: expected a map, got 5 (write <<: *anchor)"),
        ("a: {<<: [x]}", "f:1: <<: expected a map, got 'x' (write <<: *anchor)"),
        ("a: !resets x", f"f:1: {UNKNOWN_TAG}"),
        ("!reset a: x", f"f:1: {UNKNOWN_TAG}"),
        ("a: !!binary x", "f:1: not valid: the tag !!binary is for UTF-8 text in base64 (remove the tag)"),
        ("a: !!binary /w==", "f:1: not valid: the tag !!binary is for UTF-8 text in base64 (remove the tag)"),
        ("x-cohabit: {a: !b c}", f"f:1: {UNKNOWN_TAG}"),
        (
            "a: !!python/object:os.system {}",
            "f:1: unknown tag (remove it, or quote a text that begins with !)",
        ),
    ],
)
def test_an_invalid_key_is_reported_and_reading_continues(text: str, diagnostic: str) -> None:
    """Duplicate and non-string keys, invalid merges and unknown tags are reported with their line."""
    assert problems_of(text + "\n") == [diagnostic]


def test_all_invalid_keys_are_reported() -> None:
    assert len(problems_of("a: 1\na: 2\n3: x\nb: {c: 1, c: 2}\n")) == 3


@pytest.mark.parametrize(
    ("text", "why", "line"),
    [
        ("a: *nowhere", NO_ANCHOR, 1),
        ("a: &a\n  b: *a", "an alias refers to a value that contains it (remove the alias)", 2),
        ("a: &a [*a]", "an alias refers to a value that contains it (remove the alias)", 1),
        ("a: &a\n  <<: *a", "an alias refers to a value that contains it (remove the alias)", 2),
        ("a: &a 1\n---\nb: *a", NO_ANCHOR, 3),
    ],
)
def test_a_text_without_a_tree_is_refused(text: str, why: str, line: int) -> None:
    """Unknown and recursive aliases are refused; anchors end with their document."""
    assert refusal(text) == (why, line)


def test_a_text_may_have_several_documents() -> None:
    documents, diagnostics = parse("a: 1\n---\n---\nb: 2\n", "f")
    assert [(plain(node), node.line) for node in documents] == [({"a": 1}, 1), (None, 3), ({"b": 2}, 4)]
    assert diagnostics == []


def test_tags_for_merging_are_kept() -> None:
    """A plain scalar behind a tag has its usual type; an alias has the tag of its anchor."""
    (node,), diagnostics = parse("a: !override 3\nb: !override '3'\nc: !reset\nd: &d !override [1]\ne: *d\n", "f")
    assert diagnostics == []
    assert isinstance(node.value, dict)
    assert [(plain(one), one.tag) for one in node.value.values()] == [
        (3, "!override"),
        ("3", "!override"),
        (None, "!reset"),
        ([1], "!override"),
        ([1], "!override"),
    ]


def test_a_syntax_error_has_its_line() -> None:
    message, line = refusal("a: 1\nb: [1, 2\nc: 3\n")
    assert message.startswith("not valid YAML: ")
    assert line in (2, 3)


def test_tabs_are_reported() -> None:
    message, line = refusal("a:\n\tb: 1\n")
    assert message.endswith("(indent with spaces: YAML does not allow tabs)")
    assert line == 2


def test_control_characters_are_not_valid() -> None:
    assert refusal("a: \x01")[0].startswith("not valid YAML: ")


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGE_BOMB = "a0: &a0 {x: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n" + "".join(
    f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(10))}}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize("text", [BOMB, MERGE_BOMB])
def test_a_yaml_bomb_is_refused_without_expansion(text: str) -> None:
    """10^12 values in a kilobyte are counted, not expanded."""
    assert refusal(text)[0] == TOO_MANY


def test_too_many_values_are_refused() -> None:
    assert refusal("[" + "0," * 100_001 + "]")[0] == TOO_MANY


@pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[" * 500_000, 1),
        ("{a: " * 100_000, 1),
        ("{" * 500_000, 1),
        ("- " * 400_000, 1),
        ("? " * 400_000, 1),
        ("é: 1\n" + "b:\n [" + "\n [" * 63 + "[" * 2000, 66),
        ("\n".join(" " * depth + "é:" for depth in range(1200)), 65),
    ],
    ids=lambda value: ascii(value)[:10],
)
def test_deep_nesting_is_refused_quickly(
    text: str, line: int, loader: type[yaml.SafeLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of brackets must not overflow the stack, take minutes or reach the parser's own limit."""
    monkeypatch.setattr("cohabit.config.text.yaml_text._LOADER", loader)
    assert refusal(text) == ("nested more than 64 levels deep", line)


@pytest.mark.parametrize("text", ["[" * 64 + "}", "[" * 64 + "]" * 64 + "]", "a: b: c\n" + "[" * 70])
def test_another_error_before_the_depth_is_the_one_reported(text: str) -> None:
    assert refusal(text)[0].startswith("not valid YAML: ")


@given(st.text())
def test_every_text_is_a_tree_or_refused(text: str) -> None:
    """No text raises any other exception."""
    try:
        parse(text, "f")
    except SyntaxProblemError:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc<", min_size=1), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_a_dumped_tree_is_read_back_unchanged(value: object) -> None:
    """Every tree that PyYAML writes with quoted or tagged scalars (plain ones would be YAML 1.1) is read back."""
    text = yaml.safe_dump(value, default_style='"', allow_unicode=True)
    assert plain(parse(text, "f")[0][0]) == value
