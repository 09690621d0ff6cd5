"""The last lines are kept as long as their service is in the file, also through restarts and re-executions."""

import os
import signal

from linux.conftest import Gate, Start
from linux.run import shell

REEXECUTE = signal.SIGRTMIN + 25


def test_last_lines_survive_a_restart_and_a_reexecution(up: Start, gate: Gate) -> None:
    """The exit reason of a service that fails silently in its second run shows the output of the first."""
    first = "touch before; echo first run; printf 'no end' >&2; exit 1"
    second = "touch second; read x < gate; exit 5"
    run = up(
        {"web": {"command": shell(f"[ -e before ] || {{ {first}; }}; {second}"), "restart": "on-failure:1"}},
    )
    run.until(lambda: os.path.exists(f"/proc/{run.pid}/cwd/second"), "the second run")
    for times in (1, 2):
        run.signal(REEXECUTE)
        run.until_printed("re-executed", times)
    gate.open()
    assert run.wait() == 5
    last = run.lines("cohabit")
    assert [line.strip() for line in last[last.index("last output of web:") + 1 :]] == [
        "first run",
        "no end",
    ]


def test_end_of_a_flood_survives_a_reexecution(up: Start, gate: Gate) -> None:
    """After a re-execution the end of a large output is there, whole."""
    run = up({"web": {"command": shell("seq 100000; read x < gate; exit 5")}})
    run.until_printed("100000")
    run.signal(REEXECUTE)
    run.until_printed("re-executed")
    gate.open()
    assert run.wait() == 5
    assert [line.strip() for line in run.lines("cohabit")[-10:]] == [str(number) for number in range(99_991, 100_001)]
