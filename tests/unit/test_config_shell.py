"""config/values/shell.py: shell strings, compared with /bin/sh."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohabit.config.values.shell import parse

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("nginx", ["nginx"]),
        ("  nginx   -g  'daemon off;' ", ["nginx", "-g", "daemon off;"]),
        ("gunicorn app:app", ["gunicorn", "app:app"]),
        ('sh -c "a b"', ["sh", "-c", "a b"]),
        ('a "b\\"c" d\\ e \'\'', ["a", 'b"c', "d e", ""]),
        ('a "\\n"', ["a", "\\n"]),
        ("cmd a=b --x=y", ["cmd", "a=b", "--x=y"]),
        ("./if then", ["./if", "then"]),
        ("'if' x", ["if", "x"]),
        ("a#b", ["a#b"]),
        ("a\tb", ["a", "b"]),
    ],
)
def test_words_and_quotes_need_no_shell(text: str, argv: list[str]) -> None:
    assert list(parse(text).argv) == argv


@pytest.mark.parametrize(
    ("text", "script", "program"),
    [
        ("server $PORT", "exec server $PORT", "server"),
        ('server --port="${PORT:-80}"', 'exec server --port="${PORT:-80}"', "server"),
        ("server *.conf", "exec server *.conf", "server"),
        ("server ~/x", "exec server ~/x", "server"),
        ("server > /dev/null 2>&1", "exec server > /dev/null 2>&1", "server"),
        ("PORT=80 server", "PORT=80 exec server", "server"),
        ("A=1 B=$C /usr/sbin/server -x", "A=1 B=$C exec /usr/sbin/server -x", "/usr/sbin/server"),
        ("server {a,b}", "exec server {a,b}", "server"),
    ],
)
def test_a_simple_command_that_needs_the_shell_replaces_it(text: str, script: str, program: str) -> None:
    """Exec precedes the program and follows the assignments."""
    assert parse(text) == (("/bin/sh", "-c", script), program)


@pytest.mark.parametrize(
    "text",
    [
        "a; b",
        "a && b",
        "a | b",
        "a & b",
        "a\nb",
        "(a)",
        "{ a; }",
        "! a",
        "if true; then a; fi",
        "while :; do a; done",
        "cd /app && ./server",
        "exec server",
        "echo hi",
        "\\echo hi",
        "test -f x",
        "[ -f x ]",
        "$SERVER -x",
        '"$SERVER" -x',
        "a $(b)",
        "a `b`",
        'a "$(b "c")"',
        "a ${B:-'c d'}",
        "a $'b'",
        "a # it's a comment",
        "A=1",
        "> file",
        "> file a",
        "A=1 > file a",
        "a << E",
        "a \\\n b",
        "a \\",
        "-x",
        "%1",
        "f() { a; }",
        "a &> b",
    ],
)
def test_everything_else_is_passed_to_the_shell_unchanged(text: str) -> None:
    """Lists, compound commands, builtins and doubtful texts go to the shell exactly as written."""
    assert parse(text).argv == ("/bin/sh", "-c", text)


@pytest.mark.parametrize("text", ["a 'b", 'a "b', "a \"b'", "it's"])
def test_a_quote_that_is_not_closed_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"the quote . is not closed"):
        parse(text)


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_command_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="the command is empty"):
        parse(text)


PIECES = [
    " ", " show ", "'a b'", '"c d"', '"$X"', "$X", "${X}", "${NONE:-q r}", '"${NONE:-q r}"', "*", "\\ ", "\\$", '"\\$"',
    '"\\a"', "\\'", "~", "a=b", " A=1 ", " >o", " 2>&1", " 2>e", "#", " # c", ";", "&&", "|", "(", "{", "}", "a{b,c}",
    "!", '""', "''", "-x", "$", "$(echo hi)", "`echo hi`", '"', "'", "\\", "\n", "[", "?", "%", " cd ", " if ",
]  # fmt: skip
SHOW = "#!/bin/sh\nprintf '%s' \"A=$A\"\nprintf '[%s]' \"$@\"\nprintf '[%s]' \"$@\" >&2\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=7))
def test_the_result_is_that_of_the_shell(tmp_path: Path, pieces: list[str]) -> None:
    """With or without a shell, arguments, variables, redirections and exit code are the same."""
    text = "show " + "".join(pieces)
    show = tmp_path / "show"
    if not show.exists():
        show.write_text(SHOW)
        show.chmod(0o755)
    try:
        argv = parse(text).argv
    except ValueError:
        assert subprocess.run(["/bin/sh", "-n", "-c", text], capture_output=True, check=False).returncode != 0
        return
    if argv == ("/bin/sh", "-c", text):
        return
    assert outcome(tmp_path, list(argv)) == outcome(tmp_path, ["/bin/sh", "-c", text])


def outcome(directory: Path, argv: list[str]) -> tuple[int, bytes, str, str]:
    """Exit code, standard output, and the files of redirections.

    Every run has the same files: one that an earlier run made could match a pattern.
    """
    for path in directory.iterdir():
        if path.name != "show":
            path.unlink()
    for name in ("o", "e"):
        (directory / name).write_text("")
    done = subprocess.run(
        ["/usr/bin/env", *argv],
        env={"PATH": f"{directory}:/usr/bin:/bin", "X": "x y", "HOME": "/h"},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout, (directory / "o").read_text(), (directory / "e").read_text()
