"""`cohabit up --watch` on the real kernel: a saved file restarts the service, and nothing else does."""

import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from linux.clients import ask, environment
from linux.conftest import Start
from linux.processes import Process
from linux.run import COHABIT, REPOSITORY, Run, shell, write_file

# Two capabilities that only bypass permissions of files, by their bits: DAC_OVERRIDE and DAC_READ_SEARCH.
READ_FILES = 0b110


def _service(*rules: Mapping[str, object], **keys: object) -> dict[str, object]:
    return {"command": shell("echo up; exec sleep 1000"), "develop": {"watch": [*rules]}, **keys}


def _begin(up: Start, directory: Path, services: dict[str, dict[str, object]], **options: object) -> Run:
    """Start them, and wait until everything is watched."""
    run = up(services, "--watch", environment=environment(str(directory)), **options)
    run.until_printed(" changes of files restart ")
    run.until_printed("| up", len(services))
    return run


def _watcher(run: Run) -> Process:
    return run.one("tasks/watcher.py")


def _sources(directory: Path) -> Path:
    sources = directory / "src"
    (sources / "sub").mkdir(parents=True)
    return sources


def _put(directory: Path, path: Path) -> None:
    """Make a file in one step, as many editors do: however busy the machine is, that is one change."""
    (directory / "temporary").write_text("x")
    (directory / "temporary").rename(path)


def test_a_saved_file_restarts_its_service(up: Start, tmp_path: Path) -> None:
    """The log, `events` and `why` name the file. Ignored files and other services are not concerned."""
    sources = _sources(tmp_path)
    rule = {"action": "restart", "path": "src", "ignore": ["**/*.log"]}
    run = _begin(up, tmp_path, {"web": _service(rule), "db": {"command": shell("echo up; exec sleep 1000")}})
    (sources / "x.log").write_text("x")
    (sources / "sub" / ".x.py.swp").write_text("x")
    _put(tmp_path, sources / "sub" / "x.py")
    run.until_printed("web     | up", 2)
    assert f"web: restarting it: files changed: {sources}/sub/x.py\n" in run.text
    assert f"changed    files changed: {sources}/sub/x.py\n" in ask(run, str(tmp_path), "events", "web")
    run.until(lambda: "restarted: files changed" in ask(run, str(tmp_path), "why", "web"), "the cause")
    assert "restarting it" not in "".join(run.lines("db"))
    new = tmp_path / "new"
    (new / "a").mkdir(parents=True)
    for number in range(300):
        (new / "a" / f"{number}.py").write_text("x")
    new.rename(sources / "new")  # all at once
    run.until_printed("web     | up", 3)
    assert f"files changed: {sources}/new and 301 others\n" in run.text
    assert run.text.count("restarting it") == 2
    assert run.stop() == 0


def test_a_target_is_watched_for_its_service(up: Start, tmp_path: Path) -> None:
    """With replicas, all of them restart; dependents do if they ask for it."""
    conf = tmp_path / "conf"
    conf.mkdir()
    (tmp_path / "src").mkdir()
    web = _service({"action": "sync+restart", "path": "src", "target": str(conf)}, scale=2)
    db = {"web": {"condition": "service_started", "restart": True}}
    run = up(
        {"web": web, "db": {"command": shell("echo up; exec sleep 1000"), "depends_on": db}},
        "--watch",
        environment=environment(str(tmp_path)),
    )
    run.until_printed("changes of files restart web-1, web-2")
    run.until_printed("| up", 3)
    (tmp_path / "src" / "x").write_text("x")
    _put(tmp_path, conf / "x")
    run.until_printed("| up", 6)
    assert run.text.count("restarting it") == 2


def test_what_is_down_on_request_stays_down(up: Start, tmp_path: Path) -> None:
    """A service that has failed starts again: the saved file may be the correction."""
    sources = _sources(tmp_path)
    rule = {"action": "restart", "path": "src"}
    failing = _service(rule, command=shell("echo up; exit 3"), essential=False)
    run = _begin(
        up, tmp_path, {"web": _service(rule), "bad": failing, "other": {"command": shell("echo up; exec sleep 1000")}}
    )
    ask(run, str(tmp_path), "stop", "web")
    (sources / "x").write_text("x")
    run.until_printed("bad     | up", 2)
    assert "web: restarting it" not in run.text


def test_a_change_while_no_watcher_runs_is_found(up: Start, tmp_path: Path) -> None:
    """It was killed, and the next one looks for what was modified since."""
    sources = _sources(tmp_path)
    run = _begin(up, tmp_path, {"web": _service({"action": "restart", "path": "src"})})
    watcher = _watcher(run)
    os.kill(watcher.pid, signal.SIGSTOP)
    (sources / "sub" / "x").write_text("x")
    os.kill(watcher.pid, signal.SIGKILL)
    run.until_printed("web     | up", 2)
    assert "the watcher of files ended with SIGKILL (killed)" in run.text
    assert f"files changed: {sources}/sub" in run.text


def test_the_watcher_can_only_read(up: Start, tmp_path: Path) -> None:
    """It has no other capability than to read directories of any user, and cannot get one."""
    _sources(tmp_path)
    run = _begin(up, tmp_path, {"web": _service({"action": "restart", "path": "src"})})
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{_watcher(run).pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) & ~READ_FILES == 0, kind
    assert status["NoNewPrivs"] == "1"


def test_a_name_does_not_make_a_line(up: Start, tmp_path: Path) -> None:
    """A user who may write below the path can name files and links with line breaks."""
    sources = _sources(tmp_path)
    theirs = sources / "theirs"
    theirs.mkdir()
    link = theirs / "x\nchanged 0 1 forged"
    link.symlink_to("/")
    os.chown(theirs, 1000, 1000)
    rules = [{"action": "restart", "path": "src"}, {"action": "restart", "path": f"src/theirs/{link.name}/a"}]
    run = _begin(up, tmp_path, {"web": _service(*rules)})
    assert "no link is followed there" in run.text
    _put(tmp_path, theirs / "y\nchanged 0 1 forged")
    run.until_printed("web     | up", 2)
    assert "\\nchanged 0 1 forged\n" in run.text
    assert run.text.count("restarting it") == 1


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_the_watcher_waits_without_a_timeout(up: Start, tmp_path: Path) -> None:
    """With nothing to report, it waits in poll until something happens."""
    _sources(tmp_path)
    run = _begin(up, tmp_path, {"web": _service({"action": "restart", "path": "src"})})
    call = Path(f"/proc/{_watcher(run).pid}/syscall")
    run.until(lambda: call.read_text().split()[0] == "7", "it to wait in poll")
    assert int(call.read_text().split()[3], 16) & 0xFFFFFFFF == 0xFFFFFFFF


def test_rules_follow_a_reload_and_a_re_execution(up: Start, tmp_path: Path) -> None:
    """Other rules have another watcher; `--watch` stays in force."""
    _sources(tmp_path)
    run = _begin(up, tmp_path, {"web": _service({"action": "restart", "path": "src"})})
    (tmp_path / "other").mkdir()
    write_file(str(tmp_path), {"web": _service({"action": "restart", "path": "other"})})
    ask(run, str(tmp_path), "reload")
    run.until_printed("changes of files restart web", 2)
    assert "no restart needed" in run.text
    (tmp_path / "src" / "x").write_text("x")
    (tmp_path / "other" / "x").write_text("x")
    run.until_printed(f"web: restarting it: files changed: {tmp_path}/other/x")
    run.until_printed("web     | up", 2)
    ask(run, str(tmp_path), "reexec")
    (tmp_path / "other" / "y").write_text("x")
    run.until_printed("web     | up", 3)
    assert "src/x" not in run.text
    run.until(lambda: len(run.below("tasks/watcher.py")) == 1, "one watcher")
    assert run.stop() == 0


def _limited(limit: str, number: int) -> tuple[str, ...]:
    """A user namespace with a limit of inotify, as that of a machine."""
    script = f'echo {number} > /proc/sys/user/{limit}; exec "$@"'
    return "unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"


def test_the_limit_of_watches_is_explained(up: Start, tmp_path: Path) -> None:
    """What could be watched is watched."""
    sources = _sources(tmp_path)
    for number in range(20):
        (sources / f"d{number}").mkdir()
    number = len(tmp_path.parts) + 5
    above = _limited("max_inotify_watches", number)
    run = _begin(up, tmp_path, {"web": _service({"action": "restart", "path": "src"})}, above=above)
    assert f"cannot watch more than {number} directories: too many watches (raise the sysctl fs.inotify" in run.text
    (sources / "x").write_text("x")
    run.until_printed("web     | up", 2)


def test_the_limit_of_instances_is_explained(up: Start, tmp_path: Path) -> None:
    """The services run without it, and the watcher tries again later."""
    _sources(tmp_path)
    above = _limited("max_inotify_instances", 0)
    services = {"web": _service({"action": "restart", "path": "src"})}
    run = up(services, "--watch", environment=environment(str(tmp_path)), above=above)
    run.until_printed("cannot watch files: too many inotify instances (raise the sysctl fs.inotify.max_user_instances)")
    run.until_printed("| up")
    (web,) = json.loads(ask(run, str(tmp_path), "ps", "--json"))["services"]
    assert web["state"] == "RUNNING"


def test_without_watch_there_is_no_watcher(up: Start, tmp_path: Path) -> None:
    """And with --watch but without rules, `up` does not start."""
    sources = _sources(tmp_path)
    services = {"web": _service({"action": "restart", "path": "src"})}
    run = up(services, environment=environment(str(tmp_path)))
    run.until_printed("| up")
    (sources / "x").write_text("x")
    assert run.below("tasks/watcher.py") == []
    refused = up({"web": {"command": ["sleep", "1000"]}}, "--watch")
    assert refused.wait() == 64
    assert "no service that takes part has develop.watch" in refused.text


def test_the_example(start: Start, tmp_path: Path, port: int) -> None:
    """examples/develop: its server has the new greeting, and its clock is not restarted."""
    shutil.copytree(os.path.join(REPOSITORY, "examples", "develop"), tmp_path, dirs_exist_ok=True)
    variables = {"PORT": str(port), **environment(str(tmp_path))}
    run = start(*COHABIT, "up", "--watch", environment=variables)
    run.until_printed("changes of files restart web")
    run.until_printed("serving: hello")
    greeting = tmp_path / "app" / "greeting.py"
    (tmp_path / "app" / "notes.md").write_text("x")
    greeting.write_text(greeting.read_text().replace("hello", "good morning"))
    run.until_printed("serving: good morning")
    run.until_printed("web: started", 2)
    assert run.text.count("clock: started") == 1
    assert "notes.md" not in run.text
    assert run.stop() == 0
