"""A running container: a terminal, a pipe, secrets, a reload, a re-execution and schedules."""

import fcntl
import re
import signal
import struct
import subprocess
import termios
from typing import Any, Final

import pytest

from docker.container import Container, Logs, Start
from docker.engine import Engine
from docker.mounted import Mounted
from docker.terminal import on_a_terminal

OTHER: Final[dict[str, dict[str, Any]]] = {"other": {"command": "sleep 1000"}}
SIZES: Final = "sh -c 'trap \"stty size\" WINCH; echo waiting; while :; do sleep 0.1; done'"


# --- the foreground --------------------------------------------------------------------------------------


RUN: Final = ("run", "-it", "--network=none", "--env=PS1=@@ ", "--env=TERM=dumb")


@pytest.mark.parametrize("command", ["up", "init"])
def test_shell_in_the_foreground(command: str, engine: Engine, label: str, servers: str, file: Mounted) -> None:
    """`docker run -it IMAGE up -- bash`: job control as on any terminal, and bash's exit code is the container's."""
    file.write(OTHER)
    bash = (command, "--", "bash", "--norc")
    with on_a_terminal(engine, *RUN, "--rm", "--label", label, *file.options, servers, *bash) as terminal:
        # There is no type-ahead: a terminal may keep input that a program has not yet read.
        terminal.until("@@ ")
        terminal.type("python3 /srv/job.py\n")
        terminal.until("\nstarted\n")
        terminal.type("\x1a")
        terminal.until("Stopped")
        terminal.until("@@ ", times=2)
        terminal.type("jobs\n")
        terminal.until("Stopped", times=2)
        terminal.until("@@ ", times=3)
        terminal.type("fg\n")
        terminal.until("continued\n")
        terminal.type("\x03")
        terminal.until("@@ ", times=4)
        terminal.type("echo code $?; tty\n")
        terminal.until("code 130\n/dev/pts/0\n")
        terminal.until("@@ ", times=5)
        terminal.type(f"{SIZES}\n")
        terminal.until("\nwaiting\n")
        fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        terminal.process.send_signal(signal.SIGWINCH)  # as the window of the client does
        terminal.until("50 132\n")
        terminal.type("\x03")
        terminal.until("@@ ", times=6)
        terminal.type("exit 7\n")
        assert terminal.wait() == 7
    assert "no job control" not in terminal.text
    assert ("not printed on this terminal" in terminal.text) == (command == "up")
    assert "other: stopped" not in terminal.text


@pytest.mark.parametrize("case", [("init", "\x03", 130), ("up", "\x1c", 131)])
def test_a_key_ends_the_foreground(
    case: tuple[str, str, int], engine: Engine, label: str, servers: str, file: Mounted
) -> None:
    """^C and the quit key reach the command as on any terminal. The exit code shows the signal."""
    command, key, code = case
    file.write(OTHER)
    cat = (command, "--", "sh", "-c", "echo started; exec cat")
    with on_a_terminal(engine, *RUN, "--rm", "--label", label, *file.options, servers, *cat) as terminal:
        terminal.until("\nstarted\n" if command == "up" else "started\n")
        terminal.type("one\n")
        terminal.until("one\n", times=2)
        terminal.type(key)
        assert terminal.wait() == code


def test_docker_stop_with_a_foreground_shell(engine: Engine, label: str, servers: str, file: Mounted) -> None:
    """`docker stop` ends it in time with 0: an interactive bash ignores TERM, so its stop_signal is HUP."""
    file.write({"shell": {"command": "bash --norc", "tty": True, "stop_signal": "SIGHUP"}, **OTHER})
    with on_a_terminal(engine, *RUN, "--label", label, *file.options, servers) as terminal:
        terminal.until("@@ ")
        terminal.type("hostname\n")
        terminal.until("@@ ", times=2)
        found = re.search(r"^([0-9a-f]{12})$", terminal.text, re.MULTILINE)
        assert found, terminal.text
        container = Container(engine, found[1])
        assert container.stop().code == 0
        assert terminal.wait() == 0
        engine.docker("rm", container.id)


@pytest.mark.parametrize("given", [b"one\ntwo\n", b""])
def test_piped_input(given: bytes, engine: Engine, label: str, servers: str, file: Mounted) -> None:
    """`docker run -i IMAGE up -- COMMAND`: the command reads the piped input to its end."""
    file.write(OTHER)
    run = ("docker", "run", "-i", "--rm", "--network=none", "--label", label, *file.options, servers)
    done = subprocess.run(
        [*run, "up", "--", "sh", "-c", "wc -l; exit 3"],
        env=engine.environment, input=given, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert Logs(done.stdout.decode(), "").of("sh") == [str(given.count(b"\n"))]


# --- secrets ---------------------------------------------------------------------------------------------

PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - it must appear nowhere
HAS: Final = 'echo "$$DB_PASSWORD" | md5sum; id -un; stat -c "%a %U" /run/secrets/db; env | grep -c ^DB_PASSWORD_FILE='


def test_a_secret_is_passed_and_never_shown(servers: str, file: Mounted, start: Start) -> None:
    """The service has it as a file of its user and as a variable; no other service, log or message contains it."""
    web: dict[str, Any] = {
        "command": ["sh", "-c", f"{HAS}; exec sleep 2000"],
        "user": "www-data",
        "secrets": ["db"],
        "environment": {"DB_PASSWORD_FILE": "/run/secrets/db"},
    }
    secrets = {"db": {"file": "password"}, "api": {"environment": "API_KEY"}}
    services: dict[str, dict[str, Any]] = {"web": web, "other": {"command": "sleep 1000", "secrets": ["api"]}}
    file.write_text(f"{PASSWORD}\n", "password", mode=0o600)
    file.write(services, secrets=secrets)
    container = start(servers, options=(*file.options, f"--env=API_KEY={PASSWORD}"))
    container.until_logged("web", "0")
    digest = container.shell(f"echo '{PASSWORD}' | md5sum").strip()
    assert container.logs().of("web") == [digest, "www-data", "400 www-data", "0"]
    assert container.shell("cat /run/secrets/api") == PASSWORD
    other = container.shell(f"cat /proc/{pid_of(container, 'sleep 1000')}/environ")
    assert "HOSTNAME=" in other
    seen = [other, container.exec("cohabit", "config").stdout, container.exec("cohabit", "check").stderr]
    both = web | {"environment": {"DB_PASSWORD_FILE": "/run/secrets/db", "DB_PASSWORD": "x"}}
    for wrong in ({"web": both}, {"web": web | {"secrets": ["db", {"source": "api", "target": "db"}]}}):
        file.write({**services, **wrong}, secrets=secrets)
        checked = container.exec("cohabit", "check", check=False)
        assert checked.returncode == 78
        seen += [checked.stdout, checked.stderr]
    container.kill("HUP")
    container.until_logged("cohabit", "cannot reload")
    container.exec("cohabit", "reexec")
    container.until_logged("cohabit", "re-executed")
    assert container.stop().code == 0
    seen += container.logs()
    assert not [text for text in seen if PASSWORD in text]


# --- reload and re-execution -----------------------------------------------------------------------------


def pid_of(container: Container, command: str) -> int:
    """Return the pid of the process with this command line."""
    (pid,) = container.pids(f"^{command}$")
    return pid


@pytest.mark.parametrize("how", ["docker kill -s HUP", "cohabit reload"])
def test_a_reload_affects_only_what_changed(how: str, servers: str, file: Mounted, start: Start) -> None:
    """A changed file: changed services restart, new ones start, removed ones stop, and no others are affected."""

    def reload(code: int) -> None:
        """Request a reload; a signal has no answer."""
        if how == "cohabit reload":
            assert container.exec("cohabit", "reload", check=False).returncode == code
        else:
            container.kill("HUP")

    changing = {"command": ["sh", "-c", "echo $$VERSION; exec sleep 2000"]}
    gone = {"gone": {"command": "sleep 3000"}}
    file.write({"changing": changing | {"environment": {"VERSION": "one"}}, **gone, **OTHER})
    container = start(servers, options=file.options)
    container.until_logged("changing", "one")
    container.until_logged("cohabit", "other: started")
    other, before = pid_of(container, "sleep 1000"), pid_of(container, "sleep 2000")
    file.write_text("services:\n  other: {comand: x}\n")
    reload(78)
    container.until_logged("cohabit", "nothing was changed")
    assert "cohabit.yaml:2: services.other.comand: unknown key (did you mean 'command'?)" in container.logs().stderr
    assert (pid_of(container, "sleep 1000"), pid_of(container, "sleep 2000")) == (other, before)
    file.write({"changing": changing | {"environment": {"VERSION": "two"}}, "new": {"command": "sleep 4000"}, **OTHER})
    reload(0)
    container.until_logged("changing", "two")
    container.until_logged("cohabit", "new: started")
    container.until_logged("cohabit", "gone: stopped")
    assert pid_of(container, "sleep 1000") == other
    assert pid_of(container, "sleep 2000") != before
    assert container.pids("^sleep 3000$") == []
    assert container.stop().code == 0


def test_a_re_execution_loses_no_line(servers: str, file: Mounted, start: Start) -> None:
    """`docker exec … cohabit reexec`, three times: the same processes, and each line of a counter exactly once."""
    file.write({"counter": {"command": "python3 /srv/counter.py"}, **OTHER})
    container = start(servers, options=file.options)
    container.until_logged("cohabit", "other: started")
    before = {process.pid: process.command for process in container.processes()}
    for times in (1, 2, 3):
        container.exec("cohabit", "reexec")
        container.until_logged("cohabit", "re-executed", times=times)
    container.exec("touch", "/tmp/enough")
    container.until_logged("counter", "enough")
    lines = container.logs().of("counter")
    assert lines == [*map(str, range(1, len(lines))), "enough"]
    after = {process.pid: process.command for process in container.processes()}
    assert [after.get(pid) for pid in before if pid != 1] == [before[pid] for pid in before if pid != 1]
    assert container.stop().code == 0
    assert container.logs().names() == {"cohabit", "counter"}


def test_an_exit_after_a_re_execution_is_noticed(servers: str, file: Mounted, start: Start) -> None:
    """A service started before it is still a service afterwards: its exit code is the container's."""
    file.write({"web": {"command": ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.05; done; exit 9"]}, **OTHER})
    container = start(servers, options=file.options)
    container.until_logged("cohabit", "web: started")
    container.exec("cohabit", "reexec")
    container.until_logged("cohabit", "re-executed")
    container.exec("touch", "/tmp/go")
    assert container.wait().code == 9


# --- schedules -------------------------------------------------------------------------------------------


def test_a_schedule_starts_and_stops_with_the_container(servers: str, file: Mounted, start: Start) -> None:
    """A job that is not due does not start; its clock runs, ends with the container, and is not a cause of its end."""
    job = {"command": "echo due", "schedule": {"cron": "0 0 29 2 *", "timezone": "Europe/Berlin"}}
    file.write({"job": job, **OTHER})
    container = start(servers, options=file.options)
    container.until_logged("cohabit", "other: started")
    container.until_answers("pgrep", "-f", "tasks/clock")
    assert container.stop().code == 0
    assert container.logs().of("job") == []


def test_a_container_with_only_schedules_keeps_running(servers: str, file: Mounted, start: Start) -> None:
    """With only scheduled jobs the container keeps running, and ends with 0 on request."""
    file.write({"job": {"command": "echo due", "schedule": "@yearly"}})
    container = start(servers, options=file.options)
    container.until_answers("pgrep", "-f", "tasks/clock")
    assert container.is_running()
    assert container.stop().code == 0


@pytest.mark.parametrize(("line", "said"), [("0 0 30 2 *", "never"), ("61 * * * *", "61"), ("* * * *", "five")])
def test_an_invalid_schedule_is_refused(line: str, said: str, servers: str, file: Mounted, start: Start) -> None:
    """A schedule that is invalid or never due is an error in the file."""
    file.write({"job": {"command": "echo due", "schedule": line}, **OTHER})
    container = start(servers, options=file.options)
    assert container.wait().code == 78
    assert said in container.logs().stderr
    assert container.logs().of("other") == []
