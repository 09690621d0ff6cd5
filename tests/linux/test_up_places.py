"""`cohabit up` and `init` in restricted containers: no root, no capabilities, nothing writable, no /proc."""

import os
import signal
from pathlib import Path

import pytest

from linux import places, processes
from linux.conftest import Start
from linux.run import COHABIT, program, shell, write_file

SERVICE = {"web": {"command": ["sleep", "1000"], "restart": "always"}}


def test_termination_log_holds_the_exit_reason(up: Start) -> None:
    """The cause of the end is in /dev/termination-log, if that exists."""
    run = up(
        {"web": {"command": shell("echo cannot bind; exit 9")}, "other": {"command": ["sleep", "1000"]}},
        setup=places.TERMINATION_LOG + 'exec sh -c \'"$@"; code=$?; cat /dev/termination-log >&2; exit $code\' sh "$@"',
    )
    assert run.wait() == 9
    assert run.text.endswith("last output of web:\n  cannot bind")
    assert "\nweb ended with exit code 9" in run.text


def test_termination_log_is_not_created(up: Start) -> None:
    """If there is no /dev/termination-log, it is not created."""
    setup = places.TERMINATION_LOG + "rm /dev/termination-log\n"
    run = up({"web": {"command": shell("exit 9")}}, setup=setup + 'exec sh -c \'"$@"; ls /dev >&2\' sh "$@"')
    run.wait()
    assert "termination-log" not in run.text
    assert "urandom" in run.text


@pytest.mark.parametrize(
    "privileges", [places.UNPRIVILEGED, places.NO_CAPABILITIES], ids=["uid 12345", "no capabilities"]
)
def test_up_without_privileges(up: Start, tmp_path: Path, process_1: bool, privileges: tuple[str, ...]) -> None:
    """A random uid without a passwd entry, or root without capabilities: restart, tree, stop, exit code."""
    tmp_path.chmod(0o777)
    run = up(
        {"web": {"command": program("tree.py"), "restart": "always"}},
        above=privileges,
        process_1=process_1,
        setup=places.open_to_all(str(tmp_path)),
    )
    run.until_printed("ready")
    leader = next(one for one in run.below("tree.py") if one.parent == run.pid and one.session == one.pid)
    os.kill(leader.pid, signal.SIGKILL)
    run.until_printed("ready", 2)
    assert "found 0" in run.lines("web")[-2]
    assert run.stop() == 0
    assert not run.zombies()


@pytest.mark.parametrize(
    "privileges", [places.UNPRIVILEGED, places.NO_CAPABILITIES], ids=["uid 12345", "no capabilities"]
)
def test_init_without_privileges(start: Start, tmp_path: Path, process_1: bool, privileges: tuple[str, ...]) -> None:
    """`init` reaps and forwards as usual."""
    run = start(
        *COHABIT,
        "init",
        "--",
        *program("received.py", "4"),
        above=privileges,
        process_1=process_1,
        setup=places.open_to_all(str(tmp_path)),
    )
    run.until_printed("ready")
    run.signal(signal.SIGHUP)
    run.until_printed("got 1\n")
    assert run.stop(signal.SIGUSR2) == 4


def test_service_of_another_user_without_root(up: Start, tmp_path: Path) -> None:
    """user: needs root; without it the file is refused with a message, and nothing starts."""
    tmp_path.chmod(0o777)
    run = up(
        {"web": {"command": ["true"], "user": "1000:1000"}},
        above=places.UNPRIVILEGED,
        setup=places.open_to_all(str(tmp_path)),
    )
    assert run.wait() == 78
    assert "not as root" in run.text


def test_service_of_another_user(up: Start, process_1: bool) -> None:
    """user: changes uid, gid and groups, and the service can open its own /dev/stdout and /dev/stderr."""
    script = "id -u; id -g; id -G; echo out > /dev/stdout; echo err > /dev/stderr; echo $HOME"
    run = up({"web": {"command": shell(script), "user": "12345:54321"}}, process_1=process_1)
    assert run.wait() == 0
    assert run.lines("web", "out") == ["12345", "54321", "54321", "out", "/"]
    assert "err" in run.lines("web", "err")


def test_read_only_root(start: Start, tmp_path: Path, process_1: bool) -> None:
    """Nothing is writable, not even /tmp: crash, restart and stop work."""
    file = write_file(str(tmp_path), {"web": {"command": ["sleep", "1000"], "restart": "always"}})
    read_only = (
        "mount --bind / /mnt; mount --bind /proc /mnt/proc; mount --rbind /dev /mnt/dev; mount -o remount,bind,ro /mnt"
    )
    try_it = '! touch /x 2>/dev/null && ! touch /tmp/x 2>/dev/null && echo read-only; exec "$@"'
    run = start(
        "chroot", "/mnt", "sh", "-c", try_it, "sh", *COHABIT, "up", "-f", file, setup=read_only, process_1=process_1
    )
    run.until_printed("read-only")
    os.kill(run.one("sleep 1000").pid, signal.SIGKILL)
    run.until_printed("web: started", 2)
    assert run.stop() == 0


def test_no_proc_restart_and_stop(up: Start, process_1: bool) -> None:
    """Without /proc a crash is a restart, and a stop ends all processes."""
    run = up(SERVICE, setup=places.NO_PROC, process_1=process_1)
    os.kill(run.one("sleep 1000").pid, signal.SIGKILL)
    run.until_printed("web: started", 2)
    assert run.stop() == 0
    assert run.text.count("cannot search for processes that services leave behind") == 1


def test_no_proc_group_is_gone_before_the_restart(up: Start, process_1: bool) -> None:
    """Without /proc at least the service's process group is gone before the restart."""
    service = shell("sleep 1000 & echo ready; exec sleep 2000")
    run = up({"web": {"command": service, "restart": "always"}}, setup=places.NO_PROC, process_1=process_1)
    run.until_printed("ready")
    orphan = run.one("sleep 1000")
    os.kill(run.one("sleep 2000").pid, signal.SIGKILL)
    run.until_printed("ready", 2)
    assert processes.find(orphan.pid) is None


def test_no_proc_no_process_is_left(up: Start) -> None:
    """Without /proc, as process 1, a process in another session is ended with the container."""
    run = up(
        {
            "web": {"command": program("received.py", "0", "15")},
            "hiding": {"command": shell("(setsid sleep 1000 &); exec sleep 2000")},
        },
        setup=places.NO_PROC,
    )
    run.until_printed("ready")
    orphan = run.one("sleep 1000")
    assert run.stop() == 0
    assert processes.find(orphan.pid) is None


def test_no_proc_init(init: Start, process_1: bool) -> None:
    """`init` works without /proc: code, signals, orphans."""
    run = init("--", *shell("(sleep 1000 &); exec sleep 2000"), setup=places.NO_PROC, process_1=process_1)
    run.one("sleep 1000")
    run.one("sleep 2000")
    assert run.stop() == 143


def test_foreign_proc_is_not_trusted(start: Start, tmp_path: Path) -> None:
    """A /proc of another namespace (unshare without --mount-proc) shows other processes: none of them is signalled."""
    file = write_file(
        str(tmp_path), {"web": {"command": shell("sleep 1000 & echo ready; exec sleep 2000"), "restart": "always"}}
    )
    inner = ["unshare", "--pid", "--fork", "--kill-child", "--", *COHABIT, "up", "-f", file]
    run = start(*shell('sleep 3000 & "$@"; exec sleep 4000'), "sh", *inner)
    run.until_printed("ready")
    bystander = next(one for one in processes.children(run.process_1().pid) if one.command == "sleep 3000")
    cohabit = next(one for one in processes.descendants(run.process.pid) if one.command.startswith(" ".join(COHABIT)))
    leader = next(one for one in processes.children(cohabit.pid) if one.command == "sleep 2000")
    os.kill(leader.pid, signal.SIGKILL)
    run.until_printed("ready", 2)
    os.kill(cohabit.pid, signal.SIGTERM)
    run.until(lambda: processes.find(cohabit.pid) is None, "its end")
    assert processes.find(bystander.pid) is not None


def test_closed_standard_descriptors(start: Start, tmp_path: Path, process_1: bool) -> None:
    """With stdin, stdout and stderr closed, services run, and inherit no other descriptors."""
    script = "for n in /proc/$$/fd/*; do echo ${n##*/} >> descriptors; done"
    file = write_file(str(tmp_path), {"web": {"command": shell(f"echo out; echo err >&2; {script}; exit 4")}})
    run = start(*shell('exec "$@" <&- >&- 2>&-'), "sh", *COHABIT, "up", "-f", file, process_1=process_1)
    assert run.wait() == 4
    # 3 and 10 belong to the shell, while it lists and while it writes.
    assert set((tmp_path / "descriptors").read_text().split()) - {"3", "10"} == {"0", "1", "2"}
