"""`cohabit up`: the exit of a service: restart, back-off, giving up, the container's exit code."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from linux.clients import ask, environment
from linux.conftest import Gate, Start
from linux.run import lines_of, program, shell

AT_ONCE = {"condition": "any", "delay": "0s"}
DELAYS = re.compile(r"starting again in (\S+) \(restart (\d+)\)")


def _fails(times: int, code: int = 1) -> list[str]:
    """A service that counts its starts in `starts` and fails this many times before it keeps running."""
    return shell(f"echo start >> starts; [ $(wc -l < starts) -gt {times} ] || exit {code}; echo stays; exec sleep 1000")


def test_crashed_service_is_restarted(up: Start, process_1: bool) -> None:
    """A killed service is restarted with a new pid, and the container keeps running."""
    run = up({"web": {"command": ["sleep", "1000"], "restart": "always"}}, process_1=process_1)
    first = run.one("sleep 1000")
    os.kill(first.pid, signal.SIGKILL)
    run.until_printed("web: started", 2)
    assert run.one("sleep 1000").pid != first.pid
    assert "SIGKILL" in run.text


def test_child_without_tracking_mark_is_gone_before_the_restart(up: Start, process_1: bool) -> None:
    """A child in its own session and with an empty environment belongs to the main process that just died."""
    command = shell("setsid env -i sleep 881 & exec sleep 1000")
    run = up({"web": {"command": command, "restart": "always"}}, process_1=process_1)
    old = run.one("sleep 881")
    os.kill(run.one("sleep 1000").pid, signal.SIGKILL)
    run.until_printed("web: started", 2)
    assert run.one("sleep 881").pid != old.pid


def test_back_off_doubles(up: Start) -> None:
    """The delays are Docker's: 100 ms, then doubling."""
    run = up({"web": {"command": _fails(3), "restart": "always"}})
    run.until_printed("stays")
    assert DELAYS.findall(run.text) == [("100ms", "1"), ("200ms", "2"), ("400ms", "3")]


def test_own_delay_replaces_the_back_off(up: Start) -> None:
    """deploy.restart_policy.delay is the delay before each restart."""
    run = up({"web": {"command": _fails(4), "deploy": {"restart_policy": {"condition": "any", "delay": "1ms"}}}})
    run.until_printed("stays")
    assert [pause for pause, _ in DELAYS.findall(run.text)] == ["1ms"] * 4


def test_zero_delay_restarts_without_end(up: Start) -> None:
    """A service that always dies at once is always restarted, and a stop is obeyed."""
    run = up(
        {
            "web": {"command": shell("kill -9 $$"), "deploy": {"restart_policy": AT_ONCE}},
            "calm": {"command": program("received.py", "0", "15")},
        }
    )
    run.until_printed("web: started", 50)
    assert run.stop() == 0
    assert run.lines("calm") == ["ready", "got 15"]


def test_always_restarts_a_success(up: Start) -> None:
    """restart: always also restarts after 0."""
    run = up({"web": {"command": _fails(2, code=0), "restart": "always"}})
    run.until_printed("stays")


def test_on_failure_leaves_a_success_alone(up: Start) -> None:
    """restart: on-failure does not restart after 0: the essential service has completed, and the container ends."""
    run = up({"web": {"command": shell("echo start >> starts"), "restart": "on-failure"}})
    assert run.wait() == 0
    assert "starting again" not in run.text


def test_on_failure_gives_up_after_n(up: Start, tmp_path: Path) -> None:
    """on-failure:2 means one start and two restarts; then its code is the container's."""
    run = up({"web": {"command": _fails(99, code=7), "restart": "on-failure:2"}})
    assert run.wait() == 7
    assert len(lines_of(str(tmp_path / "starts"))) == 3
    assert "given up after 2 restarts" in run.text


def test_no_restart_by_default(up: Start, tmp_path: Path) -> None:
    """Without restart a service runs once."""
    run = up({"web": {"command": _fails(99, code=3)}})
    assert run.wait() == 3
    assert len(lines_of(str(tmp_path / "starts"))) == 1


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 3", 3), ("exit 0", 0), ("kill -9 $$", 137), ("kill -15 $$", 143), ("exit 126", 126), ("exit 255", 255)],
)
def test_essential_exit_ends_the_container(up: Start, tmp_path: Path, command: str, code: int) -> None:
    """An essential service's own code is the container's; the others get TERM."""
    run = up(
        {
            "web": {"command": shell(f"until [ -e order ]; do :; done; {command}"), "essential": True},
            "other": {"command": program("ordered.py", "other")},
        },
    )
    assert run.wait() == code
    assert lines_of(str(tmp_path / "order")) == ["start other", "stop other"]


def test_inessential_exit_is_only_reported(up: Start, gate: Gate) -> None:
    """essential: false: its exit changes nothing else."""
    run = up(
        {"extra": {"command": shell("exit 3"), "essential": False}, "web": {"command": shell("read x < gate; exit 5")}}
    )
    run.until_printed("extra: ended with exit code 3")
    gate.open()
    assert run.wait() == 5


@pytest.mark.parametrize(("codes", "code"), [((0, 0), 0), ((0, 4), 4), ((4, 0), 4)])
def test_container_ends_when_all_services_have_ended(up: Start, codes: tuple[int, int], code: int) -> None:
    """When all have ended the container ends: with 0, or with the code of one that failed."""
    services = {f"job{n}": {"command": shell(f"exit {c}"), "essential": False} for n, c in enumerate(codes)}
    assert up(services).wait() == code


def test_exit_reason_names_the_cause(up: Start) -> None:
    """One line says what ended the container and why, with the last output of that service."""
    run = up({"web": {"command": shell("echo cannot bind >&2; exit 98")}})
    assert run.wait() == 98
    last = run.lines("cohabit")
    assert any("web ended with exit code 98" in line for line in last)
    assert last[-1].strip() == "cannot bind"


def test_missing_command_at_a_restart_is_fatal(up: Start, tmp_path: Path) -> None:
    """A program that is missing at a restart cannot start: 127, without further restarts."""
    (tmp_path / "program").write_text("#!/bin/sh\nrm program\n")
    (tmp_path / "program").chmod(0o755)
    run = up({"web": {"command": ["./program"], "restart": "always"}})
    assert run.wait() == 127
    assert "cannot start" in run.text


def test_stopped_service_is_not_dead(up: Start) -> None:
    """A service stopped by SIGSTOP is not restarted, and receives TERM at the stop."""
    run = up({"web": {"command": program("received.py", "0", "15"), "restart": "always"}})
    run.until_printed("ready")
    os.kill(run.one("received.py").pid, signal.SIGSTOP)
    run.until(lambda: run.one("received.py").state == "T", "it to be stopped")
    assert run.stop() == 0
    assert "web: started" in run.text
    assert run.text.count("web: started") == 1
    assert "got 15" in run.lines("web")


def test_death_by_the_platforms_term_is_not_a_crash(up: Start, process_1: bool) -> None:
    """A service killed by the same TERM that cohabit receives is not restarted, and the code is 0 (Heroku, kill -1)."""
    run = up({"web": {"command": ["sleep", "1000"], "restart": "always"}}, process_1=process_1)
    service = run.one("sleep 1000")
    run.until_printed("web: started")
    run.signal(signal.SIGSTOP)
    os.kill(service.pid, signal.SIGTERM)
    run.signal(signal.SIGTERM)
    run.signal(signal.SIGCONT)
    assert run.wait() == 0
    assert run.text.count("web: started") == 1
    assert "starting again" not in run.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_death_shortly_before_the_platforms_term_is_not_a_crash(up: Start, number: int) -> None:
    """If an essential service dies of the signal a moment before cohabit receives it, the code is 0, too."""
    run = up({"web": {"command": ["sleep", "2000"]}, "slow": {"command": program("received.py", "0", "12")}})
    run.until_printed("ready")
    os.kill(run.one("sleep 2000").pid, number)
    run.until_printed("got 15")
    run.signal(number)
    os.kill(run.one("received.py").pid, signal.SIGUSR2)
    assert run.wait() == 0


def test_no_zombies(up: Start, process_1: bool) -> None:
    """Orphans of a service are reaped while it runs."""
    run = up(
        {"web": {"command": shell("for i in 1 2 3 4 5; do (sleep 0 &); done; echo ready; exec sleep 1000")}},
        process_1=process_1,
    )
    run.until_printed("ready")
    run.until(
        lambda: [one.command for one in run.below()] == ["sleep 1000"] and not run.zombies(), "no zombie to be left"
    )


def test_storm_of_orphans_leaves_no_zombie(up: Start) -> None:
    """2,100 orphans that are killed at once are all reaped (more than are reaped in one turn)."""
    run = up({"web": {"command": program("storm.py", "2100")}})
    run.until_printed("ready")
    os.kill(
        next(one.pid for one in run.below("storm.py") if one.parent == run.pid and one.session == one.pid),
        signal.SIGUSR1,
    )
    run.until_printed("killed")
    run.until(lambda: len(run.below()) == 1 and not run.zombies(), "all zombies to be gone")


def test_why_explains_what_happened_and_not_what_a_probe_printed(up: Start, tmp_path: Path) -> None:
    """The probe prints what reads like a refused start. The service was started twice, and given up."""
    check = {
        "test": ["CMD-SHELL", "echo not ready, it waits for the cache; exit 1"],
        "interval": "100ms",
        "start_interval": "100ms",
        "retries": 1,
        "on_failure": "restart",
    }
    web = {"command": ["sleep", "100"], "essential": False, "restart": "on-failure:1", "healthcheck": check}
    run = up({"web": web, "db": {"command": ["sleep", "1000"]}}, environment=environment(str(tmp_path)))
    run.until_printed("web: unhealthy: not ready, it waits for the cache; given up after 1 restart")
    said = " ".join(ask(run, str(tmp_path), "why", "web").split())
    assert said.startswith("web was given up after 1 restart in a row: the last time it was unhealthy: not ready, it")
    assert "was not started" not in said
    (web,) = json.loads(ask(run, str(tmp_path), "ps", "--json", "web"))["services"]
    assert web["reason"] == {"kind": "unhealthy", "detail": "not ready, it waits for the cache", "restarts": 1}
    assert run.stop() == 0


def test_the_last_output_is_that_of_the_last_run(up: Start) -> None:
    """Lines of earlier runs are not shown as its output."""
    run = up({"web": {"command": shell("echo run $$; exit 5"), "restart": "on-failure:2"}})
    assert run.wait() == 5
    assert len(run.lines("web", "out")) == 3
    last = run.lines("web", "out")[-1]
    assert run.text.endswith(f"last output of web:\ncohabit |   {last}\n")


def test_a_success_has_no_last_output(up: Start) -> None:
    """There is nothing to explain."""
    run = up({"web": {"command": ["echo", "bye"]}})
    assert run.wait() == 0
    assert "last output" not in run.text
