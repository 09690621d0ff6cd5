"""A time in which nothing runs (docker pause, a suspended machine) does not count as a failure."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from linux.run import shell

if TYPE_CHECKING:
    from pathlib import Path

    from linux.conftest import Start
    from linux.run import Run

WATCHDOG = """
import os, socket, time
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sender.connect(os.environ["NOTIFY_SOCKET"])
sender.send(b"READY=1")
print("pings", flush=True)
while True:
    sender.send(b"WATCHDOG=1")
    time.sleep(0.2)
"""


def _freeze(run: Run, seconds: float) -> None:
    """Stop everything for this time, process 1 first; then continue everything, process 1 first."""
    pids = [run.process_1().pid, *(process.pid for process in run.below())]
    began = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    run.until(lambda: time.monotonic() >= began + seconds, "the end of the freeze")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_a_freeze_is_not_a_failure(up: Start, tmp_path: Path) -> None:
    """Neither of a service with a watchdog, nor of a probe that is running."""
    run = up({
        "watched": {
            "command": ["python3", "-c", WATCHDOG],
            "healthcheck": {"test": ["NOTIFY"], "interval": "1s", "on_failure": "restart"},
        },
        "probed": {
            "command": ["sleep", "1000"],
            "healthcheck": {
                "test": ["CMD-SHELL", "echo > asked; sleep 1; echo > answered"],
                "timeout": "1.7s", "retries": 1, "interval": "1h",
            },
        },
    })  # fmt: skip
    run.until_printed("watched: ready")
    run.until((tmp_path / "asked").exists, "the probe")
    _freeze(run, 2.5)
    run.until_printed("probed: ready")
    run.until_printed("deadlines are postponed")
    assert "did not run for" in run.text
    assert "unhealthy" not in run.text
    assert run.text.count("watched: started") == 1
    assert run.stop() in (0, 137)


def test_a_freeze_in_the_stop_leaves_the_grace_period(up: Start) -> None:
    """A service has its time to stop, although the container was frozen soon after the request and for most of it."""
    work = "for i in 1 2 3 4 5; do sleep 0.5; done"
    slow = f"trap 'echo stops; {work}; echo clean; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done"
    run = up({"db": {"command": shell(slow), "stop_grace_period": "4s"}})
    run.until_printed("up")
    run.signal(signal.SIGTERM)
    run.until_printed("stops")
    _freeze(run, 3.0)
    assert run.wait() == 0
    assert "clean" in run.lines("db")
