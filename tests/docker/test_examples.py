"""The four Dockerfiles of Docker's page on several services, with cohabit (examples/), on a real engine.

Each example is built and run as its README says. Tests that apply to all examples run for each; tests of one example
follow.
"""

from typing import NamedTuple

import pytest

from docker.container import Build, Container, Logs, Start
from docker.engine import until


class Example(NamedTuple):
    """What an example shows: lines by service, and how one of its services is killed."""

    name: str
    base: str
    ready: dict[str, str]
    stopped: dict[str, str]
    death: tuple[str, ...]
    killed: str
    code: int


def get(url: str) -> tuple[str, ...]:
    """Return a command that prints the content of `url` or fails; every image can run it."""
    return (
        "python3",
        "-c",
        f"from urllib.request import urlopen; print(urlopen('http://127.0.0.1:{url}').read())",
    )


REDIS_READY = "Ready to accept connections"
REDIS_STOPPED = "Redis is now ready to exit"

WRAPPER = Example(
    name="wrapper",
    base="minimal",
    ready={"my_first_process": "serving on port 8001", "my_second_process": "waiting for work"},
    stopped={"my_first_process": "SIGTERM: closing", "my_second_process": "SIGTERM: putting"},
    death=get("8001/crash"),
    killed="my_first_process",
    code=7,
)
POLLING_WRAPPER = Example(
    name="polling-wrapper",
    base="services",
    ready={"nginx": "start worker processes", "redis": REDIS_READY},
    stopped={"nginx": "signal 15 (SIGTERM) received", "redis": REDIS_STOPPED},
    death=("pkill", "-KILL", "redis-server"),
    killed="redis",
    code=128 + 9,
)
JOB_CONTROL = Example(
    name="job-control",
    base="minimal",
    ready={"my_main_process": "serving on port 8000", "my_helper_process": "the store is filled"},
    stopped={"my_main_process": "SIGTERM: closing"},
    death=get("8000/crash"),
    killed="my_main_process",
    code=7,
)
PROCESS_MANAGER = Example(
    name="process-manager",
    base="services",
    ready={
        "redis": REDIS_READY,
        "app": "serving on port 8001",
        "worker": "waiting for work",
        "web": "start worker processes",
    },
    stopped={
        "redis": REDIS_STOPPED,
        "app": "SIGTERM: closing",
        "worker": "SIGTERM: putting",
        "web": "signal 3 (SIGQUIT) received",
    },
    death=get("8001/crash"),
    killed="app",
    code=7,
)
each_example = pytest.mark.parametrize(
    "example", [WRAPPER, POLLING_WRAPPER, JOB_CONTROL, PROCESS_MANAGER], ids=lambda example: example.name
)


def running(example: Example, image: Build, start: Start) -> Container:
    """Return the container of an example once all its services have reported that they are ready."""
    container = start(image(f"examples/{example.name}", example.base))
    for name, line in example.ready.items():
        container.until_logged(name, line)
    return container


def missing(logs: Logs, lines: dict[str, str]) -> dict[str, str]:
    """Return those of `lines` that their services have not written."""
    return {name: line for name, line in lines.items() if not any(line in had for had in logs.of(name))}


@each_example
def test_an_example_runs_and_stops(example: Example, image: Build, start: Start) -> None:
    """Every line is on `docker logs` with its service's name, only services run, and `docker stop` ends them with 0.

    No process is a shell that only waits for another, and orphans of `docker exec` are reaped.
    """
    container = running(example, image, start)
    assert container.logs().names() - {"cohabit"} == set(example.ready)
    assert container.pids(r"^(/bin/)?(ba|da)?sh -c ") == []
    container.exec("sh", "-c", "sleep 0.1 & sleep 0.2 &")
    until(lambda: not container.pids(r"^sleep 0\.|defunct"), at_most_seconds=30, what="no sleep and no zombie")
    assert container.stop().code == 0
    assert missing(container.logs(), example.stopped) == {}


@each_example
def test_a_killed_service_ends_the_container_with_its_status(example: Example, image: Build, start: Start) -> None:
    """A service that dies ends the container with its own status, after the others got their stop signal."""
    container = running(example, image, start)
    container.exec(*example.death, check=False)
    assert container.wait().code == example.code
    others = {name: line for name, line in example.stopped.items() if name != example.killed}
    assert missing(container.logs(), others) == {}


def test_helper_starts_when_main_is_ready(image: Build, start: Start) -> None:
    """job-control: the first request of the helper succeeds, because it starts once main listens."""
    container = running(JOB_CONTROL, image, start)
    assert container.logs().of("my_helper_process") == ["the store is filled"]
    assert "hello" in container.exec(*get("8000/greeting")).stdout


def test_failing_helper_does_not_end_main(image: Build, start: Start) -> None:
    """job-control: a failing helper is reported with its status; the container runs as long as main."""
    main = ("--main", "./my_main_process", "--ready", "tcp:8000")
    container = start(image("examples/job-control", "minimal"), "cohabit", "run", *main, "--helper", "broken=exit 3")
    container.until_logged("cohabit", "broken: ended with exit code 3")
    assert container.is_running()
    assert container.stop().code == 0


def test_redis_is_restarted_and_the_application_keeps_running(image: Build, start: Start) -> None:
    """process-manager: a killed service with `restart: always` is restarted, and the others keep running."""
    container = running(PROCESS_MANAGER, image, start)
    container.until_answers("curl", "--fail", "--silent", "http://127.0.0.1:8080/")
    (application,) = container.pids("my_first_process")
    container.exec("pkill", "-KILL", "redis-server")
    container.until_logged("redis", REDIS_READY, times=2)
    container.until_answers("curl", "--fail", "--silent", "http://127.0.0.1:8080/")
    assert container.pids("my_first_process") == [application]
    assert container.stop().code == 0


# A worker of gunicorn that gets TERM before it has its handler does not end. SigCgt: proc_pid_status(5).
_GUNICORN_HANDLES_TERM = (
    r"until ! grep -L 'SigCgt:.\{13\}[4-7c-f]' $(grep -l gunicorn /proc/[0-9]*/comm | sed s/comm/status/) | grep -q .; "
    "do :; done"
)


def test_the_life_of_a_service(image: Build, start: Start) -> None:
    """life: as its README says; gunicorn is changed by a reload under load, and the token appears nowhere."""
    container = start(image("examples/life", "services"), options=("--env=TOKEN=letmein",))
    container.until_logged("cohabit", "web: ready")
    assert container.shell("curl --silent localhost:8000/") == "hello, visit 1\n"
    assert container.shell("curl --silent localhost:8000/reset?guess") == "not without the token\n"
    assert container.shell("curl --silent localhost:8000/reset?letmein") == "back to 0\n"
    assert "letmein" not in container.exec("cohabit", "config").stdout
    container.shell("sed -i s/hello/welcome/ cohabit.yaml && cohabit reload")
    asking = "until curl --fail --silent --show-error localhost:8000/ | grep welcome; do :; done 2>&1"
    assert container.shell(asking).startswith("welcome, visit ")
    container.shell(_GUNICORN_HANDLES_TERM)
    assert container.stop().code == 0
    assert "letmein" not in "".join(container.logs())
