"""The files of examples/wrappers, which replace wrapper scripts: each does what its script does, and what it cannot.

One image has all of them. Every test ends with `docker stop`: all services stop within its grace period, and the exit
code is 0 (137 if something had to be killed).
"""

from collections.abc import Callable
from typing import Final

import pytest

from docker.container import AT_MOST_SECONDS, Build, Container, Start
from docker.engine import until

READY: Final = "ready after"
NGINX_STOPS: Final = "signal 3 (SIGQUIT) received"
REDIS_STOPS: Final = "Redis is now ready to exit"

Run = Callable[..., Container]


@pytest.fixture
def run(image: Build, start: Start) -> Run:
    """Give the function that runs an example with variables, and returns when its services are ready."""

    def run(name: str, *variables: str) -> Container:
        options = (f"--workdir=/wrappers/{name}", *(f"--env={variable}" for variable in variables))
        container = start(image("examples/wrappers", "services"), options=options)
        container.until_logged("cohabit", READY)
        return container

    return run


def page(container: Container, port: int) -> str:
    """Return the first page that the web server on `port` answers with."""
    texts: list[str] = []

    def answered() -> bool:
        done = container.exec("curl", "--silent", "--fail", f"http://localhost:{port}/", check=False)
        texts.append(done.stdout)
        return done.returncode == 0

    until(answered, at_most_seconds=AT_MOST_SECONDS, what=f"a page on port {port}")
    return texts[-1]


def again(container: Container) -> Container:
    """Start a stopped container again, and return when its services are ready."""
    before = sum(READY in line for line in container.logs().of("cohabit"))
    container.start()
    container.until_logged("cohabit", READY, times=before + 1)
    return container


def test_nginx_php(run: Run) -> None:
    """The first request finds PHP; if PHP fails, the container ends with its exit code, and can start again."""
    container = run("nginx-php")
    assert page(container, 8080) == "PHP 42\n"
    container.shell("pkill -KILL -o php-fpm")
    assert container.wait().code == 128 + 9
    assert any(NGINX_STOPS in line for line in container.logs().of("nginx"))
    assert page(again(container), 8080) == "PHP 42\n"
    assert container.stop().code == 0


def test_gunicorn_nginx(run: Run) -> None:
    """The migration has ended before the first request, and WORKERS has an effect if it is set."""
    container = run("gunicorn-nginx", "WORKERS=2")
    assert page(container, 8080) == "visit 1\n"
    assert container.logs().of("migrate") == ["the table is there"]
    workers = [line for line in container.logs().of("gunicorn") if "Booting worker" in line]
    assert len(workers) == 2
    assert container.stop().code == 0


def test_gunicorn_nginx_after_a_failed_migration(image: Build, start: Start) -> None:
    """Neither gunicorn nor nginx starts, and the container ends with the exit code of the migration."""
    options = ("--workdir=/wrappers/gunicorn-nginx", "--env=DATABASE=/proc/app.db")
    container = start(image("examples/wrappers", "services"), options=options)
    assert container.wait().code == 1
    assert container.logs().names() == {"cohabit", "migrate"}


def test_cron_app(run: Run) -> None:
    """The job with a schedule has the variables of the container, and its output is in the log; cron runs its own."""
    container = run("cron-app", "REPORT_TO=ops@example.org")
    container.exec("cohabit", "start", "report")
    container.until_logged("report", "report for ops@example.org")
    container.until_answers("test", "-s", "/tmp/cron-ran")
    assert "Directory listing" in page(container, 8000)
    assert container.stop().code == 0


def test_sshd_if_key(run: Run) -> None:
    """Without PUBLIC_KEY sshd is skipped, and no host key is made; with it one can log in."""
    without = run("sshd-if-key")
    assert "SKIPPED (the variable PUBLIC_KEY is not set)" in without.exec("cohabit", "ps").stdout
    assert not without.answers("test", "-e", "/etc/ssh/ssh_host_ed25519_key")
    assert "Directory listing" in page(without, 8000)
    public = without.shell("ssh-keygen -q -t ed25519 -N '' -f /tmp/key && cat /tmp/key.pub").strip()
    private = without.shell("cat /tmp/key")
    assert without.stop().code == 0

    container = run("sshd-if-key", f"PUBLIC_KEY={public}")
    container.until_logged("sshd", "Server listening on")
    login = "ssh -i /tmp/key -o StrictHostKeyChecking=no localhost echo hello"
    assert container.shell(f"umask 077; echo '{private}' >/tmp/key; {login}") == "hello\n"
    assert container.stop().code == 0


def test_generated_password(run: Run) -> None:
    """It is made once, at the first start: the second start has the same one. Only the services get it."""
    container = run("generated-password")
    password = container.shell("cat /data/secrets.env").strip().removeprefix("REDIS_PASSWORD=")
    assert len(password) == 2 * 16
    assert page(container, 8000) == "job-1 is queued\n"
    assert "NOAUTH" in container.shell("redis-cli ping")
    assert container.stop().code == 0
    assert page(again(container), 8000) == "job-2 is queued\n"
    assert container.shell("cat /data/secrets.env").strip() == f"REDIS_PASSWORD={password}"
    assert container.stop().code == 0
    assert password not in "".join(container.logs())


def test_generated_password_that_is_given(run: Run) -> None:
    """REDIS_PASSWORD of `docker run` is used instead."""
    container = run("generated-password", "REDIS_PASSWORD=letmein")
    assert container.shell("REDISCLI_AUTH=letmein redis-cli ping") == "PONG\n"
    assert container.stop().code == 0


@pytest.mark.parametrize("port", [8080, 8081])
def test_nginx_template(run: Run, port: int) -> None:
    """The port is the default or PORT, and `$host` reaches nginx."""
    container = run("nginx-template", *([f"PORT={port}"] if port != 8080 else []))
    assert page(container, port) == "hello\n"
    assert "proxy_set_header Host $host;" in container.shell("cat /etc/nginx/conf.d/site.conf")
    assert container.stop().code == 0


def test_web_worker(run: Run) -> None:
    """Worker and web server find Redis at their start; a killed worker is restarted, the others keep running."""
    container = run("web-worker")
    assert page(container, 8000) == "job-1 is queued\n"
    container.until_logged("worker", "done: job-1")
    container.shell("kill -KILL $(pgrep --full 'jobs worke[r]')")
    container.until_logged("worker", "waiting for work", times=2)
    assert page(container, 8000) == "job-2 is queued\n"
    container.until_logged("worker", "done: job-2")
    assert container.stop().code == 0
    assert any(REDIS_STOPS in line for line in container.logs().of("redis"))


def test_postgres_once(run: Run) -> None:
    """The database is made at the first start only, and shut down properly although a client is connected."""
    container = run("postgres-once")
    client = ("psql", "--username=postgres", "--host=localhost", "--command=SELECT pg_sleep(1000)")
    container.exec_in_background(*client)
    clients = "psql --username=postgres --host=localhost --command='TABLE pg_stat_activity' | grep 'pg_slee[p]'"
    container.until_answers("sh", "-c", clients)
    assert container.stop().code == 0
    again(container)
    logs = container.logs()
    assert logs.of("schema") == ["start 1", "start 2"]
    assert sum("creating directory" in line for line in logs.of("initdb")) == 1
    assert not any("not properly shut down" in line for line in logs.of("postgres"))
    assert "Directory listing" in page(container, 8000)
    assert container.stop().code == 0


def test_log_file(run: Run) -> None:
    """Lines of both programs are in the log with their names, also those of the followed file."""
    container = run("log-file")
    assert "<html" in page(container, 80)
    container.until_logged("nginx", '"GET / HTTP/1.1" 200')
    container.until_logged("app", "waiting for SIGTERM")
    assert container.stop().code == 0


def test_drop_root(run: Run) -> None:
    """Processes and their files belong to the users of the services, and none of these processes can become root."""
    container = run("drop-root")
    assert page(container, 8000) == "visit 1\n"
    for program, user in (("redis-server", "redis"), ("gunicorn", "www-data")):
        assert {one.user for one in container.processes() if program in one.command} == {user}
    assert container.shell("stat --format=%U /data /data/app.db") == "www-data\nwww-data\n"
    flags = container.shell("grep --no-filename NoNewPrivs $(pgrep redis-server | sed 's|.*|/proc/&/status|')")
    assert flags.split() == ["NoNewPrivs:", "1"]
    assert container.stop().code == 0


def test_trap_and_kill(run: Run) -> None:
    """Each gets its own signal, nginx first, and has the time to end."""
    container = run("trap-and-kill")
    assert page(container, 8080) == "hello\n"
    assert container.stop().code == 0
    logs = container.logs()
    assert any(NGINX_STOPS in line for line in logs.of("nginx"))
    assert any(REDIS_STOPS in line for line in logs.of("redis"))
    ends = [line.partition(":")[0] for line in logs.of("cohabit") if ": stopped: ended with exit code 0" in line]
    assert ends == ["nginx", "redis"]
