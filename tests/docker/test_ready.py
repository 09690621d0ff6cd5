"""Readiness of real servers in one container, each detected differently, and restarts that refuse no client.

PostgreSQL (NOTIFY), Redis (TCP), gunicorn (NOTIFY, with a socket from cohabit), uvicorn (LOG), nginx (HTTP) and
s6-svscan (FD), as Debian and PyPI ship them.
"""

from typing import Any, Final

import pytest

from docker.container import Container, Start
from docker.mounted import Mounted

VISITS: Final = """
psql --username=postgres --host=127.0.0.1 -tAc "select 'postgres ' || 6 * 7"
echo redis $$(redis-cli ping)
curl --fail --silent http://127.0.0.1:8080/
echo gunicorn $$(curl --fail --silent http://127.0.0.1:8080/wsgi)
echo uvicorn $$(curl --fail --silent http://127.0.0.1:8080/asgi)
s6-svscanctl -a /srv/scan && echo s6
exec sleep 1000
"""


def healthy(*names: str) -> dict[str, dict[str, str]]:
    """Return a depends_on that waits until these services are healthy."""
    return {name: {"condition": "service_healthy"} for name in names}


def gunicorn(**settings: Any) -> dict[str, Any]:
    """Return gunicorn with a socket from cohabit."""
    return {
        "user": "www-data",
        "command": "gunicorn --workers 2 app:wsgi",
        "sockets": ["127.0.0.1:8001"],
        "healthcheck": {"test": ["NOTIFY"]},
        **settings,
    }


# The services would fail if they started in the order of the file or of the names.
SERVERS: Final[dict[str, dict[str, Any]]] = {
    "a-visitor": {"command": ["sh", "-euc", VISITS], "depends_on": healthy("b-s6")},
    "b-s6": {
        "command": "s6-svscan -d 3 /srv/scan",
        "healthcheck": {"test": ["FD", "3"]},
        "depends_on": healthy("c-nginx"),
    },
    "c-nginx": {
        "command": ["nginx", "-g", "daemon off; error_log stderr notice;"],
        "healthcheck": {"test": ["HTTP", "http://127.0.0.1:8080/"]},
        "depends_on": healthy("d-uvicorn"),
    },
    "d-uvicorn": {
        "user": "www-data",
        "command": "uvicorn --port 8002 app:asgi",
        "healthcheck": {"test": ["LOG", "Application startup complete"]},
        "depends_on": healthy("e-gunicorn"),
    },
    "e-gunicorn": gunicorn(depends_on=healthy("f-redis")),
    "f-redis": {
        "user": "redis",
        "command": "redis-server --dir /var/lib/redis",
        "healthcheck": {"test": ["TCP", "127.0.0.1:6379"]},
        "depends_on": healthy("g-postgres"),
    },
    "g-postgres": {
        "user": "postgres",
        "command": "/usr/lib/postgresql/15/bin/postgres -D /srv/postgres",
        "stop_signal": "SIGINT",
        "healthcheck": {"test": ["NOTIFY"]},
    },
}

CLIENTS: Final = ("client-1", "client-2", "client-3")
CLIENT: Final = {"command": "python3 /srv/client.py 8001", "scale": len(CLIENTS), "depends_on": healthy("web")}


def messages(container: Container, *words: str) -> list[str]:
    """Return in order the messages of cohabit with one of these words, such as "web: started"."""
    heads = (line.split(None, 2)[:2] for line in container.logs().of("cohabit"))
    return [f"{name} {word[0].strip(',:')}" for name, *word in heads if word and word[0].strip(",:") in words]


def test_six_servers_are_waited_for_and_stop_in_reverse(servers: str, file: Mounted, start: Start) -> None:
    """Each starts when the previous one is healthy, the client's first requests succeed, and they stop in reverse."""
    file.write(SERVERS)
    container = start(servers, options=file.options)
    container.until_logged("a-visitor", "s6")
    assert container.logs().of("a-visitor") == [
        "postgres 42", "redis PONG", "nginx 42", "gunicorn 42", "uvicorn 42", "s6",
    ]  # fmt: skip
    order = [f"{name}: {word}" for name in reversed(SERVERS) for word in ("started", "ready")]
    assert messages(container, "started", "ready") == order[:-1]  # the client has no health check
    assert container.zombies() == []
    assert container.stop().code == 0
    assert messages(container, "stopped") == [f"{name}: stopped" for name in SERVERS]


@pytest.fixture
def load(servers: str, file: Mounted, start: Start) -> Container:
    """Give a container in which clients send requests to gunicorn all the time, and have been answered."""
    file.write({"web": gunicorn(restart="always"), "client": CLIENT})
    container = start(servers, options=file.options)
    until_answered(container, "got 42 by")
    return container


def until_answered(container: Container, answer: str) -> None:
    """Wait until every client has had this answer."""
    for client in CLIENTS:
        container.until_logged(client, answer)


def gunicorns(container: Container) -> int:
    """Return the pid of gunicorn's main process."""
    (pid,) = (process.pid for process in container.processes() if process.ppid == 1 and "gunicorn" in process.command)
    return pid


def assert_no_client_was_refused(container: Container) -> None:
    """Stop the container: no client has counted a failure."""
    assert container.stop().code == 0
    counts = [container.logs().of(client)[-1] for client in CLIENTS]
    assert [line.partition(", ")[2] for line in counts] == ["failures: {}"] * len(CLIENTS)


@pytest.mark.parametrize("signal_name", ["TERM", "KILL"])
def test_gunicorn_is_ended_under_load(load: Container, signal_name: str) -> None:
    """Its main process is ended three times, and no client is refused or loses an answer."""
    for times in range(1, 4):
        before = gunicorns(load)
        load.exec("kill", f"-{signal_name}", str(before))
        load.until_logged("cohabit", "web: ready", times=1 + times)
        assert gunicorns(load) != before
        until_answered(load, f"got 42 by {gunicorns(load)}")
    assert_no_client_was_refused(load)


def test_gunicorn_is_restarted_by_a_reload_under_load(load: Container, file: Mounted) -> None:
    """A changed environment applies after HUP, the clients keep running, and none is refused or loses an answer."""
    file.write({"web": gunicorn(restart="always", environment={"PAGE": "43"}), "client": CLIENT})
    load.kill("HUP")
    until_answered(load, "got 43 by")
    assert messages(load, "started").count("web: started") == 2
    assert len(messages(load, "started")) == 2 + len(CLIENTS)
    assert_no_client_was_refused(load)
