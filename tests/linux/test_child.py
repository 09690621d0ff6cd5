"""Between fork and exec: what a child is given and what is taken from it, on the real kernel."""

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
from cohabit.reactor.processes import limits, one_call, privileges, spawn
from cohabit.reactor.processes.secrets import SecretFiles
from linux.conftest import Start
from linux.run import MAIN, program
from linux.spawned import PYTHON, Ended, described, run, status_of

USER = Credentials(12345, 12346, (12346, 12347))
EVERY = tuple(range(41))

# What is open beyond stdio, and where it leads.
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


def limited(*argv: str, given: tuple[int, int] | None = None, **asked: Any) -> Ended:
    """Run it with these Limits."""
    wanted = {name: asked.pop(name) for name in list(asked) if name in Limits._fields}
    before, after = limits.steps(Limits(**wanted), given)
    return run(*argv, before_user=before, after_user=after, **asked)


def open_descriptors(**asked: Any) -> dict[int, str]:
    """What a child finds open beyond stdio, and where it leads, but for what the tests themselves were given."""
    found = []
    for more in ({}, asked):
        ended = run(*PYTHON, LOOK, **more)
        assert ended.code == 0, ended
        found.append({int(line.split()[0]): line.split()[1] for line in ended.out.splitlines()})
    return {number: where for number, where in found[1].items() if found[0].get(number) != where}


class TestDescriptors:
    """Each descriptor arrives at its number, whoever stood there before."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> Iterator[list[tuple[int, str]]]:
        """Give open files: their numbers and their paths."""
        with ExitStack() as stack:
            names = [tmp_path / name for name in ("a", "b", "c", "d")]
            yield [(stack.enter_context(name.open("w")).fileno(), str(name)) for name in names]

    def test_they_arrive_and_no_other_does(self, files: list[tuple[int, str]]) -> None:
        """From 3 up, as LISTEN_FDS wants them; nothing else of ours is open in the child."""
        found = open_descriptors(descriptors=tuple((fd, 3 + i) for i, (fd, _) in enumerate(files)))
        assert found == {3 + i: path for i, (_, path) in enumerate(files)}

    def test_numbers_that_change_places(self, files: list[tuple[int, str]]) -> None:
        """Each goes where the next one stands, the last where the first stood."""
        numbers = [fd for fd, _ in files]
        wanted = tuple(zip(numbers, [*numbers[1:], numbers[0]], strict=True))
        expected = {target: path for (_, target), (_, path) in zip(wanted, files, strict=True)}
        assert open_descriptors(descriptors=wanted) == expected

    def test_a_number_that_stays(self, files: list[tuple[int, str]]) -> None:
        """A descriptor that is where it shall be is handed over, too."""
        fd, path = files[0]
        assert open_descriptors(descriptors=((fd, fd),)) == {fd: path}

    def test_every_number_around_the_error_pipe(self, files: list[tuple[int, str]]) -> None:
        """Wherever the pipe is that tells of a failed exec, it still does."""
        fd, _ = files[0]
        wanted = tuple((fd, number) for number in range(3, 40))
        assert set(open_descriptors(descriptors=wanted)) == set(range(3, 40))
        ended = run("/no/such/program", descriptors=wanted)
        assert (ended.code, "does not exist" in ended.why) == (127, True)

    def test_stdio_may_overlap(self) -> None:
        """Descriptors that become one another's number."""
        script = "import os; os.write(4, b'four '); os.write(3, b'three')"
        with ExitStack() as stack:
            pipes = [os.pipe() for _ in range(2)]
            for fd in (fd for pipe in pipes for fd in pipe):
                stack.callback(os.close, fd)
            ended = run(*PYTHON, script, descriptors=((pipes[0][1], 4), (pipes[1][1], 3)))
            assert ended == Ended("", 0)
            assert (os.read(pipes[0][0], 9), os.read(pipes[1][0], 9)) == (b"four ", b"three")


def test_a_listener_finds_its_own_pid_and_the_names() -> None:
    """LISTEN_PID is the pid of the command itself, through the exec; the socket is usable as it is."""
    script = (
        "import os, socket\n"
        "print(os.environ['LISTEN_FDS'], os.environ['LISTEN_PID'] == str(os.getpid()), os.environ['LISTEN_FDNAMES'])\n"
        "print(os.get_blocking(3), socket.socket(fileno=3).getsockname()[1])"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = run(*PYTHON, script, descriptors=((server.fileno(), 3),), listen_names=("web",))
        assert ended.out.split() == ["1", "True", "web", "True", str(server.getsockname()[1])], ended


class TestLimits:
    """What the kernel holds against it."""

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
        """-1 is unlimited."""
        ended = limited("sh", "-c", "ulimit -c", ulimits=((resource.RLIMIT_CORE, -1, -1),))
        assert ended.out == "unlimited\n"

    def test_they_come_before_the_user(self) -> None:
        """What only root may do is done, and the user cannot undo it."""
        ended = limited("sh", "-c", "nice; id -u; ulimit -Sn", nice=-3, ulimits=((7, 64, 64),), identity=USER)
        assert ended.out.split() == ["-3", "12345", "64"], ended

    def test_what_we_raised_for_ourselves_is_given_back(self) -> None:
        """Unless the service asks for a number of its own."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert limited("sh", "-c", "ulimit -Sn", given=(77, hard)).out == "77\n"
        assert limited("sh", "-c", "ulimit -Sn", given=(77, hard), ulimits=((7, 55, hard),)).out == "55\n"

    def test_one_that_may_not_be_raised_says_which(self) -> None:
        """The kernel's refusal comes back with the limit's name, and the command never runs."""
        before = ("ulimits", lambda: resource.setrlimit(resource.RLIMIT_NPROC, (10, 10)))
        user = ("user", lambda: os.setresuid(12345, 12345, 12345))
        raised, _ = limits.steps(Limits(ulimits=((resource.RLIMIT_NPROC, 20, 20),)))
        ended = run("true", before_user=[before, user, *raised])
        assert ended == Ended("", 71, "cannot set its ulimits: nproc 20:20 is more than the container permits")


class TestPrivileges:
    """Capabilities and no_new_privs."""

    def test_every_capability_goes(self) -> None:
        """From all five sets, of root itself."""
        ended = limited("cat", "/proc/self/status", cap_drop=EVERY)
        assert {int(status_of(ended.out, f"Cap{name}"), 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}

    def test_only_those_that_are_named_go(self) -> None:
        """The rest is as it was."""
        ours = Path("/proc/self/status").read_text()
        ended = limited("cat", "/proc/self/status", cap_drop=(13, 40))
        for name in ("CapPrm", "CapEff", "CapBnd"):
            expected = int(status_of(ours, name), 16) & ~(1 << 13 | 1 << 40)
            assert int(status_of(ended.out, name), 16) == expected, name

    def test_inherited_ones_go_too(self) -> None:
        """What a runtime has put into the inheritable and ambient sets would survive an exec otherwise."""

        def inherit() -> None:
            words = privileges._words()
            header = (0x20080522).to_bytes(4, sys.byteorder) + bytes(4)
            privileges._call("capget", header, words)
            words[2], words[5] = words[1], words[4]
            assert privileges._call("capset", header, words) == 0
            for number in (13, 40):
                assert privileges._call("prctl", 47, 2, number, 0, 0) == 0  # PR_CAP_AMBIENT_RAISE

        before, after = limits.steps(Limits(cap_drop=(40,)))
        ended = run("cat", "/proc/self/status", before_user=[("inherit", inherit), *before], after_user=after)
        for name in ("CapInh", "CapAmb"):
            found = int(status_of(ended.out, name), 16)
            assert (found >> 13 & 1, found >> 40 & 1) == (1, 0), name

    def test_setuid_and_setgid_may_go_although_the_user_changes(self) -> None:
        """Becoming the user comes first; the bounding set is emptied before, while we still may."""
        ended = limited("cat", "/proc/self/status", cap_drop=EVERY, identity=USER)
        assert status_of(ended.out, "Uid").split() == ["12345"] * 4
        assert status_of(ended.out, "Groups").split() == ["12346", "12347"]
        assert int(status_of(ended.out, "CapBnd"), 16) == 0

    def test_root_without_capabilities_is_nobody_special(self, tmp_path: Path) -> None:
        """It cannot read what belongs to another."""
        file = tmp_path / "file"
        file.write_text("x")
        os.chown(file, 1, 1)
        file.chmod(0o600)
        tmp_path.chmod(0o755)
        assert limited("cat", str(file)).code == 0
        assert limited("cat", str(file), cap_drop=EVERY).code == 1

    def test_no_new_privileges(self) -> None:
        """The flag is set, and only if it is asked for."""
        assert status_of(limited("cat", "/proc/self/status").out, "NoNewPrivs") == "0"
        assert status_of(limited("cat", "/proc/self/status", no_new_privileges=True).out, "NoNewPrivs") == "1"

    def test_without_the_capability_to_do_so_it_is_an_error(self) -> None:
        """Dropping from the bounding set takes CAP_SETPCAP."""
        before, _ = limits.steps(Limits(cap_drop=(13,)))
        user = ("user", lambda: os.setresuid(12345, 12345, 12345))
        ended = run("true", before_user=[user, *before])
        assert ended == Ended("", 71, "cannot drop its capabilities: this needs root (CAP_SETPCAP)")


class TestSecrets:
    """X_FILE: the text of a file as a variable, read by the child while it is still root."""

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
    def test_what_a_shell_would_make_of_it(self, secret: Path, text: bytes, value: str) -> None:
        """All newlines at the end go, as with $(cat FILE), and nothing else; bytes stay bytes."""
        secret.write_bytes(text)
        script = "import os; print(ascii(os.environ['X']))"
        assert run(*PYTHON, script, secrets=SecretFiles({"X": str(secret)})).out == ascii(value) + "\n"

    @pytest.mark.parametrize(
        ("text", "says"), [(b"pass\0word", "zero byte"), (b"password" * 20_000, "too long for a variable")]
    )
    def test_what_cannot_be_a_variable_is_told_without_its_text(self, secret: Path, text: bytes, says: str) -> None:
        """The message names the file."""
        secret.write_bytes(text)
        ended = run("true", secrets=SecretFiles({"X": str(secret)}))
        assert ended.code == 126
        assert ended.why.startswith(f"cannot read its secret: {secret}: ")
        assert says in ended.why
        assert "pass" not in ended.why.replace(str(secret), "")

    def test_an_error_of_ours_never_quotes_one(self, secret: Path) -> None:
        """Once texts are there, an unexpected error is told by its kind alone."""

        def fail() -> None:
            raise ValueError(secret.read_text())

        ended = run("true", secrets=SecretFiles({"X": str(secret)}), before_user=[("do", fail)])
        assert ended.why == "cannot do: ValueError"

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        """The command never runs without its secret; a directory or a pipe without a writer is none."""
        os.mkfifo(tmp_path / "pipe")
        gone = run("true", secrets=SecretFiles({"X": str(tmp_path / "gone")}))
        assert gone == Ended("", 126, f"cannot read its secret: {tmp_path}/gone: No such file or directory")
        folder = run("true", secrets=SecretFiles({"X": str(tmp_path)}))
        assert folder.why == f"cannot read its secret: {tmp_path}: it is not a regular file"
        pipe = run("true", secrets=SecretFiles({"X": str(tmp_path / "pipe")}))
        assert pipe.why == f"cannot read its secret: {tmp_path}/pipe: it is not a regular file"


def test_a_cgroup_is_made_and_entered(tmp_path: Path) -> None:
    """What is written says "this process". Where there is no room in a cgroup, other rules find whose it is."""
    assert run("true", cgroup=str(tmp_path / "new" / "cgroup.procs")).code == 0
    assert (tmp_path / "new").is_dir()
    procs = tmp_path / "cgroup.procs"
    procs.write_text("")
    assert run("true", cgroup=str(procs)).code == 0
    assert procs.read_text() == "0"


def test_who_is_the_user_already_needs_no_rights() -> None:
    """Started as uid 12345, `user: 12345` is no reason to fail; another group is."""
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
def test_stdout_and_stderr_open_anew(user: Credentials) -> None:
    """/dev/stdout and /dev/stderr, as log files that are links to them demand, for whoever the service runs as."""
    reader, writer = os.pipe()
    errors, error_writer = os.pipe()
    output = Output(select.epoll(), Sink(writer), Sink(error_writer))
    output.name_services(["web"])
    (stdout, stderr), _ = output.open(Service("web", ("true",)), user.uid)
    null = os.open(os.devnull, os.O_RDWR)
    start = described("sh", "-c", "id -u >/dev/stdout; id -G >/dev/stderr", identity=user, stdio=(null, stdout, stderr))
    pid, told = spawn.spawn(start)
    os.waitpid(pid, 0)
    for fd in (stdout, stderr, null, told):
        os.close(fd)
    output.finish(lambda: 1.0)
    groups = " ".join(map(str, dict.fromkeys((user.gid, *user.groups))))
    assert os.read(reader, 99).decode() == f"web     | {user.uid}\n"
    assert os.read(errors, 99).decode() == f"web     | {groups}\n"
    for fd in (reader, writer, errors, error_writer):
        os.close(fd)


@pytest.mark.parametrize("where", ["foreground", "background"])
def test_the_foreground_is_lent_and_never_taken(start: Start, where: str) -> None:
    """It stays in our session, in a process group of its own, which is in the foreground exactly if we were."""
    life = start(*program("foreground.py", where), above=("setsid", "--ctty"), terminal=True)
    assert life.wait() == 0
    *children, (session, ours) = [line.split() for line in life.text.splitlines()]
    assert len(children) == 2
    for pid, group, its_session, in_front in children:
        assert (group, its_session, in_front == pid) == (pid, session, where == "foreground")
    assert ours == str(where == "foreground")


def test_no_terminal_is_no_reason_to_fail(start: Start) -> None:
    """Who asks for the foreground where there is none runs all the same."""
    life = start(*program("foreground.py", "foreground"), above=("setsid",))
    assert life.wait() == 0
    assert [line.split()[-1] for line in life.text.splitlines()] == ["-1", "-1", "False"]


def test_one_thing_done_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the user's effective identity only, with another pid; what goes wrong comes back, also if it never ends."""
    reader, writer = os.pipe()

    def emit() -> None:
        os.write(writer, f"{os.getresuid()} {os.getegid()} {os.getgroups()} {os.getpid()}".encode())

    one_call.in_child(emit, USER)
    os.close(writer)
    with open(reader, encoding="ascii") as file:
        told, _, pid = file.read().rpartition(" ")
    assert told == "(0, 12345, 0) 12346 [12346, 12347]"
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
