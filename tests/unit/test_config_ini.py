"""config/text/ini_text.py: INI as supervisord's parser reads it, with lines. tests/differential compares the two."""

from __future__ import annotations

import configparser
import io

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cohabit.config.text.ini_text import IniSection, parse


def read(text: str, *others: str) -> tuple[dict[str, dict[str, str]], list[tuple[int, str]]]:
    """The sections of texts, and the lines of problems with the beginning of their texts."""
    sections: dict[str, IniSection] = {}
    problems = parse(text, "first", sections)
    for other in others:
        problems += parse(other, "other", sections)
    found = {name: {key: node.text for key, node in one.options.items()} for name, one in sections.items()}
    return found, [(int(line), why[:16]) for line, why in problems]


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        ("a=1\nB : 2\nc= x=y:z", {"a": "1", "b": "2", "c": "x=y:z"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=one\n  two\n\tthree\nb=4", {"a": "one\ntwo\nthree", "b": "4"}),
        ("a=one\n\n  two\n\nb=4", {"a": "one\n\ntwo", "b": "4"}),
        ("a=one\n# no\n ; no\n  two", {"a": "one\ntwo"}),
        ("a=x;y ; no", {"a": "x;y"}),
        ("a='x ; y'", {"a": "'x"}),
        ("a=x#y\t# no", {"a": "x#y"}),
        ("  a=1\n  b=2\n    more", {"a": "1", "b": "2\nmore"}),
        ("a=\n  one", {"a": "\none"}),
        ("a=", {"a": ""}),
        ("a=[x]", {"a": "[x]"}),
    ],
)
def test_options(lines: str, options: dict[str, str]) -> None:
    assert read(f"[s]\n{lines}\n") == ({"s": options}, [])


def test_lines_end_in_any_way() -> None:
    assert read("[s]\r\na=1\rb=2\n") == ({"s": {"a": "1", "b": "2"}}, [])
    assert read("[s]\na=1\x0b\x0c\u2028b=2\n") == ({"s": {"a": "1\x0b\x0c\u2028b=2"}}, [])


def test_sections_are_merged_over_files() -> None:
    first, second = "[s]\na=1\nb=1\n[t]\n", "[s]\nb=2\n  more\n"
    assert read(first, second) == ({"s": {"a": "1", "b": "2\nmore"}, "t": {}}, [])


def test_each_option_has_its_line_and_file() -> None:
    sections: dict[str, IniSection] = {}
    parse("; x\n[s]\n\na=1\nb=2\n", "first", sections)
    parse("[s]\nb=3\n", "other", sections)
    lines = {key: (int(node.line), getattr(node.line, "file", "")) for key, node in sections["s"].options.items()}
    assert lines == {"a": (4, "first"), "b": (2, "other")}
    assert (sections["s"].line, sections["s"].line.file) == (2, "first")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a=1\nb=2\n[s]\n", [(1, "File contains no")]),
        ("[s]\nword\na=1\n=2\n[t\n", [(2, "Source contains "), (4, "Source contains "), (5, "Source contains ")]),
        ("", []),
        ("; only a comment\n", []),
    ],
)
def test_wrong_lines(text: str, lines: list[tuple[int, str]]) -> None:
    assert read(text)[1] == lines


def test_a_wrong_line_is_not_quoted() -> None:
    """It may be a part of an environment."""
    sections: dict[str, IniSection] = {}
    assert "hunter2" not in str(parse('[s]\nPASSWORD "hunter2"\n', "x", sections))


@given(some.text("a=: ;\n\t[]xB\r", max_size=60))
def test_it_reads_what_configparser_reads(text: str) -> None:
    """With one of the two comment signs: for both in one line, Python before 3.13 has another rule."""
    text = f"[s]\n{text}\n"
    theirs = configparser.RawConfigParser(inline_comment_prefixes=(";",), comment_prefixes=(";",), strict=False)
    mine, problems = read(text)
    try:
        theirs.read_file(io.StringIO(text, newline=None))
    except configparser.Error:
        assert problems
    else:
        assert not problems
        assert mine == {name: dict(theirs.items(name)) for name in theirs.sections()}
