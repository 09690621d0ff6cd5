"""config/text/yaml_text.py: YAML as Compose reads it, with lines, and with an end to everything."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.text.node import TOO_MANY, Node, SyntaxProblemError
from cohabit.config.text.yaml_text import NO_ANCHOR, UNKNOWN_TAG, parse, plain_scalar


def plain(node: Node) -> Any:
    """The values without their lines."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def read(text: str) -> Any:
    node, problems = parse(text, "f")
    assert problems == []
    return plain(node)


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in parse(text, "f")[1]]


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
    """Words for yes and no, times of day and octal-looking numbers are not what YAML 1.1 made of them."""
    assert plain_scalar(text) == value
    assert type(plain_scalar(text)) is type(value)


def test_a_scalar_keeps_its_text() -> None:
    """1.10 is not 1.1 where text is asked for; a boolean has one spelling."""
    node, _ = parse("[1.10, 0777, 'x', TRUE, 1e3]", "f")
    assert isinstance(node.value, list)
    assert [child.text for child in node.value] == ["1.10", "0777", "x", "true", "1e3"]


def test_quoted_and_tagged_scalars_are_what_they_say() -> None:
    text = "- '1'\n- \"true\"\n- !!str 5\n- !!int '7'\n- ! 8\n- |\n 9\n"
    assert read(text) == ["1", "true", "5", 7, "8", "9\n"]


def test_values_have_the_line_of_their_key() -> None:
    node, _ = parse("a: 1\nb:\n  c:\n    - x\n    - y\n", "f")
    assert isinstance(node.value, dict)
    b = node.value["b"]
    assert isinstance(b.value, dict)
    c = b.value["c"]
    assert isinstance(c.value, list)
    assert [node.value["a"].line, b.line, c.line, *(item.line for item in c.value)] == [1, 2, 3, 4, 5]


def test_anchors_and_merge_keys() -> None:
    """Own keys win over merged ones wherever << stands; of several sources the first wins."""
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


def test_an_alias_has_its_own_line_and_an_anchor_can_be_set_anew() -> None:
    node, _ = parse("a: &n 1\nb: *n\nc: &n 2\nd: *n\n", "f")
    assert isinstance(node.value, dict)
    assert [(child.value, child.line) for child in node.value.values()] == [(1, 1), (1, 2), (2, 3), (2, 4)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3: 'a' is written twice, first in line 1 (remove one)"),
        ("1: x", "f:1: a key must be a string, got 1 (put it in quotes)"),
        ("true: x", "f:1: a key must be a string, got true (put it in quotes)"),
        ("~: x", "f:1: a key must be a string, got nothing (put it in quotes)"),
        ("? [a, b]\n: x", "f:1: a key must be a string, got a list (put it in quotes)"),
        ("a: {<<: 5}", "f:1: << merges maps, got 5 (write <<: *anchor)"),
        ("a: {<<: [x]}", "f:1: << merges maps, got 'x' (write <<: *anchor)"),
        ("a: !reset x", f"f:1: {UNKNOWN_TAG}"),
        ("a: !!binary x", f"f:1: {UNKNOWN_TAG}"),
        (
            "a: !!python/object:os.system {}",
            "f:1: a tag that means nothing here (remove it; a text that begins with ! is put in quotes)",
        ),
    ],
)
def test_a_wrong_key_is_a_problem_and_reading_goes_on(text: str, problem: str) -> None:
    """Duplicate and non-string keys, bad merges and foreign tags are told with their line."""
    assert problems_of(text + "\n") == [problem]


def test_several_wrong_keys_are_all_told() -> None:
    assert len(problems_of("a: 1\na: 2\n3: x\nb: {c: 1, c: 2}\n")) == 3


@pytest.mark.parametrize(
    ("text", "why", "line"),
    [
        ("a: *nowhere", NO_ANCHOR, 1),
        ("a: &a\n  b: *a", "an alias stands inside its own anchor, which never ends", 2),
        ("a: &a [*a]", "an alias stands inside its own anchor, which never ends", 1),
        ("a: &a\n  <<: *a", "an alias stands inside its own anchor, which never ends", 2),
        ("a: 1\n---\nb: 2", "a second document begins here (one file holds one)", 2),
    ],
)
def test_what_cannot_be_a_tree_is_refused(text: str, why: str, line: int) -> None:
    """Unknown and endless aliases and second documents end the reading."""
    assert refusal(text) == (why, line)


def test_a_syntax_error_has_its_line() -> None:
    message, line = refusal("a: 1\nb: [1, 2\nc: 3\n")
    assert message.startswith("this is no YAML: ")
    assert line in (2, 3)


def test_tabs_are_called_by_their_name() -> None:
    message, line = refusal("a:\n\tb: 1\n")
    assert message.endswith("(indent with spaces: YAML allows no tabs)")
    assert line == 2


def test_control_characters_are_no_yaml() -> None:
    assert refusal("a: \x01")[0].startswith("this is no YAML: ")


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGE_BOMB = "a0: &a0 {x: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n" + "".join(
    f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(10))}}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize("text", [BOMB, MERGE_BOMB])
def test_a_bomb_is_refused_before_it_goes_off(text: str) -> None:
    """A million million values in a kilobyte: refused by counting, without writing them out."""
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
def test_depth_is_refused_at_once(
    text: str, line: int, loader: type[yaml.SafeLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of brackets must neither overflow a stack nor take minutes, nor meet the limit of a parser first."""
    monkeypatch.setattr("cohabit.config.text.yaml_text._LOADER", loader)
    assert refusal(text) == ("nested more than 64 deep", line)


@pytest.mark.parametrize("text", ["[" * 64 + "}", "[" * 64 + "]" * 64 + "]", "a: b: c\n" + "[" * 70])
def test_another_error_before_the_depth_is_the_one_reported(text: str) -> None:
    assert refusal(text)[0].startswith("this is no YAML: ")


@given(st.text())
def test_any_text_is_a_tree_or_refused(text: str) -> None:
    """No text raises anything but the one error."""
    try:
        parse(text, "f")
    except SyntaxProblemError:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc<", min_size=1), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_dumped_comes_back(value: object) -> None:
    """Any tree that PyYAML writes, every scalar quoted or tagged (plain ones would be YAML 1.1), is the same tree."""
    text = yaml.safe_dump(value, default_style='"', allow_unicode=True)
    assert plain(parse(text, "f")[0]) == value
