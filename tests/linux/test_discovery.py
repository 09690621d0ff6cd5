"""Clients find the running cohabit although another user's process interferes, and trust no other process.

The directories for sockets are empty and belong to the test; clients run in the namespaces of the Run.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from linux import places
from linux.conftest import Start
from linux.run import AT_MOST_SECONDS, COHABIT, Run, program, shell, write_file

EMPTY = places.new_tmp("1777") + "for place in /run /dev/shm; do mount -t tmpfs -o mode=1777 none $place; done; cd /\n"
READ_ONLY_RUN = EMPTY + "mount -o remount,ro /run\n"
SLEEP = "sleep 1000"
UID = 65534

Attack = Callable[..., None]


def enter(container: Run, *arguments: str) -> list[str]:
    """The command line that runs a command in the namespaces of a Run."""
    return ["nsenter", "--target", str(container.process_1().pid), "--pid", "--mount", "--wd=/", "--", *arguments]


def client(container: Run, *arguments: str, code: int = 0, user: int = 0, **variables: str) -> str:
    """Run a client there as this user; returns its output. It has to exit with this code."""
    above = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    done = subprocess.run(
        enter(container, *above, *COHABIT, *arguments),
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=10 * AT_MOST_SECONDS,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture
def attack() -> Iterator[Attack]:
    """Give the function that starts an attack as nobody in a Run, and waits until it is running."""
    with ExitStack() as stack:

        def start(container: Run, *arguments: str) -> None:
            attacker = subprocess.Popen(
                enter(container, *program("attack.py", *arguments)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            stack.callback(attacker.wait)
            stack.callback(attacker.kill)
            assert attacker.stdout
            stack.callback(attacker.stdout.close)
            assert attacker.stdout.readline() == b"ready\n"

        yield start


@pytest.fixture
def container(start: Start) -> Run:
    """Give a cohabit that is process 1 and has its socket in /run/cohabit."""
    return started(start, EMPTY)


def started(start: Start, setup: str, **options: Any) -> Run:
    """A cohabit with the service `1`, ready."""
    container = start(*COHABIT, "run", SLEEP, setup=setup, **options)
    container.until_printed("started")
    return container


def decoys(*places: str) -> list[str]:
    """Six directory names in each place; some sort before and some after the names that cohabit uses."""
    return [f"{place}/cohabit-{digit}" for place in places for digit in "048cfz"]


@pytest.mark.parametrize("setup", [EMPTY, READ_ONLY_RUN], ids=["in /run", "in /tmp"])
def test_sockets_with_full_queues_of_another_user(start: Start, attack: Attack, setup: str) -> None:
    """Twelve sockets that accept no connection cost nothing: clients do not even connect to them."""
    container = started(start, setup)
    attack(container, "full_queue", *decoys("/tmp", "/dev/shm"))
    assert client(container, "health") == "ready: 1 service\n"
    assert "RUNNING" in client(container, "ps")
    client(container, "down")
    assert container.wait() == 0


def test_a_link_to_a_socket_of_root(start: Start, attack: Attack) -> None:
    """Where cohabit is not process 1: a listener behind a link does not count as another cohabit."""
    container = started(start, EMPTY, process_1=False)
    listen = "import socket,signal; s=socket.socket(1); s.bind('/run/daemon.sock'); s.listen(); print(flush=True); "
    command = enter(container, COHABIT[0], "-c", listen + "signal.pause()")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout
        assert daemon.stdout.readline()
        attack(container, "links", "/run/daemon.sock", *(f"{decoy}/control" for decoy in decoys("/tmp")))
        assert "RUNNING" in client(container, "ps")
        daemon.kill()


@pytest.mark.parametrize("by", ["socket", "directory"])
def test_a_socket_that_process_1_opened_for_a_service(start: Start, attack: Attack, tmp_path: Path, by: str) -> None:
    """Its credentials may be those of process 1; a link to it, or to its directory, is not followed."""
    reported = (
        '{"name":"web","command":[],"environment":{},"working_dir":"/","user":null,"secret_files":{},"umask":"evil"}'
    )
    evil = {"command": program("attack.py", "answer_passed", "0 ok ", reported), "sockets": ["/tmp/app/control"]}
    write_file(str(tmp_path), {"evil": evil, "web": {"command": ["sleep", "1000"]}})
    keep = f"mount -t tmpfs none /mnt; cp {tmp_path}/cohabit.yaml /mnt\n"
    container = start(
        *COHABIT, "up", "-f", "/mnt/cohabit.yaml", setup=f"{keep}{READ_ONLY_RUN}mkdir /tmp/app; chown 65534 /tmp/app\n"
    )
    container.until_printed("| ready")
    container.until_printed("web: started")
    if by == "socket":
        attack(container, "links", "/tmp/app/control", *(f"{decoy}/control" for decoy in decoys("/tmp", "/dev/shm")))
    else:
        attack(container, "links", "/tmp/app", *decoys("/tmp", "/dev/shm"))
    for _ in range(3):
        assert client(container, "exec", "web", "--", "echo", "genuine") == "genuine\n"
    assert "RUNNING" in client(container, "ps")


def test_a_listener_in_its_own_directory_is_not_trusted(start: Start, attack: Attack) -> None:
    """Where no cohabit runs either: the message says that none is running, and why the socket does not count."""
    container = start(*shell("echo started; exec sleep 1000"), setup=EMPTY)
    container.until_printed("started")
    attack(container, "answer", "/tmp/cohabit-0/control", "0 ok trust me")
    reported = client(container, "ps", code=69)
    assert "no cohabit of root or of user 0 is running here (files of user 65534 are not trusted" in reported
    assert client(container, "health", user=UID) == "trust me\n"  # to its own user it is as good as any


def test_a_world_writable_directory_of_root(container: Run, attack: Attack) -> None:
    """Any user may have created a socket there."""
    subprocess.run(enter(container, "sh", "-c", "for d in 0 f; do mkdir -m 1777 /tmp/cohabit-$d; done"), check=True)
    attack(container, "answer", "/tmp/cohabit-0/control", "1 no")
    attack(container, "answer", "/tmp/cohabit-f/control", "1 no")
    assert client(container, "health") == "ready: 1 service\n"


def test_run_cohabit_created_by_another_user_first(start: Start, attack: Attack) -> None:
    """Neither cohabit nor its clients use it."""
    script = "setpriv --reuid 65534 --regid 65534 --clear-groups mkdir -m 777 /run/cohabit\n"
    container = started(start, EMPTY + script)
    attack(container, "answer", "/run/cohabit/0/control", "1 no")
    assert client(container, "health") == "ready: 1 service\n"


def test_thousands_of_directories(start: Start, attack: Attack) -> None:
    """They are checked with one or two system calls each, and skipped."""
    container = started(start, READ_ONLY_RUN)
    attack(container, "directories", "/tmp/cohabit-", "5000")
    assert client(container, "health") == "ready: 1 service\n"


def test_a_given_world_writable_directory(start: Start, attack: Attack) -> None:
    """The sockets are in a directory that cohabit creates in it, so sockets of other users there have no effect."""
    variables = {"COHABIT_RUNTIME_DIR": "/tmp/shared"}
    script = "mkdir -m 1777 /tmp/shared; setpriv --reuid 65534 --clear-groups mkdir /tmp/shared/cohabit-0\n"
    container = started(start, EMPTY + script, environment=variables)
    attack(container, "answer", "/tmp/shared/control", "1 no")
    attack(container, "answer", "/tmp/shared/cohabit-0/control", "1 no")
    assert client(container, "health", COHABIT_RUNTIME_DIR="/tmp/shared") == "ready: 1 service\n"
    container.signal(15)
    assert container.wait() == 0


def test_exec_does_not_execute_the_answer_of_another_user(container: Run, attack: Attack) -> None:
    """Its answer is shown and never executed."""
    reported = (
        '{"name":"web","command":[],"environment":{},"working_dir":"/","user":null,"secret_files":{},"umask":null}'
    )
    attack(container, "answer", "/tmp/app/control", "0 ok ", reported)
    text = client(container, "exec", "--socket", "/tmp/app/control", "web", "--", "echo", "executed", code=77)
    assert "executed\n" not in text
    assert "neither root nor this user is listening at this socket" in text


def test_without_proc(start: Start, attack: Attack) -> None:
    """The same rules apply, and the client does not change its working directory."""
    container = started(start, READ_ONLY_RUN + "mount -t tmpfs none /proc\n")
    attack(container, "full_queue", *decoys("/tmp", "/dev/shm"))
    assert client(container, "health") == "ready: 1 service\n"
    assert client(container, "exec", "-w", ".", "sleep", "--", "pwd").strip()


def test_an_unprivileged_user_finds_its_own_cohabit(start: Start, attack: Attack) -> None:
    """Everything runs as one user in a read-only container; root does not execute what that user answers."""
    container = started(
        start, READ_ONLY_RUN, above=("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"), process_1=True
    )
    attack(container, "full_queue", *decoys("/tmp", "/dev/shm"))
    assert client(container, "health", user=1234) == "ready: 1 service\n"
    assert client(container, "health") == "ready: 1 service\n", "process 1 of another user is believed"
    assert "the answer is not trusted" in client(container, "exec", "sleep", "--", "true", code=77)
