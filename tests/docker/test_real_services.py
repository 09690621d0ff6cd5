"""Six real servers under one `cohabit up`, as Debian ships them.

nginx, php-fpm, PostgreSQL, Redis, sshd, cron. The file is tests/docker/services/cohabit.yaml. A job creates the
database before PostgreSQL starts, another one the host keys before sshd starts. nginx depends on php-fpm, which depends
on both databases.
"""

import re

import pytest

from docker.container import Build, Container, Start

# What each server prints at its end, in the reverse order of the start. These are on stderr, so that `docker logs`
# keeps their order; Redis writes to stdout.
WEB_STOPS = ("signal 15 (SIGTERM) received", "exiting, bye-bye!", "received fast shutdown request")
REDIS_STOPS = "Redis is now ready to exit"


@pytest.fixture
def container(image: Build, start: Start) -> Container:
    """Give a container in which all six have reported that they are ready."""
    container = start(image("tests/docker/services", "services"))
    container.until_logged("postgres", "database system is ready to accept connections")
    container.until_logged("redis", "Ready to accept connections")
    container.until_logged("php", "ready to handle connections")
    container.until_logged("sshd", "Server listening on")
    container.until_answers("curl", "--fail", "--silent", "http://127.0.0.1:8080/")
    container.until_answers("test", "-s", "/tmp/cron-ran")
    return container


def assert_each_works(container: Container) -> None:
    """Check pages, queries, keys, a login and a job."""
    assert container.shell("curl --silent http://127.0.0.1:8080/") == "PHP 42\n"
    assert container.shell("psql --username=postgres --host=127.0.0.1 -tAc 'select 6 * 7'") == "42\n"
    assert container.shell("redis-cli set answer 42 && redis-cli get answer") == "OK\n42\n"
    assert container.shell("cat /tmp/cron-ran") == "cron ran this\n"
    container.shell(
        "install -d -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519"
        " && cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys"
    )
    assert container.shell("ssh -o StrictHostKeyChecking=no 127.0.0.1 echo 42") == "42\n"
    assert container.zombies() == []


def assert_each_has_its_user(container: Container) -> None:
    """Check that `user:` applies to a server and its children; without it nginx drops root itself."""
    processes = container.processes()
    for command, user in (("postgres", "postgres"), ("redis-server", "redis"), ("nginx: worker", "www-data")):
        assert {process.user for process in processes if command in process.command} == {user}


def assert_workers_of_a_killed_master_end_before_its_restart(container: Container) -> None:
    """Check SIGKILL to nginx's master: its workers, which hold the port, end too, and only then nginx restarts."""
    before = container.pids("nginx: ")
    (master,) = container.pids("nginx: master")
    container.exec("kill", "-KILL", str(master))
    container.until_logged("nginx", "start worker processes", times=2)
    assert set(container.pids("nginx: ")).isdisjoint(before)
    assert not any("Address already in use" in line for line in container.logs().of("nginx"))
    container.until_answers("curl", "--fail", "--silent", "http://127.0.0.1:8080/")


def test_six_servers_work_and_stop_in_reverse_order(container: Container) -> None:
    """Each works as its user; nginx survives a crash; `docker stop` ends all, each by its own signal.

    The order of the stop: nginx, then php-fpm, then PostgreSQL and Redis.
    """
    assert_each_works(container)
    assert_each_has_its_user(container)
    assert_workers_of_a_killed_master_end_before_its_restart(container)
    assert container.stop().code == 0
    logs = container.logs()
    pattern = "|".join(re.escape(word) for word in WEB_STOPS)
    found = list(dict.fromkeys(re.findall(pattern, logs.stderr)))
    assert found == list(WEB_STOPS)
    assert any(REDIS_STOPS in line for line in logs.of("redis"))
    assert any("database system is shut down" in line for line in logs.of("postgres"))
    assert any("Received signal 15; terminating." in line for line in logs.of("sshd"))


def test_a_killed_server_ends_the_container_with_its_status(container: Container) -> None:
    """PostgreSQL killed by signal 9 ends the container with 137, after the others were stopped."""
    (postmaster,) = container.pids("^postgres$")
    container.exec("kill", "-KILL", str(postmaster))
    assert container.wait().code == 128 + 9
    logs = container.logs()
    assert any(REDIS_STOPS in line for line in logs.of("redis"))
    assert any(WEB_STOPS[0] in line for line in logs.of("nginx"))
    assert any("postgres" in line for line in logs.of("cohabit"))
