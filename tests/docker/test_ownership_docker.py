"""Servers that daemonize, in Docker's default container: without cgroups, with Docker's capabilities.

An event of one service ends no process of another one or of `docker exec`. Init scripts, which clear the environment
and change session and user, are followed by their pid files.
"""

import os
from typing import Any, Final

import pytest

from docker.container import AT_MOST_SECONDS, Container, Start
from docker.engine import until
from docker.mounted import Mounted

API: Final[dict[str, Any]] = {
    "command": "sleep 999",
    "healthcheck": {"test": ["CMD", "true"], "interval": "1s", "start_interval": "500ms"},
}
NGINX: Final[dict[str, Any]] = {"command": ["sh", "-c", "nginx; exec sleep 888"], "restart": "always"}

INIT_SCRIPTS: Final = {
    "cron": ("/run/crond.pid", "cron"),
    "redis-server": ("/run/redis/redis-server.pid", "redis-server"),
    "ssh": ("/run/sshd.pid", "sshd"),
    "postgresql": ("/run/postgresql/15-main.pid", "postgres"),
    "nginx": ("/run/nginx.pid", "nginx: master"),
    "php8.2-fpm": ("/run/php/php8.2-fpm.pid", "php-fpm: master"),
}


def _nginx(container: Container) -> list[int]:
    """Wait until nginx is complete: its master, and a worker for each processor; returns their pids."""
    found: list[int] = []

    def is_complete() -> bool:
        found[:] = container.pids("^nginx: ")
        return len(found) == 1 + os.sysconf("SC_NPROCESSORS_ONLN")

    until(is_complete, at_most_seconds=AT_MOST_SECONDS, what="nginx and its workers")
    return found


def _run_beside(container: Container, command: str) -> None:
    """Start a process from outside that `docker exec` leaves behind. It keeps no output of `docker exec` open."""
    container.exec("sh", "-c", f"setsid env -i {command} >/dev/null 2>&1 &")


def test_daemonized_nginx_keeps_running(servers: str, file: Mounted, start: Start) -> None:
    """A master and its worker, whose service keeps running, are not ended by a request to another service."""
    file.write({"web": NGINX, "api": {"command": "sleep 999"}})
    container = start(servers, options=file.options)
    _run_beside(container, "sleep 777")
    for request in ("reload", "reexec", "restart api", "scale api=1"):
        before = _nginx(container)
        container.exec("cohabit", *request.split())
        container.exec("cohabit", "restart", "api")
        assert _nginx(container) == before, request
        assert len(container.pids("^sleep 777$")) == 1, request
        container.exec("cohabit", "restart", "web")  # the next request is the first thing that this nginx sees
        assert set(before).isdisjoint(_nginx(container)), request
    container.exec("cohabit", "stop", "web")
    assert container.pids("^nginx: ") == []
    assert len(container.pids("^sleep 777$")) == 1
    assert container.stop().code == 0


def test_daemonized_nginx_survives_a_probe(servers: str, file: Mounted, start: Start) -> None:
    """The same for the probes of another service."""
    file.write({"web": NGINX, "api": API})
    container = start(servers, options=file.options)
    before = _nginx(container)
    _run_beside(container, "sleep 777")
    container.until_logged("cohabit", "api: ready")
    container.exec("cohabit", "restart", "api")
    assert _nginx(container) == before
    container.exec("cohabit", "stop", "web")
    assert container.pids("^nginx: ") == []
    assert len(container.pids("^sleep 777$")) == 1
    assert container.stop().code == 0


def test_exit_ends_no_process_of_another_service(servers: str, file: Mounted, start: Start) -> None:
    """A failed service ends neither another one's process of another user nor one of `docker exec`."""
    b = "setpriv --reuid 65534 --clear-groups sh -c 'setsid sleep 777 &'; exec sleep 888"
    a = "until [ -e /tmp/go ]; do sleep 0.05; done; exit 3"
    file.write({"a": {"command": ["sh", "-c", a], "essential": False}, "b": {"command": ["sh", "-c", b]}})
    container = start(servers, options=file.options)
    container.until_answers("pgrep", "-f", "^sleep 777")
    _run_beside(container, "sleep 778")
    container.exec("touch", "/tmp/go")
    container.until_logged("cohabit", "a: ended with exit code 3")
    container.exec("cohabit", "restart", "a", check=False)  # it exits with 3 at once
    assert len(container.pids("^sleep 77[78]$")) == 2
    container.exec("cohabit", "stop", "b")
    assert len(container.pids("^sleep 777$")) == 0
    assert len(container.pids("^sleep 778$")) == 1


@pytest.mark.parametrize("script", ["service {} start", "/etc/init.d/{} start"])
def test_init_scripts_are_followed_by_their_pid_files(script: str, servers: str, file: Mounted, start: Start) -> None:
    """Debian's init scripts of six servers: each daemon becomes the main process of its service and ends with it."""
    prepare = {"ssh": "ssh-keygen -A; "}
    services: dict[str, dict[str, Any]] = {
        name: {
            "command": ["sh", "-c", prepare.get(name, "") + script.format(name)],
            "pid_file": pid_file,
            "essential": False,
        }
        for name, (pid_file, _) in INIT_SCRIPTS.items()
    }
    file.write({**services, "api": API})
    container = start(servers, options=file.options)
    for name, (pid_file, _) in INIT_SCRIPTS.items():
        container.until_logged("cohabit", f"{name}: is in the background now, pid")
        pid = int(container.shell(f"head -n 1 {pid_file}"))
        assert f"{name}: is in the background now, pid {pid}" in container.logs().of("cohabit")
    assert "EXITED" not in container.exec("cohabit", "ps").stdout
    living = dict.fromkeys(INIT_SCRIPTS)
    for stopped in INIT_SCRIPTS:
        container.exec("cohabit", "stop", stopped)
        del living[stopped]
        assert container.pids(f"(^|/){INIT_SCRIPTS[stopped][1]}") == [], stopped
        for name in living:
            assert container.pids(f"(^|/){INIT_SCRIPTS[name][1]}") != [], f"{name} after the stop of {stopped}"
    assert container.stop().code == 0


def test_init_script_without_a_pid_file_is_explained(servers: str, file: Mounted, start: Start) -> None:
    """Without a pid file, the daemon is either followed, or named with the setting to add."""
    file.write({"cron": {"command": "service cron start"}, "api": API})
    container = start(servers, options=file.options)
    container.until_logged("cohabit", "cron: is in the background now")
    assert "EXITED" not in container.exec("cohabit", "ps").stdout
    assert container.stop().code == 0
