"""The second start of a container (`docker restart`), with programs that find their files of the first one.

apache2 and squid find a pid file, Xvfb its lock file, cron the file that says that its @reboot jobs have run, and a
server its socket. The pids of a second start are often the same, so that a stale file names a running process; here a
file is given such a pid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from docker.engine import until

if TYPE_CHECKING:
    from docker.container import Container, Start
    from docker.mounted import Mounted

APACHE_PID_FILE: Final = "/run/apache2/apache2.pid"
APACHE: Final = f"""
ServerName localhost
Listen 8081
PidFile {APACHE_PID_FILE}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LogFormat "%r" request
ErrorLog /proc/self/fd/2
CustomLog /proc/self/fd/1 request
DocumentRoot /var/www/html
"""
SQUID: Final = """
http_port 127.0.0.1:3128
access_log stdio:/dev/stdout
cache_log /dev/null
cache_store_log none
http_access allow localhost
shutdown_lifetime 1 second
"""
SERVER: Final = """
import signal, socket, sys
try:
    socket.socket(socket.AF_UNIX).bind("/run/app.sock")
except OSError as error:
    sys.exit(f"cannot listen on /run/app.sock: {error.strerror}")
signal.pause()
"""
COMMANDS: Final[dict[str, dict[str, Any]]] = {
    "apache": {"command": "apache2 -D FOREGROUND -f /etc/cohabit/apache2.conf", "user": "www-data"},
    "squid": {"command": "squid -N -f /etc/cohabit/squid.conf"},
    "display": {"command": "Xvfb :7 -screen 0 64x64x16 -nolisten tcp"},
    "cron": {"command": "cron -f"},
    "server": {"command": ["python3", "-c", SERVER]},
    "other": {"command": "sleep 1000", "user": "www-data"},
}
STALE: Final = {
    "apache": APACHE_PID_FILE,
    "squid": "/run/squid.pid",
    "display": "/tmp/.X7-lock",
    "cron": "/run/crond.reboot",
    "server": "/run/app.sock",
}
REFUSALS: Final = {
    "apache": "already running",
    "squid": "Squid is already running",
    "display": "Server is already active for display 7",
    "server": "Address already in use",
}


def second_start(container: Container) -> None:
    """Kill it, which leaves all files, and start it again."""
    container.kill("KILL")
    container.wait()
    container.start()


def state(container: Container, name: str) -> str:
    """Return the state of a service, in Docker's words."""
    return container.exec("cohabit", "ps", "--format", "{{.State}}", name).stdout.strip()


def until_it_works(container: Container) -> None:
    """Wait until a request passes through squid and apache, and the other programs have done their work."""
    page = "http://127.0.0.1:8081/index.html"
    container.until_answers("curl", "--fail", "--silent", "--proxy", "http://127.0.0.1:3128", page)
    container.until_answers("test", "-S", "/tmp/.X11-unix/X7")
    container.until_answers("pgrep", "-x", "-f", "sleep 4242")


def start_beside_its_file(container: Container, name: str) -> None:
    """Kill a service, have its pid file name a running process, and start it."""
    container.exec("cohabit", "kill", name, check=False)  # unless it has not started
    form = "%10d" if name == "display" else "%d"
    container.shell(f"printf '{form}\\n' $(pgrep -x -f 'sleep 1000') > {STALE[name]}")
    container.exec("cohabit", "start", name, check=False)


def test_programs_find_the_files_of_the_first_start(servers: str, file: Mounted, start: Start) -> None:
    """They refuse to start, and `why` names the cause and the key. With `remove_before_start` all of them work."""
    file.write_text(APACHE, "apache2.conf")
    file.write_text(SQUID, "squid.conf")
    file.write_text("@reboot root exec sleep 4242\n", "crontab")
    services = {name: {"essential": False, **service} for name, service in COMMANDS.items()}
    file.write(services)
    container = start(servers, options=(*file.options, f"--volume={file.directory}/crontab:/etc/cron.d/proof"))
    until_it_works(container)
    logs = container.logs()
    assert "GET /index.html HTTP/1.1" in logs.of("apache")  # as www-data, on /proc/self/fd/1
    assert any("resuming normal operations" in line for line in logs.of("apache"))
    container.until_logged("squid", "TCP_MISS/200")  # as proxy, on /dev/stdout

    second_start(container)
    container.until_logged("apache", "resuming normal operations", times=2)
    for name, text in REFUSALS.items():
        if name != "server":
            start_beside_its_file(container, name)
        container.until_logged(name, text)
        until(lambda name=name: state(container, name) == "exited", at_most_seconds=60, what=f"{name} ends")  # type: ignore[misc]
        assert "remove_before_start" in container.exec("cohabit", "why", name).stdout
    assert not container.pids("^sleep 4242$")  # cron believes that it has run

    removing = {name: services[name] | {"remove_before_start": [path]} for name, path in STALE.items()}
    file.write(services | removing)
    container.engine.docker("restart", container.id)
    until_it_works(container)
    for name in ("apache", "squid", "display"):
        start_beside_its_file(container, name)
    until_it_works(container)
    assert [state(container, name) for name in COMMANDS] == ["running"] * len(COMMANDS)
    assert container.stop().code == 0


def test_the_jobs_of_cron_end_with_it(servers: str, file: Mounted, start: Start) -> None:
    """Debian's cron gives each job a session and a process group of its own; they belong to the service."""
    file.write_text("@reboot root sleep 4242 & setsid sleep 4343\n", "crontab")
    file.write({"cron": COMMANDS["cron"], "other": COMMANDS["other"]})
    container = start(servers, options=(*file.options, f"--volume={file.directory}/crontab:/etc/cron.d/proof"))
    for job in ("sleep 4242", "sleep 4343"):
        container.until_answers("pgrep", "-x", "-f", job)
    (cron,) = container.pids("^cron -f$")
    sessions = container.shell(f"ps -o sid= -p {cron},$(pgrep -d, -x -f 'sleep 4[0-9]*')").split()
    assert len(set(sessions)) > 1
    container.exec("cohabit", "stop", "cron")
    assert container.pids("sleep 4") == []
    assert container.pids("^sleep 1000$")
    assert container.stop().code == 0
