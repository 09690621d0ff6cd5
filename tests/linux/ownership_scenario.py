"""One cohabit with several services and random operations: an event of one service never affects another's processes.

The owner of each process is known by construction (ownership_shapes.py). Each operation names the services that it
affects. During an operation, each scan of /proc checks that every process of all other services, and of `docker exec`,
is alive and not stopped. Afterwards, exactly the processes of the current instances are alive. A seed determines the
services, the shapes and the operations.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, Self

from linux import ownership_shapes as shapes
from linux import places, processes
from linux.clients import Request, environment
from linux.ownership_shapes import HOOK, OUTSIDE, PROBE, Kind, Token
from linux.ownership_signals import Trace
from linux.run import AT_MOST_SECONDS, COHABIT, Run, write_file

NUMBERS: Final = 400  # size of the pid range of the namespace, where pids are soon reused
_INSTANCES = 60  # prepared scripts per service
_PROBES = 400

SERVICES: Final = {
    "plain": Kind("sleep"),
    "user": Kind("sleep", user=12345),
    "probed": Kind("sleep", probe=True),
    "hooked": Kind("sleep", hook="post_start"),
    "stopping": Kind("sleep", user=65534, probe=True, hook="pre_stop"),
    "exits": Kind("exits"),
    "daemon": Kind("daemon"),
    "userdaemon": Kind("daemon", user=65534),
    "init": Kind("pid_file"),
    "init2": Kind("pid_file", probe=True),
}
REPLICATED: Final = "many"
_REPLICAS = 3
OWNERS: Final = {name: number for number, name in enumerate((*SERVICES, *(f"{REPLICATED}-{i}" for i in (1, 2, 3))), 1)}


class Mode(NamedTuple):
    """The environment of a scenario."""

    cgroups: bool
    docker: bool
    process_1: bool

    def __str__(self) -> str:
        words = ("cgroups" if self.cgroups else "no cgroups", "Docker's" if self.docker else "full")
        return f"{words[0]}, {words[1]} capabilities, {'' if self.process_1 else 'not '}process 1"


MODES: Final = [Mode(c, d, p) for c in (False, True) for d in (True, False) for p in (True, False)]


class Found(NamedTuple):
    """A process with a token, as /proc shows it."""

    pid: int
    stopped: bool


class OwnershipError(AssertionError):
    """A process was ended or stopped with another service, or was left behind."""


class Scenario:
    """A cohabit and its expected processes. Use it as a context: call `operate` several times, then `end`."""

    def __init__(self, seed: int, mode: Mode, directory: str, box: str = "", *, trace: bool = False) -> None:
        """box: the directory of a cgroup. trace: use strace; this requires that pids are not reused."""
        self.rng = random.Random(seed)  # noqa: S311 - a scenario must be reproducible
        self.mode = mode
        self.few_numbers = _numbers_are_namespaced() and self.rng.random() < 0.5
        self.directory = directory
        self.box = box
        self.versions = dict.fromkeys((*SERVICES, REPLICATED), 0)
        self.replicas = self.rng.randint(1, _REPLICAS)
        names = self.rng.sample(sorted(SERVICES), 5)
        self.services = {name: SERVICES[name] for name in names} | {
            name: Kind("sleep") for name in OWNERS if name.startswith(f"{REPLICATED}-")
        }
        self.running = {name: not self._surplus(name) for name in self.services}
        self.tokens: dict[tuple[str, int], frozenset[Token]] = {}
        self.outside: dict[Token, bool] = {}  # whether it is alive
        self.present: dict[Token, int] = {}  # at the end of the last operation
        self.ended: set[Token] = set()  # by the test
        self.disturbed: set[int] = set()
        self.log: list[str] = []
        self.outside_instances = 0
        self._ours: dict[int, bool] = {}  # pid -> whether it is in the namespace
        self._gates: dict[str, int] = {}
        self._prepare()
        self.run = self._start()
        self.trace = Trace(self.run) if trace and not self.few_numbers else None

    def __enter__(self) -> Self:
        return self

    def __str__(self) -> str:
        return f"{self.mode}{f', {NUMBERS} numbers' if self.few_numbers else ''}"

    def __exit__(self, *_: object) -> None:
        if self.trace:
            self.trace.close()
        self.run.__exit__(None, None, None)
        for gate in self._gates.values():
            os.close(gate)

    def _surplus(self, name: str) -> bool:
        return name.startswith(f"{REPLICATED}-") and int(name[-1]) > self.replicas

    # --- files ---------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        os.chmod(self.directory, 0o755)  # noqa: S103 - services run as other users
        self._write("count.sh", shapes.COUNT)
        self._write("wait.sh", shapes.WAIT)
        for name, kind in self.services.items():
            owner, root = OWNERS[name], not kind.user
            mains = [shapes.main(self.rng, kind, name, owner, instance) for instance in range(1, _INSTANCES)]
            self.tokens.update({(name, instance): script.tokens for instance, script in enumerate(mains, 1)})
            scripts = {name: [script.text for script in mains]}
            if kind.main == "exits":
                path = os.path.join(self.directory, f"go-{name}")
                os.mkfifo(path)
                self._gates[name] = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            if kind.hook:
                scripts[f"{name}-hook"] = [
                    shapes.leaves(self.rng, HOOK + owner, instance, root=root).text for instance in range(1, _INSTANCES)
                ]
            if kind.probe:
                scripts[f"{name}-probe"] = [
                    shapes.probe(self.rng, PROBE + owner, instance, root=root) for instance in range(1, _PROBES)
                ]
            for counted, texts in scripts.items():
                self._write(f"{counted}.sh", shapes.numbered(texts))
                self._write(f"n-{counted}", "0\n")
                os.chmod(os.path.join(self.directory, f"n-{counted}"), 0o666)  # noqa: S103 - for any user's services

    def _write(self, name: str, text: str) -> None:
        with open(os.path.join(self.directory, name), "w", encoding="ascii") as file:
            file.write(text)

    def _file(self) -> str:
        services: dict[str, dict[str, Any]] = {}
        for name in dict.fromkeys(name.split("-")[0] for name in self.services):
            kind = SERVICES.get(name, Kind("sleep"))
            service: dict[str, Any] = {
                "command": ["sh", "-c", 'set -- "$COHABIT_SERVICE"; . ./count.sh'],
                "environment": {"VERSION": str(self.versions[name])},
                "essential": False,
                "deploy": {"restart_policy": {"condition": "any", "delay": "0s"}},
                "stop_grace_period": "500ms",
            }
            if name == REPLICATED:
                service["deploy"]["replicas"] = self.replicas
            if kind.user:
                service["user"] = f"{kind.user}:{kind.user}"
            if kind.main == "pid_file":
                service["pid_file"] = os.path.join(self.directory, f"{name}.pid")
            if kind.probe:
                test = ["CMD", "sh", "-c", f"set -- {name}-probe; . ./count.sh"]
                service["healthcheck"] = {"test": test, "interval": "200ms", "timeout": "10s"}
            if kind.hook:
                service[kind.hook] = [{"command": ["sh", "-c", f"set -- {name}-hook; . ./count.sh"]}]
            services[name] = service
        return write_file(self.directory, services)

    def _start(self) -> Run:
        setup = [places.open_to_all(self.directory)]
        if self.few_numbers:
            setup.append(f"echo {NUMBERS} > /proc/sys/kernel/pid_max")
        if self.mode.cgroups:
            os.setxattr(self.box, "trusted.delegate", b"1")  # without it, only process 1 creates cgroups
            setup.append(f"echo 0 > {self.box}/cgroup.procs")
        else:
            setup.append(places.NO_CGROUPS)
        return Run(
            *COHABIT,
            *("up", "-f", self._file()),
            above=places.DOCKER_CAPABILITIES if self.mode.docker else (),
            process_1=self.mode.process_1,
            setup="\n".join(setup),
            environment=environment(self.directory),
            cwd=self.directory,
        )

    def write(self) -> None:
        """Write the configuration file again."""
        self._file()

    def open_gate(self, name: str) -> None:
        """Let a waiting service end with 0."""
        os.write(self._gates[name], b"\n")

    def end(self, one: Token) -> None:
        """End a process, as if it ended by itself."""
        self.ended.add(one)
        if one in self.outside:
            self.outside[one] = False
        os.kill(self.present[one], signal.SIGKILL)

    # --- observing -----------------------------------------------------------------------------------

    def count(self, name: str) -> int:
        """The number of instances so far."""
        try:
            with open(os.path.join(self.directory, f"n-{name}"), encoding="ascii") as file:
                return int(file.read() or 0)
        except OSError:
            return 0

    @property
    def trees(self) -> int:
        """How many process trees there were: from services, hooks, probes and outside."""
        return self.outside_instances + sum(
            self.count(name[2:]) for name in os.listdir(self.directory) if name.startswith("n-")
        )

    def scan(self) -> dict[Token, Found]:
        """All living processes with a token."""
        found: dict[Token, Found] = {}
        for word in os.listdir("/proc"):
            if not word.isdigit():
                continue
            with contextlib.suppress(OSError):
                with open(f"/proc/{word}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                one = shapes.token(words[-2].decode("latin-1")) if len(words) > 1 else None
                if one is None or words[0] not in (b"sleep", b"sh", b"/bin/sh") or not self._is_ours(int(word)):
                    continue
                if words[0] != b"sleep" and words[1] != b"./wait.sh":
                    continue  # not there yet
                now = processes.find(int(word))
                if now is not None and now.state not in "ZX":
                    found[one] = Found(now.pid, now.state in "Tt")
                    if self.trace:
                        self.trace.learn(now.pid, one)
        return found

    def _is_ours(self, pid: int) -> bool:
        if pid not in self._ours:
            self._ours[pid] = os.readlink(f"/proc/{pid}/ns/pid") == self._namespace
        return self._ours[pid]

    @property
    def _namespace(self) -> str:
        return os.readlink(f"/proc/{self.run.pid}/ns/pid")

    def check(self) -> dict[Token, Found]:
        """Scan the processes; fail if a process of an unaffected service is gone or stopped."""
        found = self.scan()
        for one, pid in self.present.items():
            if one.owner % 100 in self.disturbed and one.owner != OUTSIDE:
                continue
            if one in self.ended or PROBE <= one.owner < HOOK:
                continue
            now = found.get(one)
            if now is None or now.pid != pid:
                self.fail(f"{self._named(one)} (pid {pid}) was ended")
            elif now.stopped and processes.status(self.run.pid, "State") not in "Tt":
                self.fail(f"{self._named(one)} (pid {pid}) was stopped")
        return found

    def not_ready(self, found: dict[Token, Found]) -> list[str]:
        """The differences from the expected state."""
        wrong = []
        expected: set[Token] = {one for one, is_alive in self.outside.items() if is_alive}
        for name in self.services:
            if self.running[name]:
                current = self.tokens.get((name, self.count(name)), frozenset())
                wrong += [f"{name} has not started"] * (not current)
                expected |= current
        expected -= self.ended
        wrong += [f"{self._named(one)} is missing" for one in sorted(expected - set(found))]
        for one in sorted(set(found) - expected):
            name = _service(one)
            if one.owner >= HOOK and one.owner != OUTSIDE:
                fine = self.running[name] and one.instance == self.count(f"{name}-hook")
            elif PROBE <= one.owner < HOOK:
                fine = self.running[name] and one.instance >= self.count(f"{name}-probe")
            else:
                fine = False
            wrong += [] if fine else [f"{self._named(one)} (pid {found[one].pid}) is left behind"]
        return wrong

    @staticmethod
    def _named(one: Token) -> str:
        kind = {0: "process", 1: "probe's process", 2: "hook's process"}.get(one.owner // 100, "process")
        return f"{_service(one)}: {kind} {one.leaf} of instance {one.instance}, sleep {one}"

    def fail(self, text: str) -> None:
        """Fail with the fault and the operations before it."""
        raise OwnershipError("\n".join([text, f"mode: {self}", *self.log[-8:], str(self.run)]))

    # --- waiting -------------------------------------------------------------------------------------

    def until(self, true: Callable[[], object], what: str) -> None:
        """Wait until the condition holds, and check meanwhile."""

        def checked() -> object:
            self.check()
            return true()

        self.run.until(checked, what)

    def settle(self) -> None:
        """Wait until exactly the processes of the current instances are alive."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        while wrong := self.not_ready(found := self.check()):
            if time.monotonic() > deadline:
                self.fail("; ".join(wrong))
            self.run.until(lambda: True, "output")
            time.sleep(0.01)
        self.present = {one: now.pid for one, now in found.items()}
        if self.trace:
            self.trace.check(self.disturbed, self.fail)

    @contextlib.contextmanager
    def affecting(self, operation: str, names: Iterable[str] = ()) -> Iterator[None]:
        """An operation on these services. Nothing may happen to other services while it lasts."""
        names = sorted(names)
        self.log.append(f"{operation} {' '.join(names)}")
        self.disturbed = {OWNERS[name] for name in names}
        yield
        self.settle()
        self.disturbed = set()

    def run_client(self, *words: str) -> None:
        """Send a request and wait for the answer."""
        with self.running_client(*words):
            pass

    @contextlib.contextmanager
    def running_client(self, *words: str) -> Iterator[None]:
        """Send a request; it is answered with 0 when the block ends."""
        with contextlib.closing(Request(self.directory, *words)) as sent:
            yield
            self.until(sent.is_answered, " ".join(words))
        if not sent.text.startswith("0 "):
            self.fail(f"{words}: {sent.text}")

    def gone(self, *names: str, since: dict[str, int] | None = None) -> None:
        """Fail if a process of these services is alive, limited to instances up to `since` if given."""
        for one, found in self.check().items():
            name = _service(one)
            if name not in names or PROBE <= one.owner < HOOK:
                continue
            counted = f"{name}-hook" if one.owner >= HOOK else name
            if since is None or one.instance <= since.get(counted, 0):
                self.fail(f"{self._named(one)} (pid {found.pid}) was left behind")

    def counts(self, names: Iterable[str]) -> dict[str, int]:
        """The current instance of each service."""
        return {each: self.count(each) for name in names for each in (name, f"{name}-hook")}

    def until_counted(self, before: dict[str, int], names: Iterable[str]) -> None:
        """Wait until each service has a newer instance."""
        self.until(lambda: all(self.count(name) > before[name] for name in names), f"new instances of {list(names)}")

    def stop(self) -> None:
        """Stop cohabit and check that no process is left."""
        self.disturbed = set(OWNERS.values())
        self.present = {}
        code = self.run.stop(signal.SIGTERM)
        if code not in (0, 137):
            self.fail(f"it ended with {code}")

    def mains(self, names: Iterable[str]) -> list[int]:
        """The pids of the living main processes."""
        wanted = {Token(OWNERS[name], self.count(name), 0) for name in names}
        return [pid for one, pid in self.present.items() if one in wanted]


def _numbers_are_namespaced() -> bool:
    """Whether kernel.pid_max belongs to the PID namespace (Linux 6.14); on older kernels it is global."""
    version = os.uname().release.split(".")
    return tuple(int(word) for word in version[:2] if word.isdigit()) >= (6, 14)


def _service(one: Token) -> str:
    if one.owner == OUTSIDE:
        return "docker exec"
    return next(name for name, number in OWNERS.items() if number == one.owner % 100)
