"""Hooks on the real kernel: their order, their environment, their failures, and the processes they leave behind."""

from pathlib import Path

import pytest

from linux.clients import ask, environment
from linux.conftest import Gate, Start
from linux.run import shell

SLEEP = ["sleep", "1000"]


def _hook(script: str, **settings: object) -> dict[str, object]:
    return {"command": shell(script), **settings}


def test_hooks_run_in_order(up: Start) -> None:
    """pre_start before the command, post_start after it, pre_stop before its signal; each under the service's name."""
    run = up(
        {
            "web": {
                "command": shell("trap 'echo stopping; exit 0' TERM; echo main; while :; do read x < gate; done"),
                "pre_start": [_hook("mkfifo gate; echo first"), _hook("echo second")],
                "post_start": [_hook("echo after")],
                "pre_stop": [_hook("echo before the end")],
                "healthcheck": {"test": ["CMD", "true"]},
            }
        },
    )
    run.until_printed("web: ready")
    run.until_printed("| main")
    assert run.stop() == 0
    lines = run.lines("web", "out")
    assert lines[:2] == ["first", "second"]
    assert set(lines[2:4]) == {"main", "after"}
    assert lines[4:] == ["before the end", "stopping"]


def test_hooks_have_their_own_environment_and_directory(up: Start) -> None:
    """The settings of a hook take precedence over those of the service."""
    hook = _hook("echo $A $B; pwd", environment={"B": "hook"}, working_dir="/")
    run = up({"web": {"command": ["true"], "environment": {"A": "web", "B": "web"}, "pre_start": [hook]}})
    assert run.wait() == 0
    assert run.lines("web", "out") == ["web hook", "/"]


def test_hook_that_fails_keeps_the_command_from_starting(up: Start) -> None:
    """The container ends with the hook's code, and names the hook."""
    run = up({"web": {"command": SLEEP, "pre_start": [_hook("exit 0"), _hook("exit 5")]}})
    assert run.wait() == 5
    assert "web: pre_start hook 2 ended with exit code 5" in run.text


def test_missing_hook_command(up: Start) -> None:
    """A command that cannot be executed is reported when it is due, if not before."""
    run = up({"web": {"command": SLEEP, "pre_start": [_hook("rm -f gone"), {"command": ["./gone"]}]}})
    assert run.wait() == 127
    assert "pre_start hook 2" in run.text


def test_processes_of_a_failed_hook_are_ended(up: Start, process_1: bool) -> None:
    """Before the next attempt, no process of the last one is left."""
    run = up(
        {"web": {"command": SLEEP, "restart": "on-failure:1", "pre_start": [_hook("sleep 2000 & exit 5")]}},
        process_1=process_1,
    )
    assert run.wait() == 5
    assert "given up" in run.text or "hook 1 ended" in run.text
    assert run.zombies() == []


def test_post_start_hook_delays_readiness(up: Start, gate: Gate) -> None:
    """Dependants that wait for health wait for the post_start hooks."""
    run = up(
        {
            "db": {"command": SLEEP, "post_start": [_hook("read x < gate")], "healthcheck": {"test": ["CMD", "true"]}},
            "web": {
                "command": shell("echo up; exec sleep 1000"),
                "depends_on": {"db": {"condition": "service_healthy"}},
            },
        }
    )
    run.until_printed("db: started")
    run.one("sh -c read x < gate")
    assert "| up" not in run.text
    gate.open()
    run.until_printed("| up")
    assert run.stop() == 0


def test_stop_during_a_hook(up: Start, gate: Gate, process_1: bool) -> None:
    """A pre_start hook gets the stop signal like the service, and the exit code is 0."""
    run = up({"web": {"command": SLEEP, "pre_start": [_hook("read x < gate")]}}, process_1=process_1)
    run.one("sh -c read x < gate")
    assert run.stop() == 0
    gate.open()


HANGING = ["exec sleep 2000", "trap '' TERM; sleep 2000 & wait; sleep 2000"]


@pytest.mark.parametrize(("hook", "code"), list(zip(HANGING, (0, 137), strict=True)))
def test_pre_stop_hook_that_hangs(up: Start, hook: str, code: int) -> None:
    """The service gets its stop signal in the time that is kept for it. The hook ends after it, or is killed."""
    command = shell("trap 'echo asked; exit 0' TERM; echo main; while :; do sleep 0.1; done")
    run = up({"web": {"command": command, "pre_stop": [_hook(hook)], "stop_grace_period": "2s"}})
    run.until_printed("| main")
    assert run.stop() == code
    assert run.lines("web", "out") == ["main", "asked"]
    assert "web: its pre_stop hook 1 is still running: sending the stop signal" in run.text
    assert "web: stopped: ended with exit code 0" in run.text


def test_post_stop_hooks_follow_the_stop(up: Start, process_1: bool) -> None:
    """They run when the whole tree has ended, know how it ended, and what the service depends on still runs."""
    run = up(
        {
            "db": {"command": shell("trap 'echo end; exit 0' TERM; echo up; while :; do sleep 0.1; done")},
            "web": {
                "command": shell("sleep 2000 & echo $! > left; echo main; exec sleep 1000"),
                "depends_on": ["db"],
                "pre_stop": [_hook("echo before")],
                "post_stop": [
                    _hook(
                        "echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS; kill -0 $(cat left) 2>/dev/null || echo alone"
                    ),
                    _hook("echo last; sleep 3000 & sleep 3000 & exit 3"),
                ],
            },
        },
        process_1=process_1,
    )
    run.until_printed("| main")
    run.until_printed("| up")
    assert run.stop() == 0
    assert run.lines("web", "out") == ["main", "before", "success killed TERM", "alone", "last"]
    assert run.text.index("post_stop hook 2 ended with exit code 3") < run.text.index("db: stopped")
    assert run.text.index("| last") < run.text.index("| end")
    assert run.zombies() == []


def test_post_stop_hook_comes_before_the_next_start(up: Start, process_1: bool) -> None:
    """Also after a run that failed, and after one whose command cannot be executed."""
    run = up(
        {
            "web": {
                "command": shell("echo main; exit 5"),
                "restart": "on-failure:1",
                "post_stop": ["echo after $EXIT_STATUS", _hook("echo after $EXIT_STATUS; sleep 0.2; echo done")],
            }
        },
        process_1=process_1,
    )
    assert run.wait() == 5
    once = ["main", "after $EXIT_STATUS", "after 5", "done"]
    assert run.lines("web", "out") == [*once, *once]
    assert "web: ended with exit code 5" in run.text


def test_post_stop_hook_after_a_failed_start(up: Start) -> None:
    """There is no exit status then."""
    run = up(
        {
            "web": {
                "command": ["./gone"],
                "pre_start": [_hook("echo '#!/bin/sh' > gone; chmod +x gone; rm gone")],
                "post_stop": [_hook("echo $SERVICE_RESULT ${EXIT_CODE-none}")],
            }
        }
    )
    assert run.wait() == 127
    assert run.lines("web", "out") == ["exit-code none"]


@pytest.mark.parametrize("hook", HANGING)
def test_post_stop_hook_that_hangs(up: Start, hook: str, process_1: bool) -> None:
    """It and all that it started are killed when its time is over."""
    run = up(
        {"web": {"command": ["true"], "post_stop": [_hook(hook), _hook("echo never")], "stop_grace_period": "0s"}},
        process_1=process_1,
    )
    assert run.wait() == 0
    assert "web: its post_stop hooks have not ended within 2s" in run.text
    assert "never" not in run.lines("web", "out")
    assert run.zombies() == []


def test_reexecution_during_a_post_stop_hook(up: Start, gate: Gate, tmp_path: Path) -> None:
    """The hook goes on, and the restart follows it."""
    run = up(
        {
            "web": {
                "command": shell("echo main; exit 5"),
                "restart": "on-failure:1",
                "post_stop": [_hook("read x < gate; echo after")],
            }
        },
        environment=environment(str(tmp_path)),
    )
    run.one("sh -c read x < gate; echo after")
    ask(run, str(tmp_path), "reexec")
    gate.open()
    run.until_printed("starting again in")
    gate.open()
    assert run.wait() == 5
    assert run.lines("web", "out") == ["main", "after", "main", "after"]
