"""`cohabit attach` and `cohabit stats`: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.rendering import docker
from unit.control_story import answer, run_client, service, serving, status

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

WEB = service("web", pids=[os.getpid()])
OUTPUT = b"0 ok \n" + b"".join(
    b"web %b 1.5 %d\n%b" % (stream, len(data), data)
    for stream, data in ((b"stdout", b"one\ntw"), (b"stderr", b"oops\n"), (b"stdout", b"o\n"), (b"dropped", b"42"))
)
ENDED = {"time": 2.0, "service": "web", "event": "EXITED", "text": "exit code 3", "code": 3}


def _attach(
    directory: Path, *arguments: str, found: bytes = status(WEB), events: bytes = answer(0, "", ENDED)
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    answers = {"logs": OUTPUT, "events": events, "status": found}
    with serving(directory, answers) as server:
        done = run_client("attach", "--no-stdin", *arguments, COHABIT_RUNTIME_DIR=str(directory))
    return done, [request.removeprefix("cohabit/2 ") for request in server.requests]


def test_attach_prints_new_output_and_returns_the_exit_code(tmp_path: Path) -> None:
    """Without prefixes; stderr goes to stderr, as with `docker attach`."""
    done, requests = _attach(tmp_path, "web")
    assert requests == ["logs web tail=0 follow=yes", "events web tail=0 follow=yes", "status web"]
    assert (done.returncode, done.stdout) == (3, "one\ntwo\n")
    assert done.stderr == "oops\ncohabit: 42 bytes were left out (is the reader too slow?)\n"


def test_attach_as_json(tmp_path: Path) -> None:
    """An object for each line, as with `logs --json`."""
    done, requests = _attach(tmp_path, "--json", "--index", "1", "web")
    assert requests[0] == "logs web-1 tail=0 follow=yes"
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == ["one", "oops", "two", "42"]


@pytest.mark.parametrize(
    ("found", "code", "why"),
    [
        (status(service("web", state="EXITED", pid=0)), 1, "web is not running (write: cohabit start web)"),
        (status(service("web-1"), service("web-2")), 64, "more than one instance is named (name one of web-1, web-2"),
    ],
)
def test_attach_needs_one_running_instance(found: bytes, code: int, why: str, tmp_path: Path) -> None:
    """As with `docker attach`, it is an error otherwise."""
    done, _ = _attach(tmp_path, "web", found=found)
    assert (done.returncode, done.stdout) == (code, "")
    assert f"cohabit: cannot attach: {why}" in done.stderr


def test_attach_does_not_invent_an_exit_code(tmp_path: Path) -> None:
    """A connection that ends before the service has no exit code of the service."""
    begun = {**ENDED, "event": "ready", "code": None}
    done, _ = _attach(tmp_path, "web", events=answer(0, "", begun))
    assert done.returncode == 69
    assert "the end of web is not known" in done.stderr


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (service("web", state="EXITED", code=5, pid=0), 5),
        (service("web", starts=2, code=7), 7),
    ],
)
def test_attach_notices_an_end_among_left_out_events(found: dict[str, Any], code: int, tmp_path: Path) -> None:
    """A slow reader misses events, so the state is read again."""
    states = [status(WEB), status(found)]
    answers: dict[str, Any] = {
        "logs": OUTPUT,
        "events": answer(0, "", {"dropped": 100}),
        "status": lambda connection: connection.sendall(states.pop(0)),
    }
    with serving(tmp_path, answers):
        done = run_client("attach", "--no-stdin", "web", COHABIT_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == code


def test_attach_reports_that_there_is_no_input(tmp_path: Path) -> None:
    """Unless it is /dev/null, or --no-stdin is given."""
    with serving(tmp_path, {"logs": OUTPUT, "events": answer(0, "", ENDED), "status": status(WEB)}):
        done = run_client("attach", "web", input="hello\n", COHABIT_RUNTIME_DIR=str(tmp_path))
        assert "cohabit: the standard input is not attached" in done.stderr
        done = run_client("attach", "web", input=None, COHABIT_RUNTIME_DIR=str(tmp_path))
        assert "standard input" not in done.stderr


def test_attach_says_whose_output_it_does_not_see(tmp_path: Path) -> None:
    """That of the driver inherit; its end is seen."""
    done, _ = _attach(tmp_path, "web", found=status(service("web", driver="inherit, file")))
    assert done.returncode == 3
    assert done.stderr.startswith("cohabit: web writes to the container's output itself (driver inherit)")


def _stats(directory: Path, *arguments: str) -> str:
    stopped = service("job", state="EXITED", pid=0, pids=[])
    with serving(directory, {"status": status(WEB, stopped, pid=os.getppid(), memory_limit=1024**3)}):
        done = run_client("stats", "--no-stream", *arguments, COHABIT_RUNTIME_DIR=str(directory))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_stats_prints_dockers_table(tmp_path: Path) -> None:
    """Only what runs, unless all are requested."""
    header, *rows = _stats(tmp_path).splitlines()
    assert header.split("  ")[0] == "NAME"
    assert [title for title in docker.USAGE.values() if title not in header] == []
    assert [row.split()[0] for row in rows] == ["web"]
    assert "MiB / 1GiB" in rows[0]
    (tmp_path / "control").unlink()
    rows = _stats(tmp_path, "-a").splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["web", "job"]
    assert rows[1].split() == ["job", "--", "--", "/", "--", "--", "--"]


@pytest.mark.parametrize("arguments", [("--format", "json"), ("--json",), ("--format", "{{json .}}")])
def test_stats_as_json(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Docker's names, with texts as values."""
    (row,) = [json.loads(line) for line in _stats(tmp_path, *arguments).splitlines()]
    assert row.keys() == docker.USAGE.keys()
    assert row["Name"] == "web"
    assert row["CPUPerc"].endswith("%")
    assert int(row["PIDs"]) >= 2


def test_usage_that_cannot_be_read() -> None:
    """Dashes, as for a service that does not run."""
    unread = dict.fromkeys(("processes", "threads", "cpu_percent", "rss_bytes"))
    assert docker.usage({"name": "web", **unread}, 1024) == {
        "Name": "web", "CPUPerc": "--", "MemUsage": "-- / --", "MemPerc": "--", "PIDs": "--",
    }  # fmt: skip
    row = {"name": "web", "processes": 1, "threads": 3, "cpu_percent": 1.25, "rss_bytes": 512}
    assert docker.usage(row, 1024) == {
        "Name": "web", "CPUPerc": "1.25%", "MemUsage": "512B / 1KiB", "MemPerc": "50.00%", "PIDs": "3",
    }  # fmt: skip
    assert docker.usage(row, None)["MemUsage"] == "512B / --"
