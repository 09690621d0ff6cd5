"""Fixtures of the container tests: the engine, the images, and containers that are removed after their test.

Without an engine these tests are skipped with the reason; with CI=true they fail instead. The images of a session:
Debian base images (tools/images, kept); on each of them an image that can `pip install cohabit` from this working copy
without a network; on those the examples and the tests' own images. All except the base images carry the session's
label, and everything with the label is removed at the end.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Final, NoReturn

import pytest

from docker.container import Build, Container, Start
from docker.engine import Engine, NoEngineError, found_or_started
from docker.mounted import Mounted

REPOSITORY: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGES: Final = os.path.join(REPOSITORY, "tools", "images")
# The Python of the base images, which may be older than that of the tests.
DEBIAN_PYTHON: Final = ("--python-version=3.11", "--implementation=cp", "--abi=cp311")

# The start of the reason for a skipped container test. The test process that sets it does not print it.
_SKIPPED: Final = "container tests skipped: "


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the group in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this directory with `docker`; one test process runs all of them, with one engine."""
    here = os.path.dirname(os.path.abspath(__file__))
    for item in items:
        if str(item.path).startswith(here + os.sep):
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.xdist_group("docker"))


def cannot(why: str) -> NoReturn:
    """Skip with the reason `why`; on CI fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true and the container tests cannot run: {why}", pytrace=False)
    pytest.skip(f"{_SKIPPED}{why}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print once, not per test, why the container tests were skipped."""
    reports = terminalreporter.getreports("skipped")
    reasons = [str(report.longrepr[2]).partition(_SKIPPED) for report in reports if isinstance(report.longrepr, tuple)]
    for why in dict.fromkeys(why for _, found, why in reasons if found):
        terminalreporter.write_line(f"{_SKIPPED}{why}")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Give the running engine, or start one for the session."""
    try:
        with found_or_started() as engine:
            yield engine
    except NoEngineError as error:
        cannot(str(error))


@pytest.fixture(scope="session")
def label(engine: Engine) -> Iterator[str]:
    """Give the label of everything that this session creates, and remove what carries it at the end."""
    label = f"cohabit-test={uuid.uuid4().hex[:12]}"
    yield label
    removed = (
        (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
        (("images", "--all", "--quiet"), ("rmi", "--force")),
    )
    for listing, removal in removed:
        found = engine.docker(*listing, "--filter", f"label={label}").stdout.split()
        if found:
            engine.docker(*removal, *dict.fromkeys(found), check=False)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a directory with the wheels of this working copy and its dependencies, for the Python of the base images."""
    directory = str(tmp_path_factory.mktemp("wheels"))
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    built = ("--no-deps", "--no-build-isolation", "--wheel-dir", directory, REPOSITORY)
    subprocess.run([*pip, "wheel", *built], check=True)
    machine = os.uname().machine
    platforms = [f"--platform={libc}_{machine}" for libc in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
    subprocess.run(
        [
            *(*pip, "download", "--only-binary=:all:", *DEBIAN_PYTHON, *platforms),
            *("--dest", directory, "--require-hashes", "-r", os.path.join(REPOSITORY, "requirements", "run.txt")),
        ],
        check=True,
    )
    return directory


@pytest.fixture(scope="session")
def image(engine: Engine, label: str, wheels: str) -> Build:
    """Give the function that builds the Dockerfile in a directory on one of the base images."""
    built: dict[tuple[str, str], str] = {}

    def build(directory: str, *options: str) -> str:
        done = engine.docker("build", "--quiet", "--network=none", "--label", label, *options, directory)
        return done.stdout.strip()

    def base(name: str) -> str:
        if (name, "") not in built:
            program = [os.path.join(IMAGES, "build.py"), name]
            made = subprocess.run(
                [sys.executable, *program],
                env=engine.environment,
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if made.returncode != 0:
                cannot(f"{' '.join(program)} ended with {made.returncode}")
            dockerfile = os.path.join(IMAGES, "cohabit.Dockerfile")
            debian = f"BASE={made.stdout.strip()}"
            built[name, ""] = build(wheels, "--file", dockerfile, "--build-arg", debian)
        return built[name, ""]

    def image(directory: str, base_name: str) -> str:
        if (directory, base_name) not in built:
            path = os.path.join(REPOSITORY, directory)
            built[directory, base_name] = build(path, "--build-arg", f"BASE={base(base_name)}")
        return built[directory, base_name]

    return image


@pytest.fixture(scope="session")
def servers(image: Build) -> str:
    """Give the image with the servers and without a configuration file: the tests mount one."""
    return image("tests/docker/servers", "services")


@pytest.fixture
def file(tmp_path_factory: pytest.TempPathFactory) -> Mounted:
    """Give a directory for a configuration file."""
    directory = str(tmp_path_factory.mktemp("mounted"))
    os.chmod(directory, 0o755)  # noqa: S103 - a container may run as any user
    return Mounted(directory)


@pytest.fixture
def start(request: pytest.FixtureRequest, engine: Engine, label: str) -> Iterator[Start]:
    """Give the function that runs an image in the background, without a network, until the test ends."""
    running: list[Container] = []
    failed = request.session.testsfailed

    def start(image: str, *command: str, options: tuple[str, ...] = ()) -> Container:
        arguments = ("--detach", "--network=none", "--label", label, *options, image, *command)
        container = Container(engine, engine.docker("run", *arguments).stdout.strip())
        running.append(container)
        return container

    yield start
    if request.session.testsfailed > failed:
        for container in running:
            print(container.logs())  # pytest shows it with the failure
    for container in running:
        container.remove()
