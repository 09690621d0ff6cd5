"""What a container platform expects of an entrypoint, on a real engine.

Exit codes, least privilege, an init in front, the termination log, a terminal, a service that ignores its stop signal,
and the processes that `docker exec` leaves behind.
"""

import os
import shlex

import pytest

from docker.container import Build, Logs, Start
from docker.engine import until
from docker.mounted import Mounted

# A service that prints the signal it gets, and nothing otherwise.
POLITE = "polite=trap 'echo got TERM; exit 0' TERM; echo started; while :; do sleep 3600 & wait $!; done"
LEAST_PRIVILEGE = ("--read-only", "--user=12345:12345", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# Twenty processes whose parent exits before them, all within `docker exec`.
ORPHANS = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.1 & done"


@pytest.fixture
def plain(image: Build) -> str:
    """Give an image with only cohabit, which is its entrypoint."""
    return image("tests/docker/plain", "minimal")


@pytest.mark.parametrize(
    ("line", "code", "expected"),
    [
        ("init -- no-such-command", 127, "no-such-command"),
        ("init -- /etc", 126, "/etc"),
        ("init -- /etc/passwd", 126, "/etc/passwd"),
        ("init -- sh -c 'exit 7'", 7, ""),
        ("init -- sh -c 'kill -KILL $$'", 128 + 9, ""),
        ("run no-such-command", 127, "no-such-command"),
        ("run /etc", 126, "/etc"),
        ("run /etc/passwd", 126, "/etc/passwd"),
        ("run 'cause=true'", 0, "cause"),
        ("run 'cause=exit 7' 'sleep 3600'", 7, "cause"),
        ("run 'cause=kill -KILL $$' 'sleep 3600'", 128 + 9, "cause"),
        ("run", 64, "no command"),
        ("up --no-such-option", 64, "--no-such-option"),
        ("up", 78, "cohabit.yaml"),
        ("up --file /no/such/file.yaml", 78, "/no/such/file.yaml"),
    ],
)
def test_exit_codes_are_those_of_docker(line: str, code: int, expected: str, plain: str, start: Start) -> None:
    """127: no such command, 126: it cannot run, 128+n: a signal, else the command's status; 64, 78: cohabit's own.

    stderr has the reason.
    """
    container = start(plain, *shlex.split(line))
    assert container.wait().code == code
    assert expected in container.logs().stderr


def test_least_privilege_is_enough(plain: str, start: Start) -> None:
    """A random uid without a passwd entry, no capability, nothing writable: services run and stop as usual."""
    container = start(plain, "run", POLITE, "second=id -u; exec sleep 3600", options=LEAST_PRIVILEGE)
    container.until_logged("polite", "started")
    container.until_logged("second", "12345")
    assert container.stop().code == 0
    assert "got TERM" in container.logs().of("polite")


def test_docker_init_changes_nothing(plain: str, start: Start) -> None:
    """`docker run --init`: services get TERM, orphans are reaped and the code is 0 under that init, too."""
    container = start(plain, "run", POLITE, "orphans=(sleep 0.1 &) ; exec sleep 3600", options=("--init",))
    container.until_logged("polite", "started")
    assert "init" in next(process.command for process in container.processes() if process.pid == 1)
    until(lambda: not container.pids(r"^sleep 0\.1|defunct"), at_most_seconds=30, what="the orphan is reaped")
    assert container.stop().code == 0
    assert "got TERM" in container.logs().of("polite")


@pytest.mark.parametrize("line", ["init -- sleep 3600", "run 'sleep 3600'"])
def test_orphans_of_docker_exec_are_reaped(line: str, plain: str, start: Start) -> None:
    """Orphans of `docker exec` become children of process 1; when they exit none of them stays a zombie."""
    container = start(plain, *shlex.split(line))
    until(lambda: container.pids("^sleep 3600$"), at_most_seconds=30, what="the service runs")
    container.shell(ORPHANS)
    until(lambda: not container.pids(r"^sleep 0\.1|defunct"), at_most_seconds=30, what="the orphans are reaped")
    assert container.is_running()


def test_the_cause_of_the_end_is_in_the_termination_log(
    plain: str, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """If /dev/termination-log exists, it has the cause of the container's end and its last output."""
    log = tmp_path_factory.mktemp("termination") / "log"
    log.write_text("")
    container = start(
        plain,
        *("run", "cause=echo the disk is full >&2; exit 7", POLITE),
        options=("--volume", f"{os.fspath(log)}:/dev/termination-log"),
    )
    assert container.wait().code == 7
    text = log.read_text()
    assert "cause" in text
    assert "7" in text
    assert "the disk is full" in text


def test_streams_are_kept_apart(plain: str, start: Start) -> None:
    """A service's stdout is on the container's stdout, and its stderr on the container's stderr."""
    container = start(plain, "run", "both=echo to stdout; echo to stderr >&2")
    assert container.wait().code == 0
    logs = container.logs()
    assert Logs(logs.stdout, "").of("both") == ["to stdout"]
    assert Logs("", logs.stderr).of("both") == ["to stderr"]


def test_a_user_may_open_its_own_stdout(plain: str, start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A service with `user:` opens /dev/stdout and /dev/stderr, as log files that link to them require.

    Otherwise this would give "permission denied", because the pipe belongs to root.
    """
    file = tmp_path_factory.mktemp("user") / "cohabit.yaml"
    command = "sh -c 'id -un >/dev/stdout; id -gn >/dev/stderr'"
    file.write_text(f'services:\n  writer:\n    user: www-data\n    command: "{command}"\n')
    container = start(plain, "up", options=("--volume", f"{os.fspath(file)}:/etc/cohabit/cohabit.yaml"))
    assert container.wait().code == 0
    assert container.logs().of("writer") == ["www-data", "www-data"]


def test_a_terminal_gets_the_same_output(plain: str, start: Start) -> None:
    """`docker run --tty`: all output is on the terminal's single stream, and a stop ends it with 0."""
    container = start(plain, "run", POLITE, options=("--tty",))
    container.until_output(lambda logs: "started" in logs.stdout, "output on the terminal")
    assert container.stop().code == 0
    assert "got TERM" in container.logs().stdout


def test_a_service_that_ignores_term_is_killed_and_the_others_end_in_order(
    plain: str, file: Mounted, start: Start
) -> None:
    """A service that ignores TERM is killed after its grace period; the others exit by themselves."""
    deaf = "trap '' TERM; echo ignoring TERM; while :; do sleep 1; done"
    polite = POLITE.removeprefix("polite=").replace("$", "$$")
    services = {name: {"command": ["sh", "-c", script]} for name, script in (("deaf", deaf), ("polite", polite))}
    file.write({**services, "deaf": {**services["deaf"], "stop_grace_period": "1s"}})
    container = start(plain, "up", options=file.options)
    container.until_logged("deaf", "ignoring TERM")
    container.until_logged("polite", "started")
    assert container.stop(grace_seconds=30).code == 128 + 9
    logs = container.logs()
    assert "got TERM" in logs.of("polite")
    assert any("deaf" in line and "SIGKILL" in line for line in logs.of("cohabit"))
