"""The output of services is complete: whole lines with a prefix, or with `raw` unchanged bytes."""

import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from linux.clients import ask, environment
from linux.conftest import Gate, Start
from linux.run import Run, program, shell

LINES = 20_000


def _expected(name: str, numbers: Iterable[int]) -> list[str]:
    return [f"{name} {n:07} {'x' * (n % 90)}" for n in numbers]


def _raw(command: list[str], **more: object) -> dict[str, object]:
    return {"command": command, "logging": {"driver": "raw"}, **more}


def _only(run: Run, name: str) -> bytes:
    """The text on stdout, where only one service has written."""
    prefix = f"{name} | ".encode()
    return bytes(run.out).replace(b"\n" + prefix, b"\n").removeprefix(prefix)


def test_floods_of_two_services_do_not_mix(up: Start) -> None:
    """No line of two flooding services is lost or torn, and each keeps its order."""
    services = {name: {"command": program("flood.py", name, str(LINES)), "essential": False} for name in ("one", "two")}
    run = up(services)
    assert run.wait() == 0
    for name in services:
        assert run.lines(name, "out") == _expected(name, range(LINES))
    assert bytes(run.out).count(b"\n") == 2 * LINES


def test_streams_are_kept_apart(up: Start) -> None:
    """A service's stdout goes to cohabit's stdout and its stderr to cohabit's stderr."""
    run = up({"web": {"command": program("flood.py", "web", str(LINES), "err")}})
    assert run.wait() == 0
    assert run.lines("web", "out") == _expected("web", range(0, LINES, 2))
    assert run.lines("web", "err") == _expected("web", range(1, LINES, 2))


def test_messages_of_cohabit_are_on_stderr(up: Start) -> None:
    """Messages of cohabit itself are on stderr, with its name."""
    run = up({"web": {"command": ["echo", "hello"]}})
    assert run.wait() == 0
    assert bytes(run.out) == b"web     | hello\n"
    assert all(line.startswith("cohabit | ") for line in run.err.decode().splitlines())


def test_one_pipe_for_both_tears_nothing(up: Start) -> None:
    """With 2>&1 the lines of stdout, stderr and cohabit share one pipe without tearing each other."""
    services = {
        name: {"command": program("flood.py", name, str(LINES), "err"), "essential": False} for name in ("one", "two")
    }
    run = up(services, stderr=subprocess.STDOUT)
    assert run.wait() == 0
    for name in services:
        found = run.lines(name)
        assert sorted(found) == _expected(name, range(LINES))
        assert [line for line in found if int(line.split()[1]) % 2] == _expected(name, range(1, LINES, 2))
    assert all(line.split(b" ", 1)[0] in (b"one", b"two", b"cohabit") for line in bytes(run.out).splitlines())


def test_unfinished_last_line_is_kept(up: Start) -> None:
    """An unfinished last line is printed, and gets a newline."""
    run = up({"web": {"command": ["printf", "one\\ntwo"]}})
    assert run.wait() == 0
    assert run.lines("web", "out") == ["one", "two"]
    assert run.out.endswith(b"two\n")


def test_unfinished_line_is_not_mixed_with_others(up: Start) -> None:
    """Two halves of a line form one line, or two if another line came after the first one was shown."""
    run = up(
        {
            "web": {
                "command": shell("printf 'one '; echo between >&2; until [ -e go ]; do :; done; echo half"),
                "essential": False,
            },
            "other": {"command": shell("until [ -e seen ]; do :; done; echo other; touch go"), "essential": False},
            "eyes": {"command": shell("touch seen"), "essential": False},
        }
    )
    assert run.wait() == 0
    assert run.lines("web", "out") in (["one half"], ["one ", "half"])
    assert run.lines("other") == ["other"]


def test_unfinished_line_is_shown_after_a_silence(up: Start, gate: Gate, tmp_path: Path) -> None:
    """In the container's log, `logs`, `why` and to a LOG probe; its rest follows where it was shown."""
    run = up(
        {
            "web": {
                "command": shell("printf 'name> '; read x < gate; printf 'x\n'; exec sleep 1000"),
                "healthcheck": {"test": ["LOG", "name> $"]},
            }
        },
        environment=environment(str(tmp_path)),
    )
    run.until(lambda: run.out.endswith(b"web     | name> "), "the prompt")
    run.until_printed("web: ready")
    assert ask(run, str(tmp_path), "logs", "web") == "web | name> \n"
    gate.open(1)
    run.until(lambda: run.out == b"web     | name> x\n", "the whole line")
    assert ask(run, str(tmp_path), "logs", "web") == "web | name> x\n"


def test_why_shows_an_unfinished_line(up: Start, tmp_path: Path) -> None:
    """It does not say that nothing was written."""
    web = {"command": shell("printf 'name> '; exec sleep 1000"), "healthcheck": {"test": ["LOG", "never"]}}
    run = up({"web": web}, environment=environment(str(tmp_path)))
    run.until_printed("name> ")
    assert "    | name> \n" in ask(run, str(tmp_path), "why", "web")


@pytest.mark.parametrize("size", [65_535, 65_536, 262_144, 1_000_000])
def test_long_line_is_one_line(up: Start, size: int) -> None:
    """A line of up to 1 MB is printed as one."""
    run = up({"web": {"command": shell(f"head -c {size} /dev/zero | tr '\\0' x; echo; echo end")}})
    assert run.wait() == 0
    assert [len(line) for line in run.lines("web", "out")] == [size, 3]


def test_endless_line_is_cut_and_complete(up: Start) -> None:
    """A line of 5 MB is split into lines without loss, and other services are read meanwhile."""
    run = up({"web": {"command": shell("head -c 5000000 /dev/zero | tr '\\0' x")}})
    assert run.wait() == 0
    lines = run.lines("web", "out")
    assert "".join(lines) == "x" * 5_000_000
    assert max(len(line) for line in lines) < 2_500_000


def test_unusual_bytes_are_not_changed(up: Start) -> None:
    """NUL, invalid UTF-8, escapes and carriage returns are not changed."""
    run = up({"web": {"command": ["printf", "a\\0b\\377\\xc3 \\033[31mred\\r\\nsecond\\n"]}})
    assert run.wait() == 0
    assert _only(run, "web    ") == b"a\0b\xff\xc3 \x1b[31mred\r\nsecond\n"


def test_empty_lines_are_lines(up: Start) -> None:
    """Empty lines are printed, each with the prefix."""
    run = up({"web": {"command": ["printf", "\\n\\na\\n\\n"]}})
    assert run.wait() == 0
    assert run.lines("web", "out") == ["", "", "a", ""]


def test_service_may_close_its_output(up: Start) -> None:
    """A service that closes its output keeps running, and its exit is noticed."""
    run = up(
        {"web": {"command": shell("echo last; exec >&- 2>&-; until [ -e go ]; do :; done; exit 6")}},
    )
    run.until_printed("last")
    os.close(os.open(f"/proc/{run.pid}/cwd/go", os.O_CREAT))
    assert run.wait() == 6


def test_final_output_of_a_grandchild_is_kept(up: Start, process_1: bool) -> None:
    """Output of an orphan on its TERM, after the exit of its service, is printed under the service's name."""
    farewell = "trap 'echo farewell; exit 0' TERM; touch up; while :; do read x < gate; done"
    leader = f'mkfifo gate; (setsid sh -c "{farewell}" &); until [ -e up ]; do :; done; exit 3'
    run = up({"web": {"command": shell(leader)}}, process_1=process_1)
    assert run.wait() == 3
    assert run.lines("web", "out") == ["farewell"]


def test_output_of_a_killed_service_is_kept(up: Start, gate: Gate) -> None:
    """Output in the pipe at a service's death is printed, the unfinished line too, before cohabit's message."""
    command = shell("read x < gate; seq 1000; printf unfinished; kill -9 $$")
    run = up({"web": {"command": command}}, stderr=subprocess.STDOUT)
    run.until_printed("web: started")
    (service,) = run.below()
    run.signal(signal.SIGSTOP)  # so that its output and its exit arrive together
    gate.open()
    run.until(lambda: [one.pid for one in run.zombies()] == [service.pid], "its end")
    run.signal(signal.SIGCONT)
    assert run.wait() == 137
    assert run.lines("web") == [*(str(n) for n in range(1, 1001)), "unfinished"]
    text = run.out.decode()
    assert text.index("| unfinished\n") < text.index("web: ended")


@pytest.mark.parametrize("where", ["pipe", "file", "terminal"])
def test_raw_output_is_byte_exact(up: Start, tmp_path: Path, where: str) -> None:
    """With the raw driver the bytes are unchanged, with no prefix and no newline added."""
    (tmp_path / "data").write_bytes(bytes(range(256)) * 8192 if where != "terminal" else b"line\n" * 5000)
    service = _raw(["cat", "data"])
    if where == "file":
        with open(tmp_path / "out", "wb") as file:
            run = up({"web": service}, stdout=file)
            assert run.wait() == 0
        found = (tmp_path / "out").read_bytes()
    elif where == "terminal":
        run = up({"web": service}, "-q", terminal=True)
        assert run.wait() == 0
        found = bytes(run.out).replace(b"\r\n", b"\n")
    else:
        run = up({"web": service})
        assert run.wait() == 0
        found = bytes(run.out)
    assert found == (tmp_path / "data").read_bytes()


def test_raw_and_prefixed_services_share_stdout(up: Start) -> None:
    """A raw service beside one with prefixes: neither loses output, and cohabit tears no line of the other."""
    raw = shell("head -c 3000000 /dev/zero | tr '\\0' Q")
    run = up(
        {"raw": _raw(raw, essential=False), "web": {"command": program("flood.py", "web", "5000"), "essential": False}}
    )
    assert run.wait() == 0
    assert bytes(run.out).count(b"Q") == 3_000_000
    assert bytes(run.out).replace(b"Q", b"").decode().splitlines() == [
        f"web     | {line}" for line in _expected("web", range(5000))
    ]


def test_prefixes_are_aligned(up: Start) -> None:
    """All names are padded to the length of the longest."""
    run = up(
        {
            "a": {"command": ["echo", "x"], "essential": False},
            "longest-name": {"command": ["echo", "y"], "essential": False},
        }
    )
    assert run.wait() == 0
    assert sorted(run.out.decode().splitlines()) == ["a            | x", "longest-name | y"]


def test_prefix_is_coloured_on_a_terminal_only(up: Start) -> None:
    """Colours are used on terminals only; the text after the prefix is unchanged."""
    run = up({"web": {"command": ["echo", "hello"]}}, terminal=True)
    assert run.wait() == 0
    assert b"\x1b[" in run.out.split(b"hello")[0]
    assert b"\x1b[0mhello\r\n" in run.out
