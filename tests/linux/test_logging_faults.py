"""Faults of log destinations: no output is lost without a report, and supervision continues.

During each fault a client is answered, a crashed service is restarted and a stop succeeds. Output is counted as in
test_logging_whole.py.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from linux.accounting import (
    Channels,
    Writers,
    channels_of_lines,
    channels_of_syslog,
    check_drops,
    file_with_rotated,
    lines_accounted_for,
)
from linux.clients import ask, environment
from linux.conftest import Gate, Start
from linux.programs.numbered import ROUND
from linux.run import Run, shell, write_file
from linux.syslogd import Syslogd

REEXECUTE = signal.SIGRTMIN + 25
DISK = "mkdir disk; mount -t tmpfs -o size=2m none disk; head -c 2031616 /dev/zero > disk/filler"
DISK_ROOM = 65_536
HELD_ROUNDS = 300  # more than the pipes to process 1 and to the log writer hold
Up = Callable[..., Run]


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    """Give the Writers."""
    writers = Writers(str(tmp_path))
    yield writers
    writers.close()


@pytest.fixture
def run_services(up: Start, tmp_path: Path) -> Up:
    """Give the function that runs these services, and one that can be crashed."""

    def run_services(services: dict[str, dict[str, Any]], **options: Any) -> Run:
        crashes = {"command": ["sleep", "1000"], "restart": "always"}
        run = up({"crashes": crashes, **services}, environment=environment(str(tmp_path)), **options)
        run.one("sleep 1000")
        return run

    return run_services


def _answers(run: Run, directory: Path) -> None:
    """Check that a client is answered and a crashed service is restarted."""
    assert "crashes" in ask(run, str(directory), "ps")
    first = run.one("sleep 1000")
    os.kill(first.pid, signal.SIGKILL)
    run.until(lambda: [one for one in run.below("sleep 1000") if one.pid != first.pid], "a restart")


def _why(run: Run, directory: Path) -> str:
    """What `why web` prints, as one line."""
    return " ".join(ask(run, str(directory), "why", "web").split())


def _file(path: Path, **options: str) -> dict[str, Any]:
    return {
        "driver": "file",
        "options": {"path": str(path), **{key.replace("_", "-"): options[key] for key in options}},
    }


def _until_sent(run: Run, writers: Writers, rounds: int) -> None:
    """Wait until the service `web` has written all of these rounds."""
    size = writers.size("web", rounds * ROUND)
    run.until(lambda: writers.sent("web") == size, f"{rounds} rounds")


def _until_accounted_for(run: Run, file: IO[bytes], rounds: int) -> None:
    """Wait until a file has each line of these rounds, or reports that it was dropped."""
    fd = file.fileno()
    run.until(lambda: lines_accounted_for(os.pread(fd, 1 << 21, 0)) == rounds * ROUND, "each line")


def _reexecute(run: Run) -> None:
    before = run.text.count("re-executed, version")
    run.signal(REEXECUTE)
    run.until_printed("re-executed, version", before + 1)


def _is_held(pid: int) -> bool:
    """Whether a process is blocked on a write to a full pipe."""
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return "pipe" in file.read()


def _inside(run: Run, path: Path) -> str:
    """A path in the namespace's file systems, from outside."""
    return f"/proc/{run.pid}/root{path}"


# --- disks -----------------------------------------------------------------------------------------------


def test_full_disk_under_a_file(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """The service blocks, also during a re-execution; nothing is lost when space is free again, with one message."""
    path = tmp_path / "disk" / "web.log"
    run = run_services({"web": writers.service("web", _file(path, max_size="0"), "bursts", bytes_max=2000)}, setup=DISK)
    writers.give(HELD_ROUNDS)
    run.until_printed("No space left on device")
    run.until(lambda: _is_held(run.one("numbered.py").pid), "the writer to block")
    _answers(run, tmp_path)
    run.until(lambda: "(output blocked " in ask(run, str(tmp_path), "ps"), "the block to be shown")
    why = f"{path}, which accepts none (No space left on device)"
    said = f"web runs, but its stdout waits for {why}, since "
    assert said.replace(" ", "") in _why(run, tmp_path).replace(" ", ""), "a long path is divided where it is"
    health = ask(run, str(tmp_path), "health", "--ready", code=1)
    assert health.startswith("the output of web has waited ")
    assert f" for {why}" in health
    _reexecute(run)
    _answers(run, tmp_path)
    os.unlink(_inside(run, tmp_path / "disk" / "filler"))
    run.until_printed(f"can write {path} again")
    _until_sent(run, writers, HELD_ROUNDS)
    with open(_inside(run, path), "rb") as file:
        assert run.stop() == 0
        writers.check({("web", 1): bytearray(file.read())}, "web")
    assert run.text.count("No space left on device") == 1


def test_stop_with_a_full_disk(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """A disk that stays full does not delay a stop; the lines written to it are whole."""
    path = tmp_path / "disk" / "web.log"
    web = writers.service("web", _file(path, max_size="0"), "bursts", bytes_max=2000, stop_grace_period="200ms")
    run = run_services({"web": web}, setup=DISK, top={"x-cohabit": {"stop_grace_period": "1s"}})
    writers.give(100)
    run.until_printed("No space left on device")
    with open(_inside(run, path), "rb") as file:
        assert run.stop() in (0, 137)  # a service blocked in write(2) does not always receive TERM
        data = file.read()
    assert 0 < len(data) <= DISK_ROOM
    assert writers.expected("web", "0", 1, len(data)) == data


def test_full_disk_under_a_non_blocking_file(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """Non-blocking: the service continues, and each line is written or reported as dropped in its place."""
    path, filler = tmp_path / "disk" / "web.log", tmp_path / "disk" / "filler"
    logging = _file(path, max_size="0", mode="non-blocking", max_buffer_size="20k")
    run = run_services({"web": writers.service("web", logging, bytes_max=2000)}, setup=DISK)
    rounds = 0
    for times in (1, 2):
        for _ in range(30):
            rounds += 1
            writers.give(1)
            _until_sent(run, writers, rounds)
        run.until_printed("No space left on device", times)
        _answers(run, tmp_path)
        with open(_inside(run, path), "rb") as file:
            os.truncate(_inside(run, filler), 0)
            run.until_printed(f"can write {path} again", times)
            rounds += 1
            writers.give(1)
            _until_accounted_for(run, file, rounds)
            with open(_inside(run, filler), "wb") as again:
                again.truncate(0)
                room = os.statvfs(again.fileno()).f_bavail * 4096
                again.write(bytes(room - DISK_ROOM))
    with open(_inside(run, path), "rb") as file:
        assert run.stop() == 0
        assert check_drops(writers, "web", file.read(), rounds * ROUND).times >= 2


def test_full_disk_under_stdout(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """Output that does not fit into the file on cohabit's stdout waits, with a message, and is complete in the end."""
    into = ("sh", "-euc", 'exec "$@" > disk/out', "sh")
    run = run_services({"web": writers.service("web", {"driver": "prefix"}, bytes_max=2000)}, setup=DISK, above=into)
    for rounds in range(1, 31):
        writers.give(1)
        _until_sent(run, writers, rounds)
    run.until_printed("cannot write to our stdout: No space left on device (trying again every second;")
    _answers(run, tmp_path)
    with open(_inside(run, tmp_path / "disk" / "out"), "rb") as file:
        os.unlink(_inside(run, tmp_path / "disk" / "filler"))
        writers.give(1)
        run.until(lambda: f"web:o {31 * ROUND - 1} ".encode() in os.pread(file.fileno(), 1 << 20, 0), "the last line")
        run.until_printed("our stdout can be written again")
        assert run.stop() == 0
        found = file.read()
    label = b"web     | "
    written = writers.expected("web", "0", 1, writers.size("web", 31 * ROUND))
    assert found == label + written[:-1].replace(b"\n", b"\n" + label) + b"\n"


def test_directory_is_removed_and_created_again(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """Earlier lines are in the removed file, later ones in a new file in a directory that is created for it."""
    path = tmp_path / "logs" / "web.log"
    run = run_services({"web": writers.service("web", _file(path), bytes_max=2000)})
    data = b""

    def written(rounds: int) -> bool:
        return path.exists() and len(data) + path.stat().st_size == writers.size("web", rounds * ROUND)

    for rounds in (1, 2, 3):
        writers.give(1)
        run.until(lambda rounds=rounds: written(rounds), "the round")  # type: ignore[misc]
        data += path.read_bytes()
        path.unlink()
        path.parent.rmdir()
    path.parent.write_text("no directory")
    writers.give(1)
    run.until_printed("Not a directory")
    _answers(run, tmp_path)
    _reexecute(run)
    path.parent.unlink()
    run.until_printed(f"can write {path} again")
    assert run.stop() == 0
    writers.check({("web", 1): bytearray(data + path.read_bytes())}, "web")


def test_read_only_disk(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """While a file system is read-only, its services block."""
    path = tmp_path / "disk" / "web.log"
    setup = "mkdir disk; mount -t tmpfs none disk; mount -o remount,ro disk"
    run = run_services({"web": writers.service("web", _file(path), "bursts")}, setup=setup)
    writers.give(20)
    run.until_printed("Read-only file system")
    _answers(run, tmp_path)
    enter = ("nsenter", "--target", str(run.pid), "--mount", "mount", "-o", "remount,rw", str(tmp_path / "disk"))
    subprocess.run(enter, check=True)
    run.until_printed(f"can write {path} again")
    _until_sent(run, writers, 20)
    with open(_inside(run, path), "rb") as file:
        assert run.stop() == 0
        writers.check({("web", 1): bytearray(file.read())}, "web")


# --- external and own rotation ------------------------------------------------------------------------------


def test_outside_logrotate(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """Rename (with and without create) during output, copytruncate between outputs: no line is lost or torn."""
    path = tmp_path / "web.log"
    run = run_services({"web": writers.service("web", _file(path, max_size="0"), "bursts", bytes_max=20_000)})
    run.until(lambda: writers.runs("web"), "the writer")
    moved = []
    for times in range(10):
        writers.give(5)
        run.until(lambda: path.exists() and path.stat().st_size, "lines where the path leads")
        moved.append(tmp_path / f"moved.{times}")
        path.rename(moved[-1])
        if times % 2:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    everything = writers.size("web", 50 * ROUND)
    run.until(lambda: sum(each.stat().st_size for each in (*moved, path) if each.exists()) == everything, "all rounds")
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    writers.give(5)
    assert run.stop() == 0
    data = b"".join(each.read_bytes() for each in (*moved, copy, path))
    writers.check({("web", 1): bytearray(data)}, "web")


def test_rotation_at_the_moment_of_a_crash(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """Rotated every few milliseconds and compressed, while the service is killed and process 1 re-executed in turn."""
    path = tmp_path / "web.log"
    logging = _file(path, max_size="10k", max_file="1000", compress="true")
    run = run_services({"web": writers.service("web", logging, "bursts", bytes_max=5000)})
    for times in range(1, 5):
        before = len(list(tmp_path.glob("web.log.*")))
        writers.give(10)
        run.until(lambda before=before: len(list(tmp_path.glob("web.log.*"))) > before, "a rotation")  # type: ignore[misc]
        if times % 2:
            os.kill(run.one("numbered.py").pid, signal.SIGKILL)
            run.until(lambda times=times: len(writers.runs("web")) > times // 2 + 1, "the re-execution")  # type: ignore[misc]
        else:
            _reexecute(run)
    run.until(lambda: list(tmp_path.glob("web.log.*.gz")), "something compressed")
    assert run.stop() == 0
    writers.check({("web", 1): bytearray(file_with_rotated(str(path)))}, "web")


def test_process_1_is_killed_at_a_rotation(up: Start, writers: Writers, tmp_path: Path) -> None:
    """SIGKILL of process 1 tears no line in the files; the next container continues them."""
    path = tmp_path / "web.log"
    logging = _file(path, max_size="10k", max_file="1000", compress="true")
    services = {"web": writers.service("web", logging, "bursts", bytes_max=5000)}
    for times in range(1, 4):
        before = len(list(tmp_path.glob("web.log.*")))
        run = up(services)
        run.until(lambda times=times: len(writers.runs("web")) == times, "the writer")  # type: ignore[misc]
        writers.give(10)
        run.until(lambda before=before: len(list(tmp_path.glob("web.log.*"))) > before + 1, "a rotation")  # type: ignore[misc]
        run.signal(signal.SIGKILL)
        run.wait()
    data = file_with_rotated(str(path))
    for life_number in ("0", "1", "2"):
        part = writers.expected("web", life_number, 1, 1 << 20)
        begin = data.index(part[:10])
        size = next(at for at in range(len(part) + 1) if data[begin : begin + at + 1] != part[: at + 1])
        assert size > 10_000
        data = data[:begin] + data[begin + size :]
    assert data.strip(b"\n") == b""


# --- readers -----------------------------------------------------------------------------------------------


def test_slow_reader(run_services: Up, writers: Writers, tmp_path: Path, process_1: bool) -> None:
    """One byte at a time, then everything: the services block, and nothing is lost, also during a re-execution."""
    reader, writer = os.pipe()
    services = {
        "web": writers.service("web", {"driver": "prefix"}, "bursts", bytes_max=20_000),
        "api": writers.service("api", {"driver": "json"}, "bursts", bytes_max=20_000),
    }
    run = run_services(services, stdout=writer, process_1=process_1)
    os.close(writer)
    writers.give(100)
    data = bytearray()
    for look in (_answers, lambda run, _: _reexecute(run), _answers):
        for _ in range(100):
            data += os.read(reader, 1)
        run.until(lambda: all(_is_held(one.pid) for one in run.below("numbered.py")), "the writers to block")
        look(run, tmp_path)
    _read_until(
        run, reader, data, lambda: all(writers.sent(name) == writers.size(name, 100 * ROUND) for name in services)
    )
    run.signal(signal.SIGTERM)
    _read_until(run, reader, data, lambda: run.process.poll() is not None)
    assert run.wait() == 0
    while piece := os.read(reader, 1 << 20):
        data += piece
    os.close(reader)
    channels: Channels = {}
    channels_of_lines(channels, bytes(data), 1)
    for name in services:
        writers.check(channels, name, loses_cr=name == "api")


def _read_until(run: Run, reader: int, data: bytearray, true: Callable[[], object]) -> None:
    """Read a pipe until the condition holds."""
    os.set_blocking(reader, False)

    def look() -> bool:
        try:
            data.extend(os.read(reader, 1 << 20))
        except BlockingIOError:
            pass
        return bool(true())

    run.until(look, "all to be read")


@pytest.mark.parametrize("driver", ["prefix", "json"])
def test_stuck_reader_of_a_non_blocking_service(
    run_services: Up, writers: Writers, tmp_path: Path, driver: str
) -> None:
    """Non-blocking: the service never blocks, and each line is written or reported as dropped in its place."""
    reader, writer = os.pipe()
    logging = {"driver": driver, "options": {"mode": "non-blocking", "max-buffer-size": "20k"}}
    run = run_services({"web": writers.service("web", logging, bytes_max=2000)}, stdout=writer)
    os.close(writer)
    for rounds in range(1, 61):  # lines are dropped from the first few rounds on
        writers.give(1)
        _until_sent(run, writers, rounds)
        if rounds in (30, 60):
            _answers(run, tmp_path)
            _reexecute(run)
    data = bytearray()
    _read_until(run, reader, data, lambda: lines_accounted_for(data) == 60 * ROUND)
    writers.give(1)
    _read_until(run, reader, data, lambda: lines_accounted_for(data) == 61 * ROUND)
    assert run.stop() == 0
    os.close(reader)
    text = bytes(data)
    if driver == "json":
        text = b"".join(_message(line) for line in text.split(b"\n")[:-1])
    drops = check_drops(writers, "web", text.replace(b"web     | ", b""), 61 * ROUND)
    assert drops.lines > 0


def _message(line: bytes) -> bytes:
    """The message of a JSON record."""
    channels: Channels = {}
    channels_of_lines(channels, line + b"\n", 1)
    (text,) = channels.values()
    return bytes(text)


def test_closed_reader(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """When stdout has no reader any more, output that also goes to a file is complete there."""
    reader, writer = os.pipe()
    path = tmp_path / "web.log"
    logging = [{"driver": "json"}, _file(path)]
    run = run_services({"web": writers.service("web", logging, "bursts")}, stdout=writer)
    os.close(writer)
    writers.give(20)
    assert os.read(reader, 10)
    os.close(reader)
    run.until_printed("our stdout is closed")
    _answers(run, tmp_path)
    _reexecute(run)
    writers.give(5)
    _until_sent(run, writers, 25)
    assert run.stop() == 0
    assert run.text.count("our stdout is closed") <= 2  # once per process instance
    writers.check({("web", 1): bytearray(path.read_bytes())}, "web")


# --- servers and side programs -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unixgram", "unix", "tcp"])
def test_syslog_server_stops_and_starts(run_services: Up, writers: Writers, tmp_path: Path, kind: str) -> None:
    """Without a server its services block; when it is back it receives everything."""
    with Syslogd(kind, str(tmp_path / "log")) as server:
        logging = {"driver": "syslog", "options": {"syslog-address": server.address}}
        run = run_services({"web": writers.service("web", logging, "bursts", bytes_max=5000)})
        writers.give(1)
        run.until(lambda: len(server.messages) == ROUND, "the first round")
        server.abort()
        writers.give(100)
        run.until_printed("cannot reach syslog")
        run.until(lambda: _is_held(run.one("numbered.py").pid), "the writer to block")
        _answers(run, tmp_path)
        _reexecute(run)
        server.start()
        run.until_printed("can reach syslog")
        run.until(lambda: len(server.messages) == 101 * ROUND, "all rounds")
        assert run.stop() == 0
        server.finish()
    channels: Channels = {}
    channels_of_syslog(channels, server.messages, lines=kind == "unix")
    writers.check(channels, "web")


def test_syslog_server_is_gone_for_a_non_blocking_service(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """Non-blocking: the service continues, and the server gets each line or the number dropped in its place."""
    with Syslogd("unixgram", str(tmp_path / "log")) as server:
        options = {"syslog-address": server.address, "mode": "non-blocking", "max-buffer-size": "20k"}
        logging = {"driver": "syslog", "options": options}
        run = run_services({"web": writers.service("web", logging, bytes_max=2000)})
        server.abort()
        for rounds in range(1, 31):
            writers.give(1)
            _until_sent(run, writers, rounds)
        _answers(run, tmp_path)
        server.start()
        for rounds in (30, 31):
            run.until(
                lambda lines=rounds * ROUND: lines_accounted_for(b"\n".join([*server.messages, b""])) == lines,  # type: ignore[misc]
                "each line",
            )
            writers.give(31 - rounds)
        assert run.stop() == 0
        server.finish()
    texts = b"".join(message.partition(b" - ")[2] + b"\n" for message in server.messages)
    assert check_drops(writers, "web", texts, 31 * ROUND).lines > 0


def test_child_that_joins_records_is_killed(run_services: Up, writers: Writers, tmp_path: Path) -> None:
    """Each second line begins a record; when the pattern matcher is killed, no line is lost and the order is kept."""
    options = {"multiline-pattern": r":[oe] \d*[02468] "}
    logging = [
        {"driver": "json", "options": options},
        _file(tmp_path / "web.log", multiline_pattern=options["multiline-pattern"]),
    ]
    run = run_services({"web": writers.service("web", logging, "err", "bursts", "leaves", bytes_max=20_000)})
    writers.give(3)
    _reexecute(run)
    run.until(lambda: b"\\n" in run.out, "a record of two lines")
    child = run.one("multiline.py").pid
    os.kill(child, signal.SIGSTOP)
    writers.give(10)
    run.until(lambda: writers.sent("web") >= 2 * writers.size("web", 12 * ROUND), "lines that it has not answered")
    _answers(run, tmp_path)
    os.kill(child, signal.SIGKILL)
    run.until_printed("cannot assemble multiline records")
    _answers(run, tmp_path)
    writers.give(3)
    run.until(lambda: writers.sent("web") >= 2 * writers.size("web", 16 * ROUND), "all rounds")
    ask(run, str(tmp_path), "restart", "web")
    run.until(lambda: len(writers.runs("web")) == 3, "the re-execution")
    run.one("multiline.py")
    writers.give(3)
    run.until(lambda: writers.sent("web") > 2 * writers.size("web", 17 * ROUND), "it to write")
    assert run.stop() == 0
    channels: Channels = {}
    for stream, data in ((1, run.out), (2, run.err)):
        channels_of_lines(channels, bytes(data), stream)
    writers.check(channels, "web")


# --- the last lines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["prefix", "json", "logfmt", "raw", "file", "syslog", "none"])
def test_last_lines_whatever_the_driver(run_services: Up, gate: Gate, tmp_path: Path, driver: str) -> None:
    """`cohabit logs` and the exit reason have them, also after a re-execution; raw output only if not spliced."""
    with Syslogd("unixgram", str(tmp_path / "log")) as server:
        options = {"file": {"path": str(tmp_path / "web.log")}, "syslog": {"syslog-address": server.address}}
        web = shell("echo one; echo two; read x < gate; printf three; read x < gate; exit 5")
        run = run_services({"web": {"command": web, "logging": {"driver": driver, "options": options.get(driver, {})}}})
        wanted = "" if driver == "raw" else "one\ntwo\n"
        if wanted:
            run.until(lambda: ask(run, str(tmp_path), "logs", "--no-log-prefix", "web") == wanted, "both lines")
        _reexecute(run)
        assert ask(run, str(tmp_path), "logs", "--no-log-prefix", "web") == wanted
        gate.open(2)
        assert run.wait() == 5
    last = run.lines("cohabit")
    if wanted:
        assert [line.strip() for line in last[last.index("last output of web:") + 1 :]] == ["one", "two", "three"]


# --- secrets -------------------------------------------------------------------------------------------------

SECRETS = {
    "db_password": "correct horse battery",
    "token": "tr0ub4dor&3\nsecond line of it",
    "given": "as-a-variable-77\n",
}
TEXTS = ("correct horse battery", "tr0ub4dor&3", "second line of it", "as-a-variable-77")


def test_secrets_appear_nowhere(up: Start, gate: Gate, tmp_path: Path) -> None:
    """With mask: not on stdout, in files, at a server, in kept lines, in `why`, in the exit reason; also if split."""
    for name, text in SECRETS.items():
        (tmp_path / name).write_text(text)
    os.mkfifo(tmp_path / "raw.gate")
    script = (
        f"cat {' '.join(SECRETS)}; echo; echo password=$PASSWORD, $PASSWORD; "
        "printf 'so correct horse'; read x < gate; printf ' battery'; read x < gate; echo; "
        "echo sent >&2; cat db_password >&2; read x < gate; cat given; exit 5"
    )
    with Syslogd("unixgram", str(tmp_path / "log")) as server:
        logging = [
            {"driver": "json"},
            _file(tmp_path / "web.log"),
            {"driver": "syslog", "options": {"syslog-address": server.address}},
        ]
        services: dict[str, dict[str, Any]] = {
            "web": {
                "command": shell(script),
                "secrets": list(SECRETS),
                "environment": {"PASSWORD_FILE": "/run/secrets/given"},
                "logging": logging,
            },
            "raw": {
                "command": shell("printf 'correct horse'; read x < raw.gate; echo ' battery'; exec sleep 1000"),
                "logging": {"driver": "raw"},
            },
        }
        secrets = {name: {"file": f"./{name}"} for name in SECRETS}
        probe = "echo cannot log in with $(cat /run/secrets/given); exit 1"
        services["web"] |= {"healthcheck": {"test": ["CMD-SHELL", probe], "interval": "10ms", "retries": 1}}
        setup = "mount -t tmpfs none /run"
        top = {"secrets": secrets, "x-cohabit": {"mask": True}}
        run = up(services, top=top, environment=environment(str(tmp_path)), setup=setup)
        run.until_printed("password=***, ***")
        _reexecute(run)
        gate.open()
        _reexecute(run)
        (tmp_path / "raw.gate").write_text("\n")
        gate.open()
        run.until_printed("sent")
        seen = ask(run, str(tmp_path), "logs") + ask(run, str(tmp_path), "why", "web")
        run.until_printed("cannot log in with ***")
        seen += ask(run, str(tmp_path), "events") + ask(run, str(tmp_path), "ps", "--json")
        _reexecute(run)
        seen += ask(run, str(tmp_path), "logs")
        gate.open()
        assert run.wait() == 5
        server.finish()
    seen += run.text + (tmp_path / "web.log").read_text() + b"\n".join(server.messages).decode()
    assert [text for text in TEXTS if text in seen] == []
    assert json.loads(next(line for line in run.text.splitlines() if "so ***" in line))["message"] == "so ***"
    assert seen.count("so ***") >= 5  # stdout, file, server, kept lines twice; perhaps in `why`
    assert "***\n" in run.text


@pytest.mark.parametrize("driver", ["prefix", "raw"])
def test_mask_turned_on_by_a_reload(up: Start, gate: Gate, tmp_path: Path, driver: str) -> None:
    """Secrets are hidden from then on, although nothing else has changed; a line in progress appears once."""
    (tmp_path / "token").write_text("tr0ub4dor&3")
    script = "printf 'abc '; read x < gate; echo def; cat token; echo; exec sleep 1000"
    services = {"web": {"command": shell(script), "logging": {"driver": driver}, "secrets": ["token"]}}
    top = {"secrets": {"token": {"file": "./token"}}}
    out = tmp_path / "out"
    with open(out, "ab") as file:
        run = up(services, top=top, setup="mount -t tmpfs none /run", stdout=file)
    run.until_printed("web: started")
    if driver == "raw":
        run.until(lambda: out.read_bytes() == b"abc ", "the beginning of a line")
    write_file(str(tmp_path), services, **top, **{"x-cohabit": {"mask": True}})
    run.signal(signal.SIGHUP)
    run.until_printed("reload: ", 2)
    gate.open()
    run.until(lambda: out.read_bytes().count(b"\n") == 2, "two lines")
    assert run.stop() == 0
    assert out.read_bytes().replace(b"web     | ", b"") == b"abc def\n***\n"
