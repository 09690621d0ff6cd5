"""`cohabit up`: probes and readiness with real processes; a faulty probe does not affect other services."""

import os
import shutil
from pathlib import Path

import pytest

from linux import places, processes
from linux.conftest import Gate, Start
from linux.run import REPOSITORY, Run, program, shell, write_file

QUICK = {"interval": "100ms", "start_interval": "50ms", "retries": 1}
WEB = {"command": ["sleep", "1000"]}
NOTIFIES = program("notify.py", "-", "READY=1\nSTATUS=here")


def _probed(*test: str, **rules: object) -> dict[str, object]:
    return {**WEB, "healthcheck": {"test": [*test], **QUICK, **rules}}


def _after(name: str) -> dict[str, object]:
    """A service that starts when another one is healthy."""
    return {"command": shell("echo after; exec sleep 1001"), "depends_on": {name: {"condition": "service_healthy"}}}


# --- commands --------------------------------------------------------------------------------------------------


def test_hanging_probe_is_killed_with_its_processes(up: Start, tmp_path: Path, process_1: bool) -> None:
    """At its timeout a probe is killed with its children and its daemons; the next probe runs as usual."""
    script = "[ -e ran ] && exit 0; setsid sleep 2001 & sleep 2002 & touch ran; sleep 2003"
    run = up({"web": _probed("CMD-SHELL", script, timeout="300ms")}, process_1=process_1)
    run.until_printed("web: unhealthy: no answer within 300ms")
    run.until_printed("web: healthy again")
    run.until(lambda: not [p for p in run.below() if "sleep 200" in p.command], "the end of all that it started")
    assert (tmp_path / "ran").exists()
    assert run.stop() == 0


def test_probe_that_leaves_a_daemon_behind(up: Start, process_1: bool) -> None:
    """A probe that passes and leaves a daemon that holds its output: it passes, and the daemon is killed."""
    run = up({"web": _probed("CMD-SHELL", "setsid sleep 2001 & exit 0", interval="1h")}, process_1=process_1)
    run.until_printed("web: ready")
    run.until(lambda: not run.below("sleep 2001"), "the daemon's end")
    assert run.stop() == 0


def test_probe_that_floods_is_killed(up: Start) -> None:
    """A probe that writes without end is killed and fails; the output of other services appears meanwhile."""
    services = {"web": _probed("CMD", "yes", timeout="1h"), "db": {"command": shell("echo here; exec sleep 1000")}}
    run = up(services)
    run.until_printed("web: unhealthy: the probe was killed: it wrote more than 1 MiB")
    run.until_printed("db  ", 1)
    assert run.stop() == 0


def test_probe_runs_as_the_service(up: Start, tmp_path: Path) -> None:
    """A probe has its service's user, environment and working directory."""
    tmp_path.chmod(0o777)
    script = "[ $(id -u) = 12345 ] && [ $(pwd) = / ] && [ $WORD = x ] || { echo $(id -u) $(pwd) $WORD; exit 1; }"
    web = {**_probed("CMD-SHELL", script), "user": "12345", "working_dir": "/", "environment": {"WORD": "x"}}
    run = up({"web": web})
    run.until_printed("web: ")
    run.until_printed("web: ready")
    assert "unhealthy" not in run.text


def test_probe_over_tcp(up: Start, gate: Gate, port: int) -> None:
    """A service is ready once its port accepts connections, and not before."""
    web = {
        "command": program("listen.py", "tcp", str(port)),
        "healthcheck": {"test": ["TCP", f"localhost:{port}"], **QUICK},
    }
    run = up({"web": web, "after": _after("web")})
    run.until_printed("web: started")
    gate.open()
    run.until_printed("| after")
    assert run.stop() == 0


# --- readiness reported by the service -------------------------------------------------------------------------


@pytest.mark.parametrize("user", [None, "12345"], ids=["root", "another user"])
def test_notify(up: Start, process_1: bool, user: str | None) -> None:
    """READY=1 makes a service ready, whatever its user; its socket is removed with it."""
    web = {"command": NOTIFIES, "healthcheck": {"test": ["NOTIFY"]}, **({"user": user} if user else {})}
    setup = places.open_to_all() if user else ""
    run = up({"web": web, "after": _after("web")}, process_1=process_1, setup=setup)
    run.until_printed("| after")
    assert run.stop() == 0


def test_notify_with_only_dev_shm_writable(up: Start, tmp_path: Path) -> None:
    """`--read-only --user 12345`: the socket is in a writable place, and removed at the end."""
    tmp_path.chmod(0o755)
    script = f"echo $NOTIFY_SOCKET; exec {' '.join(NOTIFIES[:-1])} READY=1"
    services = {"web": {"command": shell(script), "healthcheck": {"test": ["NOTIFY"]}}, "after": _after("web")}
    hidden = """
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=1777 none /dev/shm
mount --rbind /tmp /tmp; mount -o remount,bind,ro /tmp
cd "$PWD"
"""
    run = up(services, above=places.UNPRIVILEGED, setup=places.open_to_all(str(tmp_path)) + hidden)
    run.until_printed("| after")
    assert run.lines("web")[0].startswith("/dev/shm/cohabit-")
    assert run.stop() == 0


def test_notify_from_another_service(up: Start, tmp_path: Path) -> None:
    """Another service's message is ignored and reported once; the service's own is accepted."""
    web = {"command": program("notify.py", "socket"), "healthcheck": {"test": ["NOTIFY"]}}
    spy = {"command": shell("while [ ! -e socket ]; do :; done; exec " + " ".join(_spying()))}
    run = up({"web": web, "spy": spy})
    run.until_printed("may not speak for this service")
    run.until_printed("sent", 2)
    assert "web: ready" not in run.text
    assert run.text.count("sd_notify message ignored") == 1
    assert run.stop() == 0
    assert not os.path.exists((tmp_path / "socket").read_text())


def _spying() -> list[str]:
    return [*program("notify.py", "socket"), "READY=1", "READY=1", "MAINPID=1"]


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="no systemd-notify")
def test_notify_from_an_exited_child(up: Start) -> None:
    """systemd-notify in a shell script: its barrier is released, and its message counts although it has exited."""
    web = {"command": shell("systemd-notify --ready && exec sleep 1000"), "healthcheck": {"test": ["NOTIFY"]}}
    run = up({"web": web, "after": _after("web")})
    run.until_printed("| after")
    run.one("sleep 1000")
    assert run.stop() == 0


def test_fd(up: Start) -> None:
    """A line on the descriptor that the file names makes a service ready."""
    web = {"command": shell("echo >&7; exec 7>&-; exec sleep 1000"), "healthcheck": {"test": ["FD", "7"]}}
    run = up({"web": web, "after": _after("web")})
    run.until_printed("| after")
    assert run.stop() == 0


@pytest.mark.parametrize("driver", ["prefix", "raw"])
def test_log(up: Start, gate: Gate, driver: str) -> None:
    """A matching output line makes a service ready, and not before; then the matcher exits."""
    script = "echo not listening on 80; read x < gate; echo listening on 8080 >&2; exec sleep 1000"
    web = {
        "command": shell(script),
        "healthcheck": {"test": ["LOG", "^listening on [0-9]+"]},
        **({"logging": {"driver": "raw"}} if driver == "raw" else {}),
    }
    run = up({"web": web, "after": _after("web")})
    run.until_printed("not listening")
    assert "| after" not in run.text
    gate.open()
    run.until_printed("| after")
    run.until(lambda: not [p for p in run.below() if "match.py" in p.command], "the matcher's end")
    assert run.stop() == 0


def test_log_with_catastrophic_backtracking(up: Start) -> None:
    """Catastrophic backtracking makes one service unhealthy; the others start, write and stop as usual."""
    web = {
        "command": shell(f"echo {'a' * 60}b; exec sleep 1000"),
        "healthcheck": {"test": ["LOG", "(a+)+$"], "timeout": "200ms"},
    }
    run = up({"web": web, "db": {"command": shell("echo here; exec sleep 1000")}})
    run.until_printed("web: unhealthy: cannot search the log: the regular expression takes more than 200ms")
    run.until_printed("db      | here")
    assert run.stop() == 0


# --- re-execution ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "word"),
    [
        (["NOTIFY"], " ".join(["exec", *NOTIFIES[:-1], "READY=1"])),
        (["FD", "7"], "echo >&7; exec sleep 1000"),
        (["LOG", "^all is well$"], "echo is well; exec sleep 1000"),
    ],
    ids=["NOTIFY", "FD", "LOG"],
)
def test_readiness_messages_survive_a_reexecution(
    start: Start, gate: Gate, tmp_path: Path, test: list[str], word: str
) -> None:
    """Sent before, half before or after: process 1 receives it after the re-execution."""
    web = {
        "command": shell(f"printf 'all '; echo; printf 'all '; read x < gate; {word}"),
        "healthcheck": {"test": test},
    }
    trigger = {"command": shell("read x < gate; exit 0"), "essential": False}
    file = write_file(str(tmp_path), {"web": web, "trigger": trigger, "after": _after("web")})
    source = os.path.join(REPOSITORY, "src")
    run: Run = start(*program("driver.py", source, "executes+step-before:Exited", "up", "-f", file))
    run.until_printed("| all")
    run.until_printed("trigger: started")
    gate.open(2)
    run.until_printed("RuntimeError: planted")
    run.until(lambda: "cohabit-resume" in getattr(processes.find(run.pid), "command", ""), "the re-execution")
    run.until_printed("| after")
    assert run.stop() == 0
