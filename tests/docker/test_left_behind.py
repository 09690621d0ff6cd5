"""Nobody is left behind: daemons, sessions, a fork bomb, and what the kernel kills for want of memory.

One service is ended while the container lives, by a reload with a file in which it is not: what is there after that
was left behind.
"""

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


def take_out(container: Container, file: Mounted, name: str) -> None:
    """End this service, and no other one, by a reload."""
    (other,) = container.pids("^sleep 1000$")
    file.write(OTHER)
    container.kill("HUP")
    container.until_logged("cohabit", f"{name}: stopped")
    assert container.pids("^sleep 1000$") == [other]


@pytest.fixture(params=[{}, {"pid_file": "/run/nginx.pid"}], ids=["found by itself", "pid_file"])
def nginx(request: pytest.FixtureRequest, life: str, file: Mounted, start: Start) -> Container:
    """Give a container with nginx in daemon mode, as Debian configures it."""
    service = {"command": "nginx", "restart": "always", "healthcheck": {"test": ["HTTP", "http://127.0.0.1:8080/"]}}
    file.write({"nginx": {**service, **request.param}, **OTHER})
    container = start(life, options=file.options)
    container.until_logged("cohabit", "nginx: ready")
    until(lambda: len(container.pids("nginx: worker")) == 2, at_most_seconds=60, what="its workers")
    return container


def master(container: Container) -> int:
    """Return the pid of nginx's master process."""
    (pid,) = container.pids("nginx: master")
    return pid


def test_a_daemon_is_its_service(nginx: Container, file: Mounted) -> None:
    """An nginx in the background is no end of its service; taken out of the file, its workers go with it."""
    assert parent(nginx, master(nginx)) == 1
    assert nginx.shell("curl --silent http://127.0.0.1:8080/") == "nginx 42\n"
    assert not any("nginx: ended" in line for line in nginx.logs().of("cohabit"))
    take_out(nginx, file, "nginx")
    assert nginx.pids("nginx") == []
    assert nginx.stop().code == 0


def test_a_daemon_that_crashes_is_restarted(nginx: Container) -> None:
    """SIGKILL to its master, twice: the workers, who hold the port, are ended, and it is there again."""
    for times in (1, 2):
        before = set(nginx.pids("nginx: "))
        nginx.exec("kill", "-KILL", str(master(nginx)))
        nginx.until_logged("cohabit", "nginx: ready", times=1 + times)
        assert before.isdisjoint(nginx.pids("nginx: "))
        assert parent(nginx, master(nginx)) == 1
    assert nginx.shell("curl --silent http://127.0.0.1:8080/") == "nginx 42\n"
    assert not any("Address already in use" in line for line in nginx.logs().of("nginx"))
    assert nginx.stop().code == 0


def test_open_sessions_of_a_database_end_with_it(life: str, file: Mounted, start: Start) -> None:
    """PostgreSQL, which waits for its sessions when asked by TERM, is gone after its grace period, with all of them."""
    file.write({"postgres": POSTGRES, **OTHER})
    container = start(life, options=file.options)
    container.until_logged("cohabit", "postgres: ready")
    session = "psql --username=postgres --host=127.0.0.1 --command='select pg_sleep(1000)'"
    container.engine.docker("exec", "--detach", container.id, "sh", "-c", session)
    until(lambda: container.pids("postgres: .* SELECT"), at_most_seconds=60, what="the session")
    take_out(container, file, "postgres")
    assert container.pids("postgres") == []
    file.write({"postgres": POSTGRES, **OTHER})
    container.kill("HUP")
    container.until_logged("cohabit", "postgres: ready", times=2)
    assert container.stop().code in (0, 128 + 9)


def test_open_sessions_of_sshd_end_with_it(life: str, file: Mounted, start: Start) -> None:
    """Who is logged in when sshd is ended is logged out, and what he runs is gone."""
    file.write({"sshd": SSHD, **OTHER})
    container = start(life, options=file.options)
    container.until_logged("cohabit", "sshd: ready")
    container.shell(KEY)
    session = ("ssh", "-o", "StrictHostKeyChecking=no", "127.0.0.1", "sleep 2000")
    container.engine.docker("exec", "--detach", container.id, *session)
    until(lambda: container.pids("^sleep 2000"), at_most_seconds=60, what="the session")
    take_out(container, file, "sshd")
    assert container.pids("sshd|sleep 2000") == []
    assert container.stop().code == 0


BOMB: Final = "[ -e /tmp/again ] && { echo again; exec sleep 1000; }; touch /tmp/again; exec python3 /srv/bomb.py"
GREEDY: Final = "[ -e /tmp/again ] && { echo again; exec sleep 1000; }; touch /tmp/again; exec python3 /srv/greedy.py"


def test_a_fork_bomb_is_ended(life: str, file: Mounted, start: Start) -> None:
    """Who fills the container with processes is ended to the last, although none can be made, and is started again."""
    bomb = {"command": ["sh", "-c", BOMB], "restart": "on-failure", "stop_grace_period": "1s"}
    file.write({"bomb": bomb, **OTHER})
    container = start(life, options=(*file.options, "--pids-limit=200"))
    container.until_logged("bomb", "the limit is met")
    container.until_logged("bomb", "again")
    assert container.pids("bomb.py") == []
    assert len(container.pids("^sleep 1000$")) == 2
    assert container.stop().code == 0


def test_a_fork_bomb_is_ended_by_docker_stop(life: str, file: Mounted, start: Start) -> None:
    """So it is when the container is told to stop: 137, since somebody had to be killed, and in time."""
    bomb = {"command": "python3 /srv/bomb.py keep", "stop_grace_period": "1s"}
    file.write({"bomb": bomb, **OTHER})
    container = start(life, options=(*file.options, "--pids-limit=200"))
    container.until_logged("bomb", "the limit is met")
    assert container.stop(grace_seconds=30).code == 128 + 9
    assert any("other: stopped" in line for line in container.logs().of("cohabit"))


def test_who_is_killed_for_want_of_memory_is_restarted(life: str, file: Mounted, start: Start) -> None:
    """The kernel kills who takes more than the container has: its policy brings it back, and the others live."""
    greedy = {"command": ["sh", "-c", GREEDY], "restart": "on-failure"}
    file.write({"greedy": greedy, **OTHER})
    container = start(life, options=(*file.options, "--memory=96m", "--memory-swap=96m"))
    container.until_logged("greedy", "again")
    assert any("greedy: ended with SIGKILL" in line for line in container.logs().of("cohabit"))
    assert len(container.pids("^sleep 1000$")) == 2
    assert container.stop().code == 0
