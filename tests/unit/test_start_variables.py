"""Env files that are read when the service starts (`read: start`): the file, the reader, and process 1 around it."""

from __future__ import annotations

import marshal
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.config import start_variables as reader
from cohabit.engine import effects
from cohabit.plan.model import Condition, Credentials, EnvFile, Hook, Limits, Service
from cohabit.plan.reason import SKIPPED
from cohabit.plan.reason_text import text_of
from cohabit.reactor import side_process, start_variables
from cohabit.reactor.launcher import Launcher
from cohabit.reactor.start_variables import StartVariables
from unit.file_story import draft, service
from unit.reactor_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cohabit.plan.reason import Reason

WEB = Service("web", ("true",), {"OWN": "own"}, env_files=(EnvFile("/x.env"),))
USER = 1000
APP, ROOT = Credentials(USER, USER, (), "app", ""), Credentials(0, 0, (), "root", "")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the owner of files: needs root")
SECRET = "hunter2"  # noqa: S105 - the value of a test


# --- the file -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_one_entry_makes_all_files_of_the_service_late(tmp_path: Path) -> None:
    """They override each other in their order. None has to exist yet."""
    made = service("env_file: [a.env, {path: /b.env, read: start, required: false, format: raw}], environment: {A: x}")
    assert made.env_files == (EnvFile(str(tmp_path / "a.env")), EnvFile("/b.env", required=False, raw=True))
    assert made.environment == {"A": "x"}
    assert service("env_file: [{path: none.env, required: false}]").env_files == ()


@pytest.mark.usefixtures("here")
def test_a_file_that_a_job_or_a_hook_may_write_later_is_a_warning() -> None:
    """It would be empty at the first start, and right at the second one."""
    text = """
services:
  job: {command: [x]}
  a: {command: [x], env_file: [{path: n.env, required: false}], pre_start: [x]}
  b:
    command: [x]
    env_file: [{path: n.env, required: false}]
    depends_on: {job: {condition: service_completed_successfully}}
  c: {command: [x], env_file: [{path: n.env, required: false}], depends_on: [job]}
"""
    found = [str(one) for one in draft(text).problems]
    late = "does not exist now (if it is written later: read: start)"
    assert found == [
        f"cohabit.yaml:4: warning: services.a.env_file: n.env {late}",
        f"cohabit.yaml:7: warning: services.b.env_file: n.env {late}",
    ]


# --- the reader ---------------------------------------------------------------------------------------------


def ask(*files: tuple[str, bool, bool], **changes: Any) -> dict[str, Any]:
    """The answer of the reader for these files."""
    request = {"files": files, "own": {"OWN": "own"}, "user": 0, "conditions": ()}
    return reader.answer(request | changes)


@pytest.mark.usefixtures("here")
def test_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later files override earlier ones; the given value, else the file's; quotes are literal in a raw file."""
    monkeypatch.setenv("GIVEN", "given")
    monkeypatch.delenv("UNSET", raising=False)
    Path("a.env").write_text("A=1\nGIVEN=${GIVEN:-file}\nOTHER=${OTHER_GIVEN:-file}\nREF=$OWN\n")
    Path("b.env").write_text("A='2'$\nC=$UNSET\n")
    Path("b.env").chmod(0o600)
    answer = ask(("a.env", True, False), ("b.env", True, True), ("gone.env", False, False))
    assert answer == {
        "values": {"A": "'2'$", "GIVEN": "given", "OTHER": "file", "REF": "own", "C": "$UNSET"},
        "warnings": [],
    }
    (warning,) = ask(("a.env", True, False), own={})["warnings"]
    assert warning.startswith("a.env:4: ")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (lambda: None, "read x.env: no such file (have it written before this start, or required: false)"),
        (lambda: os.mkfifo("x.env"), "read x.env: it is not a regular file (use - to read from standard input)"),
        (lambda: os.mkdir("x.env"), "read x.env: it is a directory (name a file in it)"),
        (lambda: _link("x.env"), "read x.env: it is a link (name the file itself)"),
        (lambda: Path("x.env").write_bytes(b"A=\0"), "read x.env: it is binary, with a NUL byte in line 1"),
        (lambda: Path("x.env").write_text(f"A='{SECRET}"), "read its env_file: x.env:1: "),
        (lambda: _written(0o606), "read x.env: other users can write to it (chmod go-w the file, or umask 022 "),
    ],
)
def test_a_file_that_cannot_be_used(prepare: Callable[[], object], text: str) -> None:
    """The start fails with the reason. No value is quoted, and a FIFO does not block."""
    prepare()
    problem = ask(("x.env", True, False))["problem"]
    assert problem.startswith(text)
    assert SECRET not in problem


def _link(path: str) -> None:
    Path("other").write_text(f"A={SECRET}")
    os.symlink("other", path)


def _written(mode: int) -> None:
    Path("x.env").write_text(f"A={SECRET}")
    Path("x.env").chmod(mode)


@as_root
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("file", "directory", "user", "text"),
    [
        ((0, 0o600), (0, 0o755), USER, ""),
        ((USER, 0o600), (0, 0o755), USER, ""),
        ((USER, 0o600), (USER, 0o755), USER, ""),
        ((0, 0o644), (USER, 0o755), USER, ""),
        ((USER, 0o600), (0, 0o755), 0, "it belongs to user 1000, who could decide what runs (it must belong to root)"),
        ((33, 0o600), (0, 0o755), USER, "it belongs to user 33, who could decide what runs (it must belong to root or"),
        ((0, 0o660), (0, 0o755), 0, "other users can write to it"),  # setfacl -m u:33:rw looks like this
        ((0, 0o644), (33, 0o755), 0, "user 33 can change {}, and so replace it"),
        ((0, 0o644), (33, 0o755), USER, "user 33 can change {}, and so replace it"),
        ((USER, 0o644), (USER, 0o777), USER, "any user can change {}, and so replace it"),
        ((0, 0o644), (0, 0o1777), 0, "any user can change {}, and so replace it"),
    ],
)
def test_only_root_and_the_user_of_the_service_decide_on_its_variables(
    file: tuple[int, int], directory: tuple[int, int], user: int, text: str
) -> None:
    """Who can change the directory can rename a file of root into it, such as a log with lines of their own."""
    _written(0o600)
    for path, (uid, mode) in (("x.env", file), (".", directory)):
        os.chown(path, uid, uid)
        os.chmod(path, mode)
    answer = ask(("x.env", True, False), user=user)
    if text:
        assert answer["problem"].startswith("read x.env: " + text.format(os.getcwd()))
    else:
        assert answer["values"] == {"A": SECRET}


@as_root
@pytest.mark.usefixtures("here")
def test_the_users_of_two_levels_of_directories() -> None:
    """The service's user may own them all; another user none of them."""
    os.makedirs("a/b")
    _written(0o644)
    os.rename("x.env", "a/b/x.env")
    os.chown("a/b", USER, USER)
    for uid, fits in ((USER, True), (33, False)):
        os.chown("a", uid, uid)
        assert ("values" in ask(("a/b/x.env", True, False), user=USER)) == fits


@pytest.mark.parametrize(
    ("user", "hooks", "owner"),
    [
        (APP, [None, APP], USER),
        (APP, [ROOT], 0),
        (APP, [None, None, ROOT], 0),
        (None, [APP], 0),
        (None, [], 0),
    ],
)
def test_a_hook_of_root_gets_no_variables_of_another_user(
    starts: Starts,
    monkeypatch: pytest.MonkeyPatch,
    user: Credentials | None,
    hooks: list[Credentials | None],
    owner: int,
) -> None:
    """The service's user could set LD_PRELOAD for a post_start or pre_stop hook with `user: root`."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(side_process.Input, "write", lambda _, data: asked.append(marshal.loads(data)))  # noqa: S302
    made = [Hook(("x",), user=one) for one in hooks]
    stages = {"post_start": tuple(made[:1]), "pre_stop": tuple(made[1:2]), "post_stop": tuple(made[2:])}
    starts.read(WEB.replace(user=user, **stages))
    starts.variables.cancel("web")
    assert asked[0]["user"] == owner


def test_a_service_with_capabilities_gets_no_variables_of_its_user(
    starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another service of the user, without capabilities, could set LD_PRELOAD for it."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(side_process.Input, "write", lambda _, data: asked.append(marshal.loads(data)))  # noqa: S302
    starts.read(WEB.replace(user=APP, limits=Limits(ambient=(("CHOWN", 0),))))
    starts.variables.cancel("web")
    assert asked[0]["user"] == 0


@pytest.mark.usefixtures("here")
def test_a_flood_of_warnings_is_cut() -> None:
    """Process 1 logs each of them."""
    Path("x.env").write_text("A=$NONE\n" * 1000)
    warnings = ask(("x.env", True, False))["warnings"]
    assert len(warnings) == 11
    assert warnings[-1] == "x.env: 990 further warnings"


def test_conditions_come_first() -> None:
    """A service that is skipped needs no file."""
    answer = ask(("/gone.env", True, False), conditions=[("path_exists", "/gone", False)])
    assert answer == {"skipped": "/gone does not exist"}


@pytest.mark.usefixtures("here")
def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_VALUES_MAX", 3)
    Path("x.env").write_text(f"A={SECRET}")
    assert ask(("x.env", True, False)) == {
        "problem": "read x.env: its values are longer than 2 MiB (pass them in a file)"
    }


# --- process 1 ----------------------------------------------------------------------------------------------


class Starts:
    """What process 1 does for a service, and the outcome."""

    def __init__(self) -> None:
        self.world = World()
        self.variables = StartVariables(self.world.context)
        self.outcome: list[Reason | None] = []

    def read(self, service: Service = WEB) -> None:
        """Begin to read."""
        self.variables.read(service, lambda: self.outcome.append(None), self.outcome.append)

    def until_decided(self) -> Reason | None:
        """Wait for the outcome: None, or why it failed."""
        self.world.until(lambda: self.outcome)
        return self.outcome[0]


@pytest.fixture
def starts() -> Iterator[Starts]:
    made = Starts()
    yield made
    made.world.close()


def test_the_values_are_kept_for_the_other_processes_of_the_service(starts: Starts, tmp_path: Path) -> None:
    """Until the next start; a warning is logged with its place."""
    path = tmp_path / "x.env"
    path.write_text("A=$OWN\nB=${HOST_UNSET}\n")
    starts.read(WEB.replace(env_files=(EnvFile(str(path)),)))
    assert starts.until_decided() is None
    assert starts.variables.values == {"web": {"A": "own", "B": ""}}
    ((level, name, text),) = starts.world.said
    assert (level, name) == ("warning", "web")
    assert text.startswith(f"{path}:2: ")
    starts.variables.forget("web")
    assert starts.variables.values == {}


def test_a_problem_fails_the_start_and_a_condition_skips_it(starts: Starts) -> None:
    """After a pre_start hook the conditions were checked already."""
    conditions = (Condition("path_exists", "/gone"),)
    starts.read(WEB.replace(conditions=conditions))
    skipped = starts.until_decided()
    assert skipped is not None
    assert (skipped.kind, skipped.detail) == (SKIPPED, "/gone does not exist")
    starts.outcome.clear()
    starts.read(WEB.replace(conditions=conditions, pre_start=(Hook(("x",)),)))
    failed = starts.until_decided()
    assert failed is not None
    assert (failed.code, text_of(failed).partition(" (")[0]) == (126, "cannot read /x.env: no such file")


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        ("import time; time.sleep(1000)", 71, "cannot read its env_file: no answer within 10s"),
        (
            "import os; os.kill(os.getpid(), 9)",
            71,
            "cannot read its env_file: the program for it ended with SIGKILL (killed)",
        ),
        ("raise SystemExit(3)", 70, "cannot read its env_file: the program for it ended with exit code 3"),
    ],
)
def test_a_reader_that_does_not_answer_or_fails(
    starts: Starts, monkeypatch: pytest.MonkeyPatch, script: str, code: int, text: str
) -> None:
    """A frozen file system must not hold a start for ever, nor process 1 at all."""
    monkeypatch.setattr(start_variables, "program", lambda _: (sys.executable, "-I", "-S", "-c", script))
    starts.read()
    if "sleep" in script:
        starts.world.poller.run_timers(time.monotonic() + 10.0)
    failed = starts.until_decided()
    assert failed is not None
    assert (failed.code, text_of(failed)) == (code, text)
    starts.world.until(lambda: not starts.world.pids)
    assert len(starts.outcome) == 1
    assert starts.world.poller.deadline() is None


def test_a_start_that_is_given_up_has_no_outcome(starts: Starts) -> None:
    """The reader is killed, and the next start has another one at once."""
    starts.read()
    starts.variables.cancel("web")
    assert len(starts.world.killed) == 1
    starts.read()
    assert starts.until_decided() is not None
    starts.world.until(lambda: not starts.world.pids)
    assert len(starts.outcome) == 1


def test_a_stop_during_the_read_ends_the_start(starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start has failed at once; for a re-execution it is a start that is still to be made."""
    monkeypatch.setattr(start_variables, "program", lambda _: ("/bin/sleep", "1000"))
    failed: list[tuple[str, str]] = []
    children: Any = SimpleNamespace(
        report_start_failure=lambda name, why: failed.append((name, text_of(why))),
        processes={},
        daemons=SimpleNamespace(until={}),
        lingering=set(),
    )
    output: Any = SimpleNamespace(
        recent_lines=SimpleNamespace(begin_run=lambda *_: None), followers=SimpleNamespace(cancel=lambda _: None)
    )
    launcher = Launcher(starts.world.context, {}, children, output, sockets=output, passive_probes=output)
    launcher.start(WEB)
    assert launcher.refused() == [effects.Spawn(WEB)]
    launcher.give_up("web", WEB.stop_signal)
    assert failed == [("web", "it was stopped before its command could run")]
    assert launcher.refused() == []
    starts.world.until(lambda: not starts.world.pids)
    assert len(failed) == 1
