"""Stop order, shared grace periods, frozen time and a completed service, on a real engine with a real database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

from docker.engine import until

if TYPE_CHECKING:
    from docker.container import Start
    from docker.engine import Engine
    from docker.mounted import Mounted

POSTGRES: Final = {
    "user": "postgres",
    "command": "/usr/lib/postgresql/15/bin/postgres -D /srv/postgres",
    "environment": {"LC_ALL": "C"},
    "healthcheck": {"test": ["NOTIFY"]},
}
COMPLETED: Final = {"condition": "service_completed_successfully"}
HEALTHY: Final = {"condition": "service_healthy"}
DEAF: Final = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"]

APACHE: Final = """
ServerName localhost
Listen 8081
PidFile /run/apache2/apache2.pid
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
ErrorLog /proc/self/fd/2
"""
RUN_APACHE: Final = "apache2 -D FOREGROUND -f /etc/cohabit/apache2.conf"


def test_a_deaf_service_does_not_cost_the_database_its_clean_end(servers: str, file: Mounted, start: Start) -> None:
    """With the default times of Docker and of cohabit, PostgreSQL writes its shutdown checkpoint."""
    file.write({"db": POSTGRES, "web": {"command": DEAF, "depends_on": {"db": HEALTHY}}})
    container = start(servers, "up", options=file.options)
    container.until_logged("web", "deaf")
    assert container.stop().code == 137
    logs = container.logs()
    assert any("database system is shut down" in line for line in logs.of("db"))
    assert any("its share of the total" in line for line in logs.of("cohabit"))


def test_the_database_outlives_the_application_behind_a_migration(servers: str, file: Mounted, start: Start) -> None:
    """The application still reaches it while it stops."""
    query = 'psql --username=postgres --host=127.0.0.1 -tAc "select 6 * 7"'
    app = f"trap '{query}; exit 0' TERM; echo up; while :; do sleep 1; done"
    file.write({
        "db": POSTGRES,
        "migrate": {"command": ["sh", "-c", query], "depends_on": {"db": HEALTHY}},
        "app": {"command": ["sh", "-c", app], "depends_on": {"migrate": COMPLETED}},
    })  # fmt: skip
    container = start(servers, "up", options=file.options)
    container.until_logged("app", "up")
    assert container.stop().code == 0
    assert container.logs().of("app") == ["up", "42"]


def test_docker_pause_is_not_a_failure(servers: str, engine: Engine, file: Mounted, start: Start) -> None:
    """A probe that is running when the container is paused is answered afterwards."""
    probe = {"test": ["CMD-SHELL", "echo > /tmp/asked; sleep 1"], "timeout": "1.7s", "retries": 1, "interval": "1h"}
    file.write({"web": {"command": ["sleep", "3600"], "healthcheck": {**probe, "on_failure": "exit"}}})
    container = start(servers, "up", options=file.options)
    until(lambda: container.answers("test", "-e", "/tmp/asked"), at_most_seconds=60, what="the probe")
    engine.docker("pause", container.id)
    thaw = time.monotonic() + 3
    until(lambda: time.monotonic() >= thaw, at_most_seconds=60, what="the end of the pause")
    engine.docker("unpause", container.id)
    container.until_logged("cohabit", "web: ready")
    container.until_logged("cohabit", "deadlines are postponed")
    assert container.stop().code == 0


def test_parallel_jobs_all_complete(servers: str, file: Mounted, start: Start) -> None:
    """The first one that succeeds does not end the others, and the log says which services continue."""
    jobs = {f"job{number}": {"command": ["sh", "-c", f"sleep 0.{number}; echo done"]} for number in (1, 3, 5)}
    file.write(jobs)
    container = start(servers, "up", options=file.options)
    assert container.wait().code == 0
    logs = container.logs()
    assert [logs.of(name) for name in jobs] == [["done"]] * 3
    assert any("job1 has completed; the container continues with" in line for line in logs.of("cohabit"))


@pytest.fixture
def apache(servers: str, file: Mounted) -> tuple[str, Mounted]:
    """Give the image and the files: a configuration of apache2, and another service."""
    file.write({"other": {"command": "sleep 1000"}})
    file.write_text(APACHE, "apache2.conf")
    return servers, file


@pytest.mark.parametrize(
    ("stop_signal", "command", "end"),
    [
        ("SIGRTMIN+3", ("up",), (0, "stopped by SIGRTMIN+3")),
        ("SIGWINCH", ("up",), (137, "STOPSIGNAL SIGTERM")),  # without a receiver
        ("SIGWINCH", ("run", RUN_APACHE), (0, "caught SIGWINCH, shutting down")),  # as in the image httpd: graceful
    ],
)
def test_the_stop_signal_of_an_image(
    stop_signal: str, command: tuple[str, ...], end: tuple[int, str], start: Start, apache: tuple[str, Mounted]
) -> None:
    """A stop signal stops all, or reaches the main command; without a receiver the log says what to write."""
    servers, file = apache
    ready = "other: started" if command == ("up",) else "resuming normal operations"
    container = start(servers, *command, options=(*file.options, f"--stop-signal={stop_signal}"))
    container.until_output(lambda logs: ready in logs.stderr, ready)
    code, said = end
    assert container.stop(grace_seconds=1 if code else 10).code == code
    assert said in container.logs().stderr
