"""What process 1 is: isolated Python, the standard library, and no activity while nothing happens."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from linux import processes
from linux.conftest import Start
from linux.run import COHABIT, MAIN, REPOSITORY, shell, write_file

# Each of these costs process 1 milliseconds or megabytes, or does what process 1 must not do.
NEVER = {
    "asyncio",
    "yaml",
    "typing",
    "json",
    "re",
    "enum",
    "subprocess",
    "dataclasses",
    "threading",
    "logging",
    "inspect",
    "tokenize",
    "traceback",
    "socket",
    "selectors",
    "signal",
    "xml",
    "http",
    "ctypes",
    "argparse",
    "site",
}


def _imported(text: str) -> set[str]:
    lines = (line for line in text.splitlines() if line.startswith("import time:") and "imported package" not in line)
    return {line.rsplit("|", 1)[1].strip() for line in lines}


def test_only_the_standard_library_and_own_modules(start: Start, tmp_path: Path) -> None:
    """In a complete run with a crash and a stop: no third-party module, and no expensive one."""
    services: dict[str, dict[str, object]] = {
        "web": {"command": ["sleep", "1000"], "restart": "always"},
        "probed": {"command": ["sleep", "2000"], "depends_on": {"web": {"condition": "service_started"}}},
    }
    file = write_file(str(tmp_path), services)
    run = start(sys.executable, "-X", "importtime", "-I", "-S", MAIN, "up", "-f", file)
    os.kill(run.one("sleep 1000").pid, signal.SIGKILL)
    run.until_printed("web: started", 2)
    assert run.stop() == 0
    imported = _imported(run.text)
    assert "cohabit.reactor.loop" in imported
    assert {name for name in imported if name.split(".")[0] not in {*sys.stdlib_module_names, "cohabit"}} == set()
    assert imported & NEVER == set()
    assert not any(name.startswith("cohabit.config") for name in imported)


def test_init_loads_no_engine(start: Start) -> None:
    """`init` loads neither the engine nor the loop."""
    run = start(sys.executable, "-X", "importtime", "-I", "-S", MAIN, "init", "--", "true")
    assert run.wait() == 0
    imported = _imported(run.text)
    assert "cohabit.reactor.init" in imported
    assert not imported & {"cohabit.engine.supervisor", "cohabit.reactor.loop", "cohabit.plan.model", *NEVER}


@pytest.mark.parametrize("flags", [(), ("-I",), ("-S",)])
def test_it_isolates_itself(start: Start, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Started without -I -S it re-executes itself with both, and modules in the current directory are not imported."""
    for name in ("select", "marshal", "time"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')\n")
    file = write_file(str(tmp_path), {"web": {"command": shell("exit 3")}})
    run = start(sys.executable, *flags, MAIN, "up", "-f", file, environment={"PYTHONPATH": str(tmp_path)})
    assert run.wait() == 3


def test_as_a_module(start: Start) -> None:
    """`python -m cohabit` is the same program."""
    run = start(
        sys.executable,
        "-m",
        "cohabit",
        "init",
        "--",
        *shell("exit 3"),
        environment={"PYTHONPATH": os.path.join(REPOSITORY, "src")},
    )
    assert run.wait() == 3


def test_as_a_module_it_imports_nothing_from_the_working_directory(start: Start, tmp_path: Path) -> None:
    """With -I, as recommended: a cohabit.py there is not executed as process 1."""
    for name in ("cohabit", "runpy", "select", "marshal"):
        (tmp_path / f"{name}.py").write_text("print('not ours', flush=True); raise SystemExit(0)\n")
    run = start(sys.executable, "-I", "-m", "cohabit", "init", "--", *shell("exit 3"))
    assert run.wait() == 3
    assert "not ours" not in run.text


def test_every_recommended_command_is_isolated() -> None:
    """No document, example or message of the project recommends `python3 -m cohabit` without -I."""
    command = [
        "grep",
        "-rhE",
        "(ENTRYPOINT|CMD|exec).*-m[\"', ]+cohabit",
        "README.md",
        "docs",
        "examples",
        "bin",
        "src",
    ]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    assert found
    assert [line for line in found if "-I" not in line] == []


MISLEADING = ["PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"]
SHOW = shell("env | grep -E 'VENV_LAUNCHER|PYTHONEXEC|HIDDEN'; echo shown; exec sleep 1000")


@pytest.mark.parametrize("variable", MISLEADING)
@pytest.mark.parametrize("above", [COHABIT, (sys.executable, MAIN)], ids=["isolated", "not isolated"])
def test_what_cpython_reads_in_spite_of_isolation(
    start: Start, tmp_path: Path, variable: str, above: tuple[str, ...]
) -> None:
    """Python reads its own path from them; cohabit, its loader and a re-execution do not, and services inherit them."""
    file = write_file(str(tmp_path), {"web": {"command": SHOW}})
    run = start(*above, "up", "-f", file, environment={variable: "/nowhere/python3"})
    run.until_printed("| shown")
    assert run.lines("web", "out") == [f"{variable}=/nowhere/python3", "shown"]
    run.signal(signal.SIGRTMIN + 25)
    run.until_printed("re-executed")
    run.signal(signal.SIGHUP)
    run.until_printed("reload: nothing has changed")
    assert run.stop() == 0


@pytest.mark.parametrize("variable", MISLEADING)
def test_what_cpython_reads_does_not_mislead_the_script(start: Start, installed: str, variable: str) -> None:
    """It hides the variables from Python before it starts it."""
    run = start(installed, "init", "--", *SHOW, environment={variable: "/nowhere/python3"})
    run.until_printed("shown")
    assert run.text == f"{variable}=/nowhere/python3\nshown\n"
    assert run.stop() == 143


def _system_call(pid: int) -> list[str]:
    """Return number and arguments of the system call in which a process waits, [] while it runs."""
    with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
        fields = file.read().split()
    return fields if fields[0] != "running" else []


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_it_waits_without_a_timeout(up: Start, process_1: bool) -> None:
    """With nothing due, process 1 waits in epoll without a timeout."""
    run = up({"web": {"command": ["sleep", "1000"]}, "other": {"command": ["sleep", "2000"]}}, process_1=process_1)
    run.until_printed("started", 2)
    run.until(lambda: _system_call(run.pid)[:1] in (["232"], ["281"]), "it to wait in epoll")
    timeout = int(_system_call(run.pid)[4], 16) & 0xFFFFFFFF
    assert timeout == 0xFFFFFFFF


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_init_waits_without_a_timeout(init: Start, process_1: bool) -> None:
    """`init` waits in sigtimedwait without a timeout."""
    run = init("--", "sleep", "1000", process_1=process_1)
    run.one("sleep 1000")
    run.until(lambda: _system_call(run.pid)[:1] == ["128"], "it to wait for a signal")
    assert int(_system_call(run.pid)[3], 16) == 0


def test_process_1_does_not_wake_while_idle(up: Start) -> None:
    """While services work, process 1 does not wake once."""
    run = up({"web": {"command": ["sleep", "1000"]}})
    run.until_printed("started")
    run.until(lambda: processes.status(run.pid, "State") == "S", "it to wait")
    before = processes.status(run.pid, "voluntary_ctxt_switches")
    for _ in range(20):
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
    assert processes.status(run.pid, "voluntary_ctxt_switches") == before


def test_services_get_the_original_descriptor_limit(start: Start, tmp_path: Path) -> None:
    """With many services cohabit raises its own limit of open files; each service gets the original limit."""
    services = {f"s{n}": {"command": ["true"], "essential": False} for n in range(60)}
    services["asks"] = {"command": shell("ulimit -Sn"), "essential": False}
    file = write_file(str(tmp_path), services)
    run = start(*COHABIT, "up", "-f", file, above=("prlimit", "--nofile=100:4096"))
    assert run.wait() == 0
    assert run.lines("asks") == ["100"]
