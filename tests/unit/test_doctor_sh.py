"""The parser of shell scripts: what is a command, what is in the background, and what is only text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.doctor import sh
from cohabit.doctor.sh import Block, Simple
from cohabit.doctor.sh_tokens import UnparsedError


def commands(text: str) -> list[tuple[str, ...]]:
    """The words of all simple commands."""
    return [one.argv for one in sh.walk(sh.parse(text), functions=True) if one.argv]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b 'c d' \"e f\"", [("a", "b", "c d", "e f")]),
        ("a 'x & y' \"p; q\" r\\ s", [("a", "x & y", "p; q", "r s")]),
        ("a # b & c\n#d\ne#f", [("a",), ("e#f",)]),
        ("a \\\n  --b \\\n  c", [("a", "--b", "c")]),
        ("X=1 Y='2 3' a b", [("a", "b")]),
        ("a > f 2>&1 < g >> 'h i' b", [("a", "b")]),
        ("a &> f b >&2 c 2>/dev/null", [("a", "b", "c")]),
        ("curl 'http://x/?a=1&b=2' http://x/y", [("curl", "http://x/?a=1&b=2", "http://x/y")]),
        ("cat <<EOF > f\na & b\nsleep infinity\nEOF\nc", [("cat",), ("c",)]),
        ("cat <<-'END'\n\ta &\n\tEND\nc", [("cat",), ("c",)]),
        ("cat <<A <<B\n1\nA\n2 &\nB\nc", [("cat",), ("c",)]),
        ("a <<< 'b & c'; d", [("a",), ("d",)]),
        ("a $(b & c) `d; e` ${f:-g & h} $((1 & 2))", [("a", "$(b & c)", "`d; e`", "${f:-g & h}", "$((1 & 2))")]),
        ('a "$(b "c & d" \')\')" e', [("a", '$(b "c & d" \')\')', "e")]),
        ("a \"it's\" b", [("a", "it's", "b")]),
        ("a 'says \"x\"' $'don\\'t' b", [("a", 'says "x"', "$'don\\'t'", "b")]),
        ("a <(b | c) >(d)", [("a", "<(b | c)", ">(d)")]),
        ("if [ -f a ]; then b; elif c; then d; else e; fi", [("[", "-f", "a", "]"), ("c",), ("b",), ("d",), ("e",)]),
        ("for i in 1 2; do a; done", [("a",)]),
        ("for i; do a; done; for ((i=0; i<3; i++)); do b; done", [("a",), ("b",)]),
        ("while a; do b; done; until c\ndo d\ndone", [("a",), ("b",), ("c",), ("d",)]),
        ("case $1 in\n a|b) c ;;\n (d) e ;& *) f\nesac; g", [("c",), ("e",), ("f",), ("g",)]),
        ("case $x in esac; a", [("a",)]),
        ("f() { a; }\nfunction g { b; }\nfunction h () ( c )\nd", [("a",), ("b",), ("c",), ("d",)]),
        ("[[ $a =~ ^(b|c) && d ]] && f", [("[[", "$a", "=~", "^", "b", "c", "d", "]]"), ("f",)]),
        ("((a > 1)) && b; ( (c); d )", [("((a > 1))",), ("b",), ("c",), ("d",)]),
        ("a=(1 2 & 3) b", None),
        ("a=(1 2 3); b[1]=c; d", [("d",)]),
        ("! a && time b", [("a",), ("b",)]),
        ("ls !(a|b) @(c)", [("ls", "!(a|b)", "@(c)")]),
        ("exec a; exec -a name b; exec > f; exec 3>&1", [("a",), ("b",), ("exec",), ("exec",)]),
        ("echo if then fi; a done", [("echo", "if", "then", "fi"), ("a", "done")]),
        ("'if' a", [("if", "a")]),
        ("{ a; b; } 2>&1 | c", [("a",), ("b",), ("c",)]),
        ("", []),
        ("\n\n# nothing\n", []),
    ],
)  # fmt: skip
def test_the_words_of_commands(text: str, expected: list[tuple[str, ...]] | None) -> None:
    """Quotes, comments, here-documents, continuations, substitutions and blocks."""
    if expected is None:
        expected = [("b",)]
    assert commands(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a & b", ["a"]),
        ("a && b & c", ["a", "b"]),
        ("a; b & c", ["b"]),
        ("a | b & c", ["a", "b"]),
        ("a &\nb &\nwait", ["a", "b"]),
        ("a 2>&1 & b >& f", ["a 2>&1"]),
        ("a &> f; b", []),
        ("'a &'", []),
        ("a && b", []),
    ],
)
def test_what_is_in_the_background(text: str, expected: list[str]) -> None:
    """`&` applies to the whole list before it, and is not the one of a redirection or a quote."""
    assert [one.source for one in sh.walk(sh.parse(text)) if one.background] == expected


def test_blocks_in_the_background() -> None:
    """`&` after a block applies to the block."""
    for text in ("( a; b ) &", "{ a; } > f &", "while a; do b; done &", "if a; then b; fi &"):
        (block,) = sh.parse(text)
        assert isinstance(block, Block)
        assert block.background, text


def test_lines_and_sources() -> None:
    """Each command has the line in which it begins, and its text."""
    found = [
        one for one in sh.parse("#!/bin/sh\n\na \\\n b\ncat <<E\nx\nE\n  c 'd\ne' &\nf") if isinstance(one, Simple)
    ]
    assert [(one.line, one.source) for one in found] == [(3, "a \\\n b"), (5, "cat <<E"), (8, "c 'd\ne'"), (10, "f")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb 'c", 2),
        ('a "b', 1),
        ("a $(b", 1),
        ("a ${b", 1),
        ("a `b", 1),
        ("a\ncat <<E\nb", 3),
        ("if a; then b", 1),
        ("a\nfi", 2),
        ("a; done", 1),
        ("case a in b) c", 1),
        ("{ a", 1),
        ("( a", 1),
        ("a )", 1),
        ("a ;; b", 1),
        ("coproc a", 1),
        ("[[ a", 1),
        ("& a", 1),
        ("a; esac", 1),
        ("{ " * 100 + "a", 1),
        ("a " + "$(" * 5000, 1),
        ("a " + '"${b:-' * 5000, 1),
        ("((a) b)\n" * 501, 501),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_cannot_be_judged(text: str, line: int) -> None:
    """It is refused with a line; no wrong command is reported."""
    with pytest.raises(UnparsedError) as caught:
        sh.parse(text)
    assert caught.value.line == line


def line_of_error(text: str) -> int:
    """Parse a text; the line of the error, 1 if there is none."""
    try:
        sh.parse(text)
    except UnparsedError as error:
        return error.line
    return 1


@given(st.text(alphabet="ab \n;&|(){}<>'\"\\$`#!=[]", max_size=60))
def test_any_text_ends(text: str) -> None:
    """It is parsed or refused with a line of the text; nothing else is raised."""
    assert 1 <= line_of_error(text) <= text.count("\n") + 1


_WORDS = (
    "if a; then",
    "fi",
    "while b; do",
    "done",
    "{",
    "}",
    "(",
    ")",
    "c &",
    "d\n",
    "case e in f)",
    ";;",
    "esac",
    "g() {",
)


@given(st.lists(st.sampled_from(_WORDS), max_size=25))
def test_any_blocks_end(words: list[str]) -> None:
    """The same for reserved words in any order."""
    text = " ".join(words)
    assert 1 <= line_of_error(text) <= text.count("\n") + 1
