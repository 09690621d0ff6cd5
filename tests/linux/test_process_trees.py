"""Process trees on the real kernel, with cgroups and without: found, distinguished, adopted and ended.

Each test sends Python expressions to programs/trees.py, which owns the trees in its own namespaces. With cgroups it
also has its own cgroup, which is removed afterwards together with its processes.
"""

import ast
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from linux import places
from linux.conftest import Start
from linux.run import REPOSITORY, Run, program, shell

UID = 64_123  # used by no other process, because its processes are counted
LIMIT = 32  # processes of a fork bomb: each of them keeps a processor busy, and no round of signals reaches all


@pytest.fixture(scope="session")
def box() -> Iterator[str]:
    """Give the directory of a cgroup for the tests alone; skip if none can be created."""
    with places.cgroup_box() as directory:
        if not directory:
            pytest.skip("no cgroup of version 2 can be made here")
        yield directory


class Console:
    """Evaluate expressions in programs/trees.py."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.run.until_printed("ready")

    def __call__(self, expression: str) -> Any:
        """Return the value of an expression."""
        stdin = self.run.process.stdin
        assert stdin
        before = self.run.out.count(b"\n")
        stdin.write(expression.encode() + b"\n")
        stdin.flush()
        self.run.until(lambda: self.run.out.count(b"\n") > before, expression)
        return ast.literal_eval(self.run.out.split(b"\n")[before].decode())

    def end(self) -> None:
        """End the program and all processes in its namespace."""
        assert self.run.process.stdin
        self.run.process.stdin.close()
        self.run.wait()

    def until(self, expression: str, value: object) -> None:
        """Wait until an expression has this value."""
        self.run.until(lambda: self(expression) == value, f"{expression} to be {value!r}")


@pytest.fixture(params=["cgroups", "cgroups before 5.14", "proc"])
def console(request: pytest.FixtureRequest, start: Start, process_1: bool) -> Console:
    """Give trees with cgroups (with cgroup.kill and without it) and without, as process 1 and not."""
    options: dict[str, Any] = {"process_1": process_1, "stdin": subprocess.PIPE}
    arguments: list[str] = []
    if request.param != "proc":
        options["setup"] = f"echo 0 > {request.getfixturevalue('box')}/cgroup.procs"
        arguments = ["cgroups"]
    console = Console(start(*program("trees.py", os.path.join(REPOSITORY, "src"), *arguments), **options))
    if "before" in request.param:
        console("setattr(trees.cgroups, 'kill', lambda key: False)")
    return console


def _start(console: Console, key: str, *command: str) -> int:
    return int(console(f"start({key!r}, *{command!r})"))


def test_orphans_are_distinguished(console: Console) -> None:
    """The orphans of a service, of its probe and of another service are distinguished, in whatever session they are."""
    for key, number in (("web", 81), ("web\0probe", 82), ("db", 83)):
        _start(console, key, *shell(f"setsid sleep 8{number} & sleep 7{number} & exit 0"))
    console.until("sorted(reap())", ["db", "web", "web\0probe"])
    console.until("(reap(), len(trees.leaders))[1]", 0)  # a shell may have ended after the last reap
    for key, number in (("web", 81), ("web\0probe", 82), ("db", 83)):
        console.until(f"commands(trees.orphans_of({key!r}))", [f"7{number}", f"8{number}"])
        assert console(f"[trees.owner(pid) for pid in trees.members({key!r})]") == [key, key]
    assert console("trees.owner(os.getpid()), trees.owner(2 ** 22 + 1)") == ("", None)


def test_owner_of_a_descendant(console: Console) -> None:
    """A grandchild with its own session and environment belongs to its main process."""
    _start(console, "web", *shell("env -i setsid sleep 8800 & exec sleep 1000"))
    console.until("[trees.owner(pid) for pid in living('8800')]", ["web"])


def test_kill_ends_the_tree_and_no_other(console: Console) -> None:
    """A tree in many sessions is gone after its kill; another one keeps running."""
    _start(console, "db", "sleep", "8801")
    _start(
        console, "web", *shell("for i in 1 2 3; do setsid sh -c 'setsid sleep 8802 & sleep 8802' & done; sleep 8802")
    )
    console.until("len(living('8802'))", 7)
    console("trees.signal('web', 9)")
    assert console("gone('web')")
    assert console("len(living('8802')), len(living('8801'))") == (0, 1)
    assert console("trees.lives('web'), trees.lives('db')") == (False, True)


def test_term_reaches_each_process(console: Console) -> None:
    """TERM goes to each process of the tree, also to a stopped one."""
    _start(console, "web", *shell("setsid sleep 8803 & sleep 8803 & exec sleep 8803"))
    console.until("len(living('8803'))", 3)
    console("[os.kill(pid, 19) for pid in living('8803')]")
    console("trees.signal('web', 15)")
    assert console("gone('web')")


def test_process_whose_first_thread_ended(console: Console) -> None:
    """A process that looks like a zombie but still has threads is found with its children, and is killed."""
    pid = _start(console, "web", *program("first_thread.py"))
    console.until(f"(proc.read_process({pid}).state, proc.read_process({pid}).lives)", ("Z", True))
    console(f"os.kill({pid}, 10)")
    console.until("commands(trees.members('web'))", ["", "8830"])
    console("trees.signal('web', 9)")
    assert console("gone('web')")


def test_hook_beside_its_service(console: Console) -> None:
    """A process left behind by a hook is noticed while the main process runs, which continues when it ends."""
    main = _start(console, "web", "sleep", "8804")
    _start(console, "web", *shell("sleep 8805 & exit 0"))
    console.until("len(trees.leaders)", 2)
    console.until("(reap(), len(trees.leaders))", ({"web"}, 1))
    assert console("trees.leaders") == {main: "web"}
    [left] = console("trees.orphans_of('web')")
    console(f"os.kill({left}, 9)")
    console.until("reap()", set())
    assert console("trees.orphans_of('web')") == []
    console("trees.ended('web')")
    console.until("commands(trees.members('web'))", ["8804"])


@pytest.mark.xdist_group("fork bombs")  # one at a time
@pytest.mark.parametrize("kind", ["grow", "grow-session", "hop", "hop-session"])
def test_fork_bomb_is_ended(console: Console, kind: str) -> None:
    """A fork bomb at its process limit is ended completely, and another service keeps running."""
    _start(console, "db", "sleep", "8806")
    _start(console, "web", *program("bomb.py", kind, str(LIMIT), str(UID)))
    several = LIMIT // (3 if kind.startswith("grow") else 8)  # of those that hop, most have just ended
    console.until(f"(reap(), len(living('{UID}')) > {several})[1]", True)
    console("trees.signal('web', 9)")
    assert console("gone('web')")
    assert console(f"len(living('{UID}')), len(living('8806'))") == (0, 1)


def test_end_of_all_trees(console: Console) -> None:
    """At the end all processes are ended, including unassigned ones, and no cgroup remains."""
    _start(console, "web", *shell("setsid env -i sleep 8807 & exec sleep 8807"))
    _start(console, "db", *program("bomb.py", "grow", "30", str(UID)))
    console.until("len(living('8807'))", 2)
    console("trees.signal_all(9)")
    console.until("(reap(), len(proc.all_processes()) <= 2 or len(living('8807')))[1]", True)
    console.until(f"(reap(), len(living('{UID}')) + len(living('8807')))[1]", 0)
    directory = console("trees.cgroups and trees.cgroups.directory")
    console.until("(reap(), trees.close(), trees.cgroups and trees.cgroups.directory)[2]", None)
    assert not directory or not os.path.exists(directory)


def test_trees_survive_a_re_execution(console: Console) -> None:
    """Afterwards the same orphans are known, the same cgroups are used, and a kill ends all processes."""
    _start(console, "web", *shell("setsid sleep 8808 & exit 0"))
    console.until("(reap(), len(trees.leaders))", ({"web"}, 0))
    assert console("cross()")
    console.until("commands(trees.members('web'))", ["8808"])
    console("trees.signal('web', 9)")
    assert console("gone('web')")
    _start(console, "web", "sleep", "8809")
    console.until("commands(trees.members('web'))", ["8809"])


# --- daemons ---------------------------------------------------------------------------------------------


DAEMONS = {
    "forks once": "setsid sleep 8811 &",
    "forks twice": "(setsid sh -c 'sleep 8811 & exit 0' &)",
    "takes its time": "(i=0; while [ $((i += 1)) -lt 3000 ]; do :; done; exec setsid sleep 8811) &",
    "leaves another one behind": "sleep 8812 & setsid sleep 8811 &",
}


@pytest.mark.parametrize("script", DAEMONS.values(), ids=DAEMONS.keys())
def test_daemon_is_found_and_becomes_the_main_process(console: Console, script: str) -> None:
    """A daemonized process is found and becomes the main process of its tree, and its exit is reported."""
    _start(console, "web", *shell(f"{script}\nexit 0"))
    pid = 0
    while not console(f"{pid} in trees.leaders"):  # an intermediate process may be found first: it ends, search again
        pid, why = console("find(Service('web', ('web',)))")
        assert why == ""
        assert console(f"trees.adopt('web', {pid})")
        console.until(f"(reap(), {pid} not in trees.leaders or commands([{pid}]) == ['8811'])[1]", True)
    assert console("trees.leaders") == {pid: "web"}
    console(f"os.kill({pid}, 9)")
    console.until("(reap(), len(trees.leaders))[1]", 0)
    console("trees.signal('web', 9)")
    assert console("gone('web')")


def test_daemon_is_found_by_its_pid_file(console: Console, tmp_path: os.PathLike[str]) -> None:
    """A late pid file, after a stale one, is waited for where no rule can identify the daemon."""
    path = os.path.join(tmp_path, "pid")
    with open(path, "w", encoding="ascii") as file:
        file.write("1\n")
    late = (
        f"i=0; while [ $((i += 1)) -lt 3000 ]; do :; done; echo $$ > {path}.new; mv {path}.new {path}; exec sleep 8813"
    )
    _start(console, "web", *shell(f"setsid sleep 8814 & setsid sh -c '{late}' & exit 0"))
    pid, why = console(f"find(Service('web', ('web',), pid_file={path!r}))")
    assert why == ""
    console.until(f"commands([{pid}])", ["8813"])


def test_pid_file_of_an_unrelated_process(console: Console, tmp_path: os.PathLike[str]) -> None:
    """A pid file that names an unrelated process is reported, and the daemon is found anyway."""
    other = _start(console, "db", "sleep", "8816")
    path = os.path.join(tmp_path, "pid")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{other}\n")
    _start(console, "web", *shell("setsid sleep 8815 & exit 0"))
    pid, why = console(f"find(Service('web', ('web',), pid_file={path!r}), refused=True)")
    assert f"{other} is not one of this service's" in why
    console.until(f"commands([{pid}])", ["8815"])  # its exec may not be done yet


# --- cgroups only ----------------------------------------------------------------------------------------


@pytest.fixture
def boxed(start: Start, box: str, process_1: bool) -> Console:
    """Give trees with cgroups."""
    arguments = program("trees.py", os.path.join(REPOSITORY, "src"), "cgroups")
    setup = f"echo 0 > {box}/cgroup.procs"
    return Console(start(*arguments, process_1=process_1, setup=setup, stdin=subprocess.PIPE))


def test_each_tree_has_its_cgroup(boxed: Console, box: str) -> None:
    """A process and its children are in their tree's cgroup below cohabit's; the cgroup is removed with the tree."""
    pid = _start(boxed, "cgroup.kill", *shell("sleep 8820 & exec sleep 8820"))
    boxed.until("len(living('8820'))", 2)
    where = boxed(f"proc.cgroup({pid})")
    assert where.startswith(boxed("proc.cgroup('self')") + "/cohabit-")
    assert where.endswith("/cgroup%2Ekill")
    assert len(boxed("trees.cgroups.members('cgroup.kill')")) == 2
    boxed("trees.signal('cgroup.kill', 9)")
    assert boxed("gone('cgroup.kill')")
    boxed.until("(trees.ended('cgroup.kill'), len(trees.cgroups._made))[1]", 0)
    assert not [directory for directory, _, _ in os.walk(box) if "%2E" in directory]


def test_children_cannot_leave_their_service(boxed: Console) -> None:
    """Without session, tracking mark and parent, a process is still assigned; /proc alone would leave it unassigned."""
    _start(boxed, "web", *shell("setsid env -i A=b sh -c 'sleep 8821 & exit 0' & exec sleep 1000"))
    boxed.until("(reap(), commands(trees.orphans_of('web')))[1]", ["8821"])


def test_cgroups_that_a_service_made(boxed: Console) -> None:
    """A service may create cgroups below its own, threaded ones too: all are searched, killed and removed."""
    divide = (
        "D=$1; mkdir $D/a $D/a/b $D/t; sleep 8822 & echo $! > $D/a/b/cgroup.procs; "
        "echo threaded > $D/t/cgroup.type; sleep 8822"
    )
    boxed("trees.entrance('web')")
    directory = boxed("trees.cgroups.directory")
    _start(boxed, "web", "sh", "-c", divide, "sh", f"{directory}/web")
    boxed.until("commands(trees.cgroups.members('web')).count('8822')", 2)
    boxed("trees.signal('web', 9)")
    assert boxed("gone('web')")
    boxed.until("(trees.ended('web'), len(trees.cgroups._made))[1]", 0)
    assert not os.path.exists(f"{directory}/web")


def test_process_that_left_the_cgroup_is_found(boxed: Console, box: str) -> None:
    """A child that was moved to another cgroup and created a session is killed with its tree."""
    away = f"echo 0 > {box}/away/cgroup.procs; exec sleep 8823"
    os.mkdir(f"{box}/away")
    _start(boxed, "web", *shell(f"setsid env -i A=b sh -c '{away}' & exec sleep 8823"))
    boxed.until("(len(living('8823')), len(trees.cgroups.members('web')))", (2, 1))
    boxed("trees.signal('web', 9)")
    assert boxed("gone('web')")
    boxed.until("(reap(), len(living('8823')))[1]", 0)
    os.rmdir(f"{box}/away")


def test_moving_cohabit_into_a_cgroup_does_not_kill_it(boxed: Console) -> None:
    """A service that moved cohabit into its own cgroup is killed, and cohabit is not."""
    boxed("trees.entrance('web')")
    directory = boxed("trees.cgroups.directory")
    us = boxed("os.getpid()")
    _start(boxed, "web", *shell(f"echo {us} > {directory}/web/cgroup.procs; setsid sleep 8824 & exec sleep 8824"))
    boxed.until("len(living('8824')), proc.cgroup('self').endswith('/web')", (2, True))
    boxed("trees.signal('web', 9)")
    assert boxed("gone('web')")
    assert boxed("len(living('8824'))") == 0


def test_process_of_another_namespace_in_a_cgroup(boxed: Console) -> None:
    """A process of another namespace, whose pid is shown as 0, is left alone; the 0 does not mean cohabit itself."""
    pid = _start(boxed, "web", "sleep", "8828")
    boxed.until("commands(trees.cgroups.members('web'))", ["8828"])
    with subprocess.Popen(["sleep", "8829"]) as unrelated:
        with open(f"{boxed('trees.cgroups.directory')}/web/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(unrelated.pid))
        assert boxed("trees.members('web')") == [pid]
        boxed("trees.signal('web', 15)")
        assert boxed("gone('web')")
        unrelated.kill()


def test_cgroups_in_a_cgroup_namespace(start: Start, box: str) -> None:
    """As in a container: cohabit's cgroup is the root of its namespace, mounted at the usual path."""
    setup = f"echo 0 > {box}/cgroup.procs; mkdir mnt"
    inner = ["unshare", "--cgroup", "--mount", "--", "sh", "-euc", 'mount -t cgroup2 none mnt; exec "$@"', "sh"]
    arguments = program("trees.py", os.path.join(REPOSITORY, "src"), "cgroups")
    console = Console(start(*inner, *arguments, setup=setup, stdin=subprocess.PIPE))
    pid = _start(console, "web", "sleep", "8825")
    console.until("commands(trees.cgroups.members('web'))", ["8825"])
    assert console(f"proc.cgroup({pid})").startswith("/cohabit-1-")


HIDE = places.NO_CGROUPS


@pytest.mark.parametrize(
    "setup",
    [
        HIDE,
        f"{HIDE}; mkdir mnt; mount -t cgroup2 none mnt; mount -o remount,ro,bind mnt",
        "mkdir $BOX/t; echo threaded > $BOX/t/cgroup.type; echo 0 > $BOX/t/cgroup.procs",
        "echo 0 > $BOX/cgroup.max.depth",
    ],
    ids=["not mounted", "read-only", "of threads", "too deep"],
)
def test_without_cgroups_no_message_is_printed(start: Start, box: str, setup: str) -> None:
    """If no cgroup can be created, /proc is sufficient: a tree is ended, and no message is printed."""
    arguments = program("trees.py", os.path.join(REPOSITORY, "src"), "cgroups")
    setup = f"mkdir {box}/limited; BOX={box}/limited; echo 0 > $BOX/cgroup.procs; {setup}"
    console = Console(start(*arguments, setup=setup, stdin=subprocess.PIPE))
    _start(console, "web", *shell("setsid sleep 8826 & exec sleep 8826"))
    console.until("len(living('8826'))", 2)
    assert console("trees.cgroups.directory") == ""
    console("trees.signal('web', 9)")
    assert console("gone('web')")
    assert not console.run.err
    console.end()
    console.run.until(lambda: places.removed(f"{box}/limited"), "the cgroup to be empty")


def test_no_cgroups_without_permission_to_move_processes(start: Start, box: str) -> None:
    """A process of another user that may create a cgroup but not move processes into it does without cgroups."""
    arguments = program("trees.py", os.path.join(REPOSITORY, "src"), "cgroups")
    own = f"mkdir {box}/{UID}; chown {UID} {box}/{UID}; echo 0 > {box}/{UID}/cgroup.procs"
    console = Console(
        start("setpriv", f"--reuid={UID}", "--clear-groups", *arguments, setup=own, stdin=subprocess.PIPE, cwd="/")
    )
    _start(console, "web", "sleep", "8827")
    console.until("commands(trees.members('web'))", ["8827"])
    assert console("trees.cgroups.directory") == ""
    console.end()
    console.run.until(lambda: places.removed(f"{box}/{UID}"), "the cgroup to be empty")
