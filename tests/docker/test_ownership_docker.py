"""Servers that daemonize, in Docker's default container: without cgroups, with Docker's capabilities.

An event of one service ends no process of another one or of `docker exec`. Init scripts, which clear the environment
and change session and user, are followed by their pid files.
"""

from typing import Any, Final

import pytest

from docker.container import Container, Start
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
    return container.pids("^nginx: ")


@pytest.mark.parametrize("occasion", ["probe", "reload", "reexec", "restart api", "scale api=1"])
def test_daemonized_nginx_keeps_running(occasion: str, servers: str, file: Mounted, start: Start) -> None:
    """A master and its worker, whose service keeps running, are not ended by an event of another service."""
    api = API if occasion == "probe" else {"command": "sleep 999"}
    file.write({"web": NGINX, "api": api})
    container = start(servers, options=file.options)
    container.until_answers("pgrep", "-f", "nginx: worker")
    before = _nginx(container)
    container.exec("sh", "-c", "setsid env -i sleep 777 &")
    if occasion == "probe":
        container.until_logged("cohabit", "api: ready")
    else:
        container.exec("cohabit", *occasion.split())
    container.exec("cohabit", "restart", "api")
    assert _nginx(container) == before
    assert len(container.pids("^sleep 777$")) == 1
    container.exec("cohabit", "stop", "web")
    assert _nginx(container) == []
    assert len(container.pids("^sleep 777$")) == 1
    assert container.stop().code == 0


def test_exit_ends_no_process_of_another_service(servers: str, file: Mounted, start: Start) -> None:
    """A failed service ends neither another one's process of another user nor one of `docker exec`."""
    b = "setpriv --reuid 65534 --clear-groups sh -c 'setsid sleep 777 &'; exec sleep 888"
    a = "until [ -e /tmp/go ]; do sleep 0.05; done; exit 3"
    file.write({"a": {"command": ["sh", "-c", a], "essential": False}, "b": {"command": ["sh", "-c", b]}})
    container = start(servers, options=file.options)
    container.until_answers("pgrep", "-f", "^sleep 777")
    container.exec("sh", "-c", "setsid env -i sleep 778 &")
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
