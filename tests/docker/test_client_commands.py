"""Commands from outside: `docker exec`, HEALTHCHECK, and permissions."""

import json
import subprocess
from typing import Any, Final

import pytest

from docker.container import AT_MOST_SECONDS, Build, Container, Start
from docker.engine import until
from docker.mounted import Mounted

LEAST_PRIVILEGE: Final = (
    *("--read-only", "--user=12345:12345", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    "--env=GREETING=hello",
)
HEALTHY_FILE: Final = "/dev/shm/well"  # the only writable place
# web is healthy as long as that file exists. A probe before the file exists does not count.
WEB: Final[dict[str, Any]] = {
    "command": ["sh", "-c", f"touch {HEALTHY_FILE}; echo $$GREETING; exec sleep 1000"],
    "healthcheck": {
        "test": ["CMD", "test", "-e", HEALTHY_FILE],
        "start_period": "60s",
        "start_interval": "50ms",
        "interval": "200ms",
        "timeout": "30s",
        "retries": 1,
    },
}
JOB: Final[dict[str, Any]] = {"command": ["sh", "-c", "echo no luck; exit 3"], "essential": False}
OWNER, ROOT, OTHER, MEMBER = "12345:12345", "0:0", "4242:4242", "4242:4343"


@pytest.fixture
def checked(image: Build) -> str:
    """Give an image whose HEALTHCHECK is `cohabit health`, run once per second: each check costs a tenth of one."""
    return image("tests/docker/checked", "minimal")


def ask(container: Container, user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command inside, as this user."""
    return container.exec("cohabit", *arguments, user=user, check=False)


def until_docker_says(container: Container, health: str) -> None:
    """Wait until the engine's own health check has this result."""
    until(
        lambda: container.inspect()["State"]["Health"]["Status"] == health,
        at_most_seconds=AT_MOST_SECONDS,
        what=f"docker to say {health}",
    )


def health_log(container: Container) -> str:
    """Return the output of the last health checks."""
    return "".join(check["Output"] for check in container.inspect()["State"]["Health"]["Log"])


def states(container: Container, user: str) -> dict[str, str]:
    """Return the services' states from `ps --json`, run as this user."""
    return {one["name"]: one["state"] for one in json.loads(ask(container, user, "ps", "--json").stdout)["services"]}


def test_commands_work_in_the_most_restricted_container(checked: str, file: Mounted, start: Start) -> None:
    """A uid without a passwd entry, a read-only root and no capability: all commands, as that user and as root."""
    file.write({"web": WEB, "job": JOB})
    container = start(checked, "up", options=(*file.options, *LEAST_PRIVILEGE))
    until_docker_says(container, "healthy")
    container.until_logged("cohabit", "job: ended with exit code 3")
    for user in (OWNER, ROOT):
        assert states(container, user) == {"web": "RUNNING", "job": "EXITED"}
        expected = {
            "ps": "RUNNING",
            "health": "ready: ",
            "why job": "exit code 3",
            "logs job": "job | no luck",
            "restart web": "web",
            "wait web": "web",
            "version": "running: ",
        }
        for line, text in expected.items():
            done = ask(container, user, *line.split())
            assert (line, done.returncode, done.stderr) == (line, 0, "")
            assert text in done.stdout
    assert container.logs().of("web") == ["hello"] * 3
    greeting = ("exec", "web", "--", "sh", "-c", "echo $GREETING")
    assert ask(container, OWNER, *greeting).stdout == "hello\n"
    refused = ask(container, ROOT, *greeting)  # an answer from another user's cohabit is not executed
    assert refused.returncode == 77
    assert "neither root nor this user is listening" in refused.stderr
    examined = ask(container, OWNER, "doctor")
    assert (examined.returncode, examined.stderr) == (0, "")
    assert "error" not in examined.stdout.split()
    refused = ask(container, OTHER, "ps")
    assert (refused.returncode, refused.stdout) == (77, "")
    assert "user 4242 may not use the control socket: only root and user 12345 may" in refused.stderr
    ask(container, OWNER, "down")  # the client may be ended with the container before it exits
    assert container.wait().code == 0


def test_healthcheck_follows_the_service(checked: str, file: Mounted, start: Start) -> None:
    """Healthy, then unhealthy with the reason when the service's probe begins to fail, then healthy again."""
    file.write({"web": WEB})
    container = start(checked, "up", options=(*file.options, *LEAST_PRIVILEGE))
    until_docker_says(container, "healthy")
    container.exec("rm", HEALTHY_FILE)
    until_docker_says(container, "unhealthy")
    assert "web is unhealthy" in health_log(container)
    container.exec("touch", HEALTHY_FILE)
    until_docker_says(container, "healthy")
    assert container.stop().code == 0


def test_control_group_may_not_read_environments(checked: str, file: Mounted, start: Start) -> None:
    """control_group: its members may run every command except `exec`; other users none."""
    file.write({"web": WEB}, **{"x-cohabit": {"control_group": "4343"}})
    container = start(checked, "up", options=(*file.options, *LEAST_PRIVILEGE, "--no-healthcheck"))
    container.until_logged("cohabit", "web: ready")
    assert states(container, MEMBER) == {"web": "RUNNING"}
    assert ask(container, MEMBER, "restart", "web").returncode == 0
    secret = ask(container, MEMBER, "exec", "web", "--", "env")
    assert (secret.returncode, secret.stdout) == (77, "")
    refused = ask(container, OTHER, "health")
    assert refused.returncode == 1
    assert "may not use the control socket" in refused.stdout
    assert "group 4343" in refused.stdout
    ask(container, MEMBER, "down")
    assert container.wait().code == 0
