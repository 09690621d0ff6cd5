"""Between fork and exec: what a child inherits and what is removed, on the real kernel."""

import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cohabit.plan.model import Credentials, Limits, Service
from cohabit.reactor.logs.output import Output
from cohabit.reactor.logs.sink import Sink
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes import limits, one_call, privileges, spawn
from cohabit.reactor.processes.secrets import SecretFiles
from linux.conftest import Start
from linux.run import MAIN, program
from linux.spawned import PYTHON, Ended, described, run, status_of
from unit.reactor_world import context_of

USER = Credentials(12345, 12346, (12346, 12347))
EVERY = tuple(range(41))

# Prints the open descriptors except stdio, and their targets.
LOOK = """
import os
for number in map(int, os.listdir("/proc/self/fd")):
    path = f"/proc/self/fd/{number}"
    if number > 2 and os.path.lexists(path):
        print(number, os.readlink(path))
"""


@pytest.fixture(autouse=True)
def _root(namespaces: None) -> None:
    """Users, limits and capabilities need root."""
    del namespaces


def limited(*argv: str, given: tuple[int, int] | None = None, **attributes: Any) -> Ended:
    """Run it with these Limits."""
    wanted = {name: attributes.pop(name) for name in list(attributes) if name in Limits._fields}
    before, after = limits.steps(Limits(**wanted), given)
    return run(*argv, before_user=before, after_user=after, **attributes)


def open_descriptors(**attributes: Any) -> dict[int, str]:
    """The child's open descriptors except stdio and those of the test run itself, with their targets."""
    found = []
    for more in ({}, attributes):
        ended = run(*PYTHON, LOOK, **more)
        assert ended.code == 0, ended
        found.append({int(line.split()[0]): line.split()[1] for line in ended.out.splitlines()})
    return {number: where for number, where in found[1].items() if found[0].get(number) != where}


class TestDescriptors:
    """Each descriptor gets its number, even if the number was in use."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> Iterator[list[tuple[int, str]]]:
        """Give open files: their descriptors and their paths."""
        with ExitStack() as stack:
            names = [tmp_path / name for name in ("a", "b", "c", "d")]
            yield [(stack.enter_context(name.open("w")).fileno(), str(name)) for name in names]

    def test_child_gets_exactly_the_given_descriptors(self, files: list[tuple[int, str]]) -> None:
        """They are numbered from 3 up, as LISTEN_FDS requires; no other descriptor of cohabit is open in the child."""
        found = open_descriptors(descriptors=tuple((fd, 3 + i) for i, (fd, _) in enumerate(files)))
        assert found == {3 + i: path for i, (_, path) in enumerate(files)}

    def test_numbers_that_are_exchanged(self, files: list[tuple[int, str]]) -> None:
        """Each descriptor moves to the number of the next one, the last to the number of the first."""
        numbers = [fd for fd, _ in files]
        wanted = tuple(zip(numbers, [*numbers[1:], numbers[0]], strict=True))
        expected = {target: path for (_, target), (_, path) in zip(wanted, files, strict=True)}
        assert open_descriptors(descriptors=wanted) == expected

    def test_a_number_that_stays(self, files: list[tuple[int, str]]) -> None:
        """A descriptor that already has its number is passed, too."""
        fd, path = files[0]
        assert open_descriptors(descriptors=((fd, fd),)) == {fd: path}

    def test_every_number_around_the_error_pipe(self, files: list[tuple[int, str]]) -> None:
        """A failed exec is reported whatever number the error pipe has."""
        fd, _ = files[0]
        wanted = tuple((fd, number) for number in range(3, 40))
        assert set(open_descriptors(descriptors=wanted)) == set(range(3, 40))
        ended = run("/no/such/program", descriptors=wanted)
        assert (ended.code, "does not exist" in ended.why) == (127, True)

    def test_stdio_may_overlap(self) -> None:
        """Descriptors that exchange their numbers."""
        script = "import os; os.write(4, b'four '); os.write(3, b'three')"
        with ExitStack() as stack:
            pipes = [os.pipe() for _ in range(2)]
            for fd in (fd for pipe in pipes for fd in pipe):
                stack.callback(os.close, fd)
            ended = run(*PYTHON, script, descriptors=((pipes[0][1], 4), (pipes[1][1], 3)))
            assert ended == Ended("", 0)
            assert (os.read(pipes[0][0], 9), os.read(pipes[1][0], 9)) == (b"four ", b"three")


def test_a_listener_finds_its_own_pid_and_the_names() -> None:
    """LISTEN_PID is the pid of the command itself after the exec, and the socket is usable."""
    script = (
        "import os, socket\n"
        "print(os.environ['LISTEN_FDS'], os.environ['LISTEN_PID'] == str(os.getpid()), os.environ['LISTEN_FDNAMES'])\n"
        "print(os.get_blocking(3), socket.socket(fileno=3).getsockname()[1])"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = run(*PYTHON, script, descriptors=((server.fileno(), 3),), listen_names=("web",))
        assert ended.out.split() == ["1", "True", "web", "True", str(server.getsockname()[1])], ended


class TestLimits:
    """Resource limits as the kernel reports them."""

    def test_each_is_set(self) -> None:
        """ulimits, oom_score_adj, nice and umask, read back by the child."""
        script = (
            "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj; nice; umask; cat /proc/self/autogroup"
        )
        ended = limited(
            "sh",
            "-c",
            script,
            ulimits=((resource.RLIMIT_NOFILE, 100, 200), (resource.RLIMIT_CORE, 0, 0)),
            oom_score_adj=300,
            nice=7,
            umask=0o027,
        )
        found = ended.out.split("\n")
        assert found[:6] == ["100", "200", "0", "300", "7", "0027"], ended
        assert not os.path.exists("/proc/self/autogroup") or found[6].endswith("nice 7")

    def test_an_unlimited_one(self) -> None:
        """-1 means unlimited."""
        ended = limited("sh", "-c", "ulimit -c", ulimits=((resource.RLIMIT_CORE, -1, -1),))
        assert ended.out == "unlimited\n"

    def test_limits_are_set_before_the_user_changes(self) -> None:
        """Settings that need root are applied, and the user cannot undo them."""
        ended = limited("sh", "-c", "nice; id -u; ulimit -Sn", nice=-3, ulimits=((7, 64, 64),), identity=USER)
        assert ended.out.split() == ["-3", "12345", "64"], ended

    def test_raised_descriptor_limit_is_restored(self) -> None:
        """The limit of open files that cohabit raised for itself is restored unless the service sets its own."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert limited("sh", "-c", "ulimit -Sn", given=(77, hard)).out == "77\n"
        assert limited("sh", "-c", "ulimit -Sn", given=(77, hard), ulimits=((7, 55, hard),)).out == "55\n"

    def test_refused_limit_is_named(self) -> None:
        """If the kernel refuses a limit, the error names the limit, and the command does not run."""
        before = ("ulimits", lambda: resource.setrlimit(resource.RLIMIT_NPROC, (10, 10)))
        user = ("user", lambda: os.setresuid(12345, 12345, 12345))
        raised, _ = limits.steps(Limits(ulimits=((resource.RLIMIT_NPROC, 20, 20),)))
        ended = run("true", before_user=[before, user, *raised])
        assert ended == Ended("", 71, "cannot set its ulimits: nproc 20:20 is more than the container permits")


class TestPrivileges:
    """Capabilities and no_new_privs."""

    def test_all_capabilities_are_dropped(self) -> None:
        """From all five sets, also for root."""
        ended = limited("cat", "/proc/self/status", cap_drop=EVERY)
        assert {int(status_of(ended.out, f"Cap{name}"), 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}

    def test_only_named_capabilities_are_dropped(self) -> None:
        """The others are unchanged."""
        own = Path("/proc/self/status").read_text()
        ended = limited("cat", "/proc/self/status", cap_drop=(13, 40))
        for name in ("CapPrm", "CapEff", "CapBnd"):
            expected = int(status_of(own, name), 16) & ~(1 << 13 | 1 << 40)
            assert int(status_of(ended.out, name), 16) == expected, name

    def test_inherited_capabilities_are_dropped_too(self) -> None:
        """Inheritable and ambient capabilities, which a runtime may have set, would survive an exec."""

        def inherit() -> None:
            header_words = privileges._words()
            header = (0x20080522).to_bytes(4, sys.byteorder) + bytes(4)
            privileges._call("capget", header, header_words)
            header_words[2], header_words[5] = header_words[1], header_words[4]
            assert privileges._call("capset", header, header_words) == 0
            for number in (13, 40):
                assert privileges._call("prctl", 47, 2, number, 0, 0) == 0  # PR_CAP_AMBIENT_RAISE

        before, after = limits.steps(Limits(cap_drop=(40,)))
        ended = run("cat", "/proc/self/status", before_user=[("inherit", inherit), *before], after_user=after)
        for name in ("CapInh", "CapAmb"):
            found = int(status_of(ended.out, name), 16)
            assert (found >> 13 & 1, found >> 40 & 1) == (1, 0), name

    def test_setuid_and_setgid_are_dropped_although_the_user_changes(self) -> None:
        """The bounding set is reduced before the user changes, while this is still permitted."""
        ended = limited("cat", "/proc/self/status", cap_drop=EVERY, identity=USER)
        assert status_of(ended.out, "Uid").split() == ["12345"] * 4
        assert status_of(ended.out, "Groups").split() == ["12346", "12347"]
        assert int(status_of(ended.out, "CapBnd"), 16) == 0

    def test_root_without_capabilities_has_no_special_access(self, tmp_path: Path) -> None:
        """It cannot read another user's files."""
        file = tmp_path / "file"
        file.write_text("x")
        os.chown(file, 1, 1)
        file.chmod(0o600)
        tmp_path.chmod(0o755)
        assert limited("cat", str(file)).code == 0
        assert limited("cat", str(file), cap_drop=EVERY).code == 1

    @pytest.mark.parametrize(
        "more", [{}, {"no_new_privileges": True}, {"cap_drop": tuple(n for n in EVERY if n != 10)}]
    )
    def test_a_user_has_exactly_the_ambient_capabilities(self, more: dict[str, Any]) -> None:
        """Those of the file, in all sets but the bounding set, and after the next exec, too."""
        ended = limited("sh", "-c", "cat /proc/self/status", ambient=(("NET_BIND_SERVICE", 10),), identity=USER, **more)
        assert status_of(ended.out, "Uid").split() == ["12345"] * 4, ended
        found = [int(status_of(ended.out, f"Cap{name}"), 16) for name in ("Inh", "Prm", "Eff", "Amb")]
        assert found == [1 << 10] * 4

    def test_a_user_without_ambient_capabilities_has_none(self) -> None:
        """Nor a process that is not for them, such as a hook with a user of its own."""
        before, after = limits.steps(Limits(ambient=(("NET_BIND_SERVICE", 10),)), ambient=False)
        for ended in (
            limited("cat", "/proc/self/status", identity=USER),
            run("cat", "/proc/self/status", before_user=before, after_user=after, identity=USER),
        ):
            assert [int(status_of(ended.out, f"Cap{name}"), 16) for name in ("Prm", "Eff", "Amb")] == [0] * 3

    def test_an_ambient_capability_that_cannot_be_given_is_named(self) -> None:
        """The command does not run with less than what the file says."""
        before, after = limits.steps(Limits(ambient=(("CHOWN", 0), ("NET_BIND_SERVICE", 10))))
        drop = ("drop", lambda: privileges.drop((10,)))
        ended = run("true", before_user=[*before, drop], after_user=after, identity=USER)
        expected = "cannot give it its ambient capabilities: cohabit does not have NET_BIND_SERVICE"
        assert (ended.code, ended.why[: len(expected)]) == (71, expected)

    @pytest.mark.parametrize(
        ("fails", "error"),
        [
            (("prctl", 8), "the kernel refuses to keep capabilities"),
            (("capget",), "the kernel has no capget"),
            (("capset",), "the kernel refuses NET_BIND_SERVICE"),
            (("prctl", 47, 2), "the kernel refuses NET_BIND_SERVICE (securebits"),
            (("prctl", 47), "the kernel has no ambient capabilities, for NET_BIND_SERVICE"),
        ],
    )
    def test_each_system_call_may_fail(
        self, monkeypatch: pytest.MonkeyPatch, fails: tuple[object, ...], error: str
    ) -> None:
        """With a message that says what the kernel does not permit. The command does not run."""
        real = privileges._call

        def call(function: str, *arguments: Any) -> int:
            return -1 if (function, *arguments)[: len(fails)] == fails else real(function, *arguments)

        monkeypatch.setattr(privileges, "_call", call)
        ended = limited("true", ambient=(("NET_BIND_SERVICE", 10),), identity=USER)
        assert (ended.out, ended.code) == ("", 71)
        assert ended.why.startswith(f"cannot give it its ambient capabilities: {error}")

    def test_ambient_capabilities_do_not_help_to_remove_files(self) -> None:
        """A step for the plain user runs before it has them."""
        step = ("look", lambda: os.write(1, Path("/proc/self/status").read_bytes()))
        before, after = limits.steps(Limits(ambient=(("CHOWN", 0),), no_new_privileges=True))
        names = [name for name, _ in limits.without_ambient(after, step)]
        assert names == ["look", limits.STEP_AMBIENT, "forbid it new privileges"]
        assert [name for name, _ in limits.without_ambient([], step)] == ["look"]
        ended = run("true", before_user=before, after_user=limits.without_ambient(after, step), identity=USER)
        assert int(status_of(ended.out, "CapEff"), 16) == 0

    def test_no_new_privileges(self) -> None:
        """The flag is set only if requested."""
        assert status_of(limited("cat", "/proc/self/status").out, "NoNewPrivs") == "0"
        assert status_of(limited("cat", "/proc/self/status", no_new_privileges=True).out, "NoNewPrivs") == "1"

    def test_dropping_without_cap_setpcap_is_an_error(self) -> None:
        """Dropping capabilities from the bounding set requires CAP_SETPCAP."""
        before, _ = limits.steps(Limits(cap_drop=(13,)))
        user = ("user", lambda: os.setresuid(12345, 12345, 12345))
        ended = run("true", before_user=[user, *before])
        assert ended == Ended("", 71, "cannot drop its capabilities: this needs root (CAP_SETPCAP)")


class TestSecrets:
    """X_FILE: the text of a file as a variable. The child reads the file while it is still root."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        """Give a secret that only root can read."""
        file = tmp_path / "secret"
        file.write_text("hunter2\n")
        file.chmod(0o400)
        return file

    def test_the_user_gets_the_text_of_a_file_that_it_cannot_read(self, secret: Path) -> None:
        """Without the newline at its end."""
        script = f'echo "[$PASSWORD]"; cat {secret} 2>/dev/null || echo no'
        ended = run("sh", "-c", script, secrets=SecretFiles({"PASSWORD": str(secret)}), identity=USER)
        assert ended.out.split() == ["[hunter2]", "no"]

    @pytest.mark.parametrize(
        ("text", "value"), [(b"", ""), (b"\n", ""), (b" a\nb \n\n", " a\nb "), (b"a\r\n", "a\r"), (b"\xff\n", "\udcff")]
    )
    def test_trailing_newlines_are_removed_as_in_a_shell(self, secret: Path, text: bytes, value: str) -> None:
        """All trailing newlines are removed, as with $(cat FILE), and nothing else; bytes are unchanged."""
        secret.write_bytes(text)
        script = "import os; print(ascii(os.environ['X']))"
        assert run(*PYTHON, script, secrets=SecretFiles({"X": str(secret)})).out == ascii(value) + "\n"

    @pytest.mark.parametrize(
        ("text", "says"), [(b"pass\0word", "zero byte"), (b"password" * 20_000, "too long for a variable")]
    )
    def test_invalid_variable_is_reported_without_its_text(self, secret: Path, text: bytes, says: str) -> None:
        """The message names the file."""
        secret.write_bytes(text)
        ended = run("true", secrets=SecretFiles({"X": str(secret)}))
        assert ended.code == 126
        assert ended.why.startswith(f"cannot read its secret: {secret}: ")
        assert says in ended.why
        assert "pass" not in ended.why.replace(str(secret), "")

    def test_internal_error_never_quotes_a_secret(self, secret: Path) -> None:
        """Once secret texts are in memory, an unexpected error is reported only by its type."""

        def fail() -> None:
            raise ValueError(secret.read_text())

        ended = run("true", secrets=SecretFiles({"X": str(secret)}), before_user=[("do", fail)])
        assert ended.why == "cannot do: ValueError"

    def test_missing_secret_is_an_error(self, tmp_path: Path) -> None:
        """The command does not run without its secret. A directory or a pipe without a writer is not a secret."""
        os.mkfifo(tmp_path / "pipe")
        gone = run("true", secrets=SecretFiles({"X": str(tmp_path / "gone")}))
        assert gone == Ended("", 126, f"cannot read its secret: {tmp_path}/gone: No such file or directory")
        folder = run("true", secrets=SecretFiles({"X": str(tmp_path)}))
        assert folder.why == f"cannot read its secret: {tmp_path}: it is not a regular file"
        pipe = run("true", secrets=SecretFiles({"X": str(tmp_path / "pipe")}))
        assert pipe.why == f"cannot read its secret: {tmp_path}/pipe: it is not a regular file"


def test_a_cgroup_is_created_and_entered(tmp_path: Path) -> None:
    """The child writes its own pid into the cgroup. If a cgroup has no room, other rules find the owner."""
    assert run("true", cgroup=str(tmp_path / "new" / "cgroup.procs")).code == 0
    assert (tmp_path / "new").is_dir()
    procs = tmp_path / "cgroup.procs"
    procs.write_text("")
    assert run("true", cgroup=str(procs)).code == 0
    assert procs.read_text() == "0"


def test_own_user_needs_no_privileges() -> None:
    """Started as uid 12345, `user: 12345` succeeds; another group fails."""
    program = (
        "import os, sys\n"
        "from linux.spawned import run\n"
        "from cohabit.plan.model import Credentials\n"
        "os.setgroups([12347]); os.setresgid(*[12346] * 3); os.setresuid(*[12345] * 3)\n"
        "print(run('id', '-u', identity=Credentials(12345, 12346, (12346, 12347))))\n"
        "print(run('id', '-u', identity=Credentials(12345, 12346, (12346, 7))))\n"
    )
    tests = os.path.dirname(os.path.dirname(__file__))
    path = f"{os.path.dirname(os.path.dirname(MAIN))}:{tests}"
    done = subprocess.run(
        [*PYTHON[:1], "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    first, second = done.stdout.splitlines() or (done.stderr, "")
    assert first == str(Ended("12345\n", 0))
    assert "cannot become user" in second


@pytest.mark.parametrize("user", [USER, Credentials(0, 0, (0, 12347))], ids=["another user", "another group"])
def test_stdout_and_stderr_can_be_reopened(user: Credentials) -> None:
    """/dev/stdout and /dev/stderr can be opened by any user of a service, as log files that link to them require."""
    reader, writer = os.pipe()
    errors, error_writer = os.pipe()
    poller = Poller()
    output = Output(context_of(poller), Sink(writer), Sink(error_writer))
    output.name_services(["web"])
    (stdout, stderr), _ = output.reader.open(Service("web", ("true",)), user.uid)
    null = os.open(os.devnull, os.O_RDWR)
    start = described("sh", "-c", "id -u >/dev/stdout; id -G >/dev/stderr", identity=user, stdio=(null, stdout, stderr))
    pid, exec_error = spawn.spawn(start)
    os.waitpid(pid, 0)
    for fd in (stdout, stderr, null, exec_error):
        os.close(fd)
    output.finish(lambda: 1.0)
    groups = " ".join(map(str, dict.fromkeys((user.gid, *user.groups))))
    assert os.read(reader, 99).decode() == f"web     | {user.uid}\n"
    assert os.read(errors, 99).decode() == f"web     | {groups}\n"
    for fd in (reader, writer, errors, error_writer):
        os.close(fd)
    poller.close()


@pytest.mark.parametrize("where", ["foreground", "background"])
def test_foreground_is_passed_only_if_owned(start: Start, where: str) -> None:
    """The child stays in our session, in its own process group, which is the foreground only if ours was."""
    container = start(*program("foreground.py", where), above=("setsid", "--ctty"), terminal=True)
    assert container.wait() == 0
    *children, (session, own) = [line.split() for line in container.text.splitlines()]
    assert len(children) == 2
    for pid, group, its_session, in_front in children:
        assert (group, its_session, in_front == pid) == (pid, session, where == "foreground")
    assert own == str(where == "foreground")


def test_foreground_without_a_terminal_is_ignored(start: Start) -> None:
    """A request for the foreground without a terminal is ignored, and the command runs."""
    container = start(*program("foreground.py", "foreground"), above=("setsid",))
    assert container.wait() == 0
    assert [line.split()[-1] for line in container.text.splitlines()] == ["-1", "-1", "False"]


def test_function_runs_in_a_child_as_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function runs under the user's effective identity only, in another process; it returns errors and timeouts."""
    reader, writer = os.pipe()

    def write_identity() -> None:
        os.write(writer, f"{os.getresuid()} {os.getegid()} {os.getgroups()} {os.getpid()}".encode())

    one_call.in_child(write_identity, USER)
    os.close(writer)
    with open(reader, encoding="ascii") as file:
        identity, _, pid = file.read().rpartition(" ")
    assert identity == "(0, 12345, 0) 12346 [12346, 12347]"
    assert int(pid) != os.getpid()

    def in_use() -> None:
        raise OSError(98, "in use")

    def bug() -> None:
        raise ValueError

    for act, number in ((in_use, 98), (bug, 22)):
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            one_call.in_child(act, None)
        assert caught.value.errno == number
    monkeypatch.setattr(one_call, "_CHILD_SECONDS", 0.01)
    with pytest.raises(TimeoutError, match="did not end"):
        one_call.in_child(lambda: select.poll().poll(), None)
    assert spawn.exit_code(os.waitpid(-1, 0)[1]) == 128 + 9
