"""No process is left behind: daemons, sessions, a fork bomb, and processes killed for lack of memory.

One service is ended by a reload with a file without it, while the container keeps running. Processes of the service
that exist afterwards were left behind.
"""

import os
from typing import Any, Final

import pytest

from docker.container import Container, Start
from docker.engine import until
from docker.mounted import Mounted

OTHER: Final[dict[str, dict[str, Any]]] = {"other": {"command": "sleep 1000"}}
POSTGRES: Final = {
    "user": "postgres",
    "command": "/usr/lib/postgresql/15/bin/postgres -D /srv/postgres",
    "healthcheck": {"test": ["NOTIFY"]},
    "stop_grace_period": "1s",
}
SSHD: Final = {
    "command": "/usr/sbin/sshd -D -e",
    "healthcheck": {"test": ["TCP", "127.0.0.1:22"]},
    "stop_grace_period": "1s",
}
KEY: Final = (
    "install -d -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519"
    " && cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys"
)


def parent(container: Container, pid: int) -> int:
    """Return the parent's pid."""
    (ppid,) = (process.ppid for process in container.processes() if process.pid == pid)
    return ppid


def remove_service(container: Container, file: Mounted, name: str) -> None:
    """End this service, and no other, by a reload."""
    (other,) = container.pids("^sleep 1000$")
    file.write(OTHER)
    container.kill("HUP")
    container.until_logged("cohabit", f"{name}: stopped")
    assert container.pids("^sleep 1000$") == [other]


@pytest.fixture(params=[{}, {"pid_file": "/run/nginx.pid"}], ids=["found by itself", "pid_file"])
def nginx(request: pytest.FixtureRequest, servers: str, file: Mounted, start: Start) -> Container:
    """Give a container with nginx in daemon mode, as Debian configures it."""
    service = {"command": "nginx", "restart": "always", "healthcheck": {"test": ["HTTP", "http://127.0.0.1:8080/"]}}
    file.write({"nginx": {**service, **request.param}, **OTHER})
    container = start(servers, options=file.options)
    container.until_logged("cohabit", "nginx: ready")
    workers = os.sysconf("SC_NPROCESSORS_ONLN")
    until(lambda: len(container.pids("nginx: worker")) == workers, at_most_seconds=60, what="its workers")
    return container


def master(container: Container) -> int:
    """Return the pid of nginx's master process."""
    (pid,) = container.pids("nginx: master")
    return pid


def test_a_daemon_ends_with_its_service(nginx: Container, file: Mounted) -> None:
    """An nginx that daemonizes has not ended; when its service is removed from the file, its workers end, too."""
    assert parent(nginx, master(nginx)) == 1
    assert nginx.shell("curl --silent http://127.0.0.1:8080/") == "nginx 42\n"
    assert not any("nginx: ended" in line for line in nginx.logs().of("cohabit"))
    remove_service(nginx, file, "nginx")
    assert nginx.pids("nginx") == []
    assert nginx.stop().code == 0


def test_a_daemon_that_crashes_is_restarted(nginx: Container) -> None:
    """SIGKILL to its master, twice: the workers, which hold the port, are ended, and nginx is restarted."""
    for times in (1, 2):
        before = set(nginx.pids("nginx: "))
        nginx.exec("kill", "-KILL", str(master(nginx)))
        nginx.until_logged("cohabit", "nginx: ready", times=1 + times)
        assert before.isdisjoint(nginx.pids("nginx: "))
        assert parent(nginx, master(nginx)) == 1
    assert nginx.shell("curl --silent http://127.0.0.1:8080/") == "nginx 42\n"
    assert not any("Address already in use" in line for line in nginx.logs().of("nginx"))
    assert nginx.stop().code == 0


def test_open_sessions_of_a_database_end_with_it(servers: str, file: Mounted, start: Start) -> None:
    """PostgreSQL waits for its sessions on TERM; after its grace period it is gone with all of them."""
    file.write({"postgres": POSTGRES, **OTHER})
    container = start(servers, options=file.options)
    container.until_logged("cohabit", "postgres: ready")
    session = "psql --username=postgres --host=127.0.0.1 --command='select pg_sleep(1000)'"
    container.exec_in_background("sh", "-c", session)
    until(lambda: container.pids("postgres: .* SELECT"), at_most_seconds=60, what="the session")
    remove_service(container, file, "postgres")
    assert container.pids("postgres") == []
    file.write({"postgres": POSTGRES, **OTHER})
    container.kill("HUP")
    container.until_logged("cohabit", "postgres: ready", times=2)
    assert container.stop().code in (0, 128 + 9)


def test_open_sessions_of_sshd_end_with_it(servers: str, file: Mounted, start: Start) -> None:
    """When sshd is ended, its sessions and their processes are gone."""
    file.write({"sshd": SSHD, **OTHER})
    container = start(servers, options=file.options)
    container.until_logged("cohabit", "sshd: ready")
    container.shell(KEY)
    session = ("ssh", "-o", "StrictHostKeyChecking=no", "127.0.0.1", "sleep 2000")
    container.exec_in_background(*session)
    until(lambda: container.pids("^sleep 2000"), at_most_seconds=60, what="the session")
    remove_service(container, file, "sshd")
    assert container.pids("sshd|sleep 2000") == []
    assert container.stop().code == 0


BOMB: Final = "[ -e /tmp/again ] && { echo again; exec sleep 1000; }; touch /tmp/again; exec python3 /srv/bomb.py"
FEW_PROCESSES: Final = "--pids-limit=60"  # enough for several rounds of signals; each of them keeps a processor busy
GREEDY: Final = "[ -e /tmp/again ] && { echo again; exec sleep 1000; }; touch /tmp/again; exec python3 /srv/greedy.py"


def test_a_fork_bomb_is_ended(servers: str, file: Mounted, start: Start) -> None:
    """A fork bomb at the container's process limit is ended completely, and its service is restarted."""
    bomb = {"command": ["sh", "-c", BOMB], "restart": "on-failure", "stop_grace_period": "1s"}
    file.write({"bomb": bomb, **OTHER})
    container = start(servers, options=(*file.options, FEW_PROCESSES))
    container.until_logged("bomb", "the limit is met")
    container.until_logged("bomb", "again")
    assert container.pids("bomb.py") == []
    assert len(container.pids("^sleep 1000$")) == 2
    assert container.stop().code == 0


def test_a_fork_bomb_is_ended_by_docker_stop(servers: str, file: Mounted, start: Start) -> None:
    """The same on a container stop: 137, because processes were killed, and in time."""
    bomb = {"command": "python3 /srv/bomb.py keep", "stop_grace_period": "1s"}
    file.write({"bomb": bomb, **OTHER})
    container = start(servers, options=(*file.options, FEW_PROCESSES))
    container.until_logged("bomb", "the limit is met")
    assert container.stop(grace_seconds=30).code == 128 + 9
    assert any("other: stopped" in line for line in container.logs().of("cohabit"))


def test_a_service_killed_out_of_memory_is_restarted(servers: str, file: Mounted, start: Start) -> None:
    """A service that the kernel kills at the container's memory limit is restarted; the others keep running."""
    greedy = {"command": ["sh", "-c", GREEDY], "restart": "on-failure"}
    file.write({"greedy": greedy, **OTHER})
    container = start(servers, options=(*file.options, "--memory=96m", "--memory-swap=96m"))
    container.until_logged("greedy", "again")
    assert any("greedy: ended with SIGKILL" in line for line in container.logs().of("cohabit"))
    assert len(container.pids("^sleep 1000$")) == 2
    assert container.stop().code == 0
