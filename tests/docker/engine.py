"""The Docker engine of the container tests: the `docker` client, and requests to the engine's socket (api.py).

A running engine is used as it is. Otherwise one is started with its own state, socket and pid file, and stopped after
the tests. It changes neither the firewall nor the network of the machine, so containers have only the loopback
interface. Its images are kept in the cache of the base images between sessions; a second session at the same time gets
a temporary directory.

This module deals with the engine and its clients. Containers are in container.py, images in conftest.py.
"""

import contextlib
import fcntl
import functools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from docker import api

CACHE: Final = os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
    "cohabit-images",
)
START_SECONDS: Final = 30.0
# overlay2 is the fastest, but is refused if the state directory is itself on an overlay.
STORAGE_DRIVERS: Final = ("overlay2", "vfs")
# No client call takes longer: a step of an image build that hangs is a failure, not a wait.
CLIENT_SECONDS: Final = 600.0


class NoEngineError(Exception):
    """There is no engine and none can be started: the message gives the reason and what to do."""


@dataclass(frozen=True)
class Engine:
    """The `docker` client with the environment that selects one engine."""

    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def docker(
        self, *arguments: str, check: bool = True, at_most_seconds: float = CLIENT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker WORDS…` and return its stdout and stderr; `check`: a failure raises with its output."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environment | {"DOCKER_BUILDKIT": "0"},  # Debian's client has no buildx
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=at_most_seconds,
            check=False,
        )
        if check and done.returncode != 0:
            message = f"docker {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            raise AssertionError(message)
        return done

    @functools.cached_property
    def socket(self) -> str:
        """The path of the engine's socket, which depends on DOCKER_HOST and on the client's context."""
        host = self.docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").stdout.strip()
        assert host.startswith("unix://"), f"the engine is at {host}, and not on this machine"
        return host.removeprefix("unix://")

    def asked(
        self, method: str, what: str, body: Any = None, *, at_most_seconds: float = CLIENT_SECONDS
    ) -> AbstractContextManager[api.Response]:
        """Send a request to the engine; gives its answer while it arrives."""
        return api.asked(self.socket, method, what, body, at_most_seconds=at_most_seconds)

    def ask(self, method: str, what: str, body: Any = None, *, at_most_seconds: float = CLIENT_SECONDS) -> Any:
        """Send a request to the engine and return its answer, which is JSON; None if it is empty."""
        with self.asked(method, what, body, at_most_seconds=at_most_seconds) as response:
            text = response.read()
        return json.loads(text) if text else None

    def answers(self) -> bool:
        """Whether an engine is running."""
        return self.docker("version", "--format", "{{.Server.Version}}", check=False).returncode == 0


def until(true: Callable[[], object], *, at_most_seconds: float, what: str) -> None:
    """Wait until `true()` holds; after `at_most_seconds` fail with the description `what`.

    A look usually starts a client, so it is not repeated before as much time has passed as it took.
    """
    began = time.monotonic()
    deadline = began + at_most_seconds
    while not true():
        ended = time.monotonic()
        assert ended < deadline, f"waited {at_most_seconds:g} s for nothing: {what}"
        time.sleep(max(0.05, ended - began))
        began = time.monotonic()


@contextlib.contextmanager
def found_or_started() -> Iterator[Engine]:
    """Give the running engine, or one that is stopped with the block; raise NoEngineError if there is neither."""
    if shutil.which("docker") is None:
        raise NoEngineError("no Docker client (apt-get install docker.io)")
    engine = Engine()
    if engine.answers():
        yield engine
        return
    if shutil.which("dockerd") is None:
        raise NoEngineError("no Docker engine answers and there is none to start (apt-get install docker.io)")
    if os.geteuid() != 0:
        raise NoEngineError("no Docker engine answers and only root can start one (start it, or run as root)")
    with state_directory() as state, tempfile.TemporaryDirectory(prefix="cohabit-engine-") as run:
        daemon, engine = started(state, run)
        try:
            for left_by_a_killed_session in ("container", "image"):
                engine.docker(left_by_a_killed_session, "prune", "--force")
            yield engine
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(START_SECONDS)


@contextlib.contextmanager
def state_directory() -> Iterator[str]:
    """Give the engine's kept state directory, or a temporary one if another session uses it."""
    os.makedirs(CACHE, mode=0o755, exist_ok=True)
    with open(os.path.join(CACHE, "engine.lock"), "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            state = tempfile.mkdtemp(prefix="engine-", dir=CACHE)
            try:
                yield state
            finally:
                shutil.rmtree(state, ignore_errors=True)
        else:
            yield os.path.join(CACHE, "engine")


def started(state: str, run: str) -> tuple[subprocess.Popen[bytes], Engine]:
    """Start dockerd with its data under `state` and its socket in `run`, and wait until it answers."""
    engine = Engine(dict(os.environ) | {"DOCKER_HOST": f"unix://{run}/docker.sock"})
    log_path = os.path.join(run, "dockerd.log")
    for driver in STORAGE_DRIVERS:
        command = [
            # If the tests are killed, the engine is stopped, too.
            *("setpriv", "--pdeathsig", "TERM", "dockerd", "--storage-driver", driver),
            *("--data-root", os.path.join(state, driver), "--exec-root", os.path.join(run, "exec")),
            *("--pidfile", os.path.join(run, "pid"), "--host", f"unix://{run}/docker.sock"),
            *("--bridge=none", "--iptables=false", "--ip6tables=false"),
        ]
        with open(log_path, "wb") as log:
            daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(
            lambda daemon=daemon: daemon.poll() is not None or engine.answers(),  # type: ignore[misc]
            at_most_seconds=START_SECONDS,
            what="dockerd answers",
        )
        if daemon.poll() is None:
            return daemon, engine
    with open(log_path, encoding="utf-8", errors="replace") as log_text:
        last = log_text.readlines()[-1:]
    raise NoEngineError(f"no Docker engine answers and dockerd does not start: {''.join(last).strip()}")
