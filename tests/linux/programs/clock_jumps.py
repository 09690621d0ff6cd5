"""clock_jumps.py CLOCK: set the time of day as process 1 of a User Mode Linux; print how the clock reacts.

Each line of output is `STEP -> JOBS`, the jobs that became due then. A job that is due every second is always the last
of a check. It shows how often the clock has checked since, so that no step waits for an event that does not come.
"""

import ctypes
import subprocess
import sys
import time

_DAY = 86400
_MIDNIGHT = 1_793_000_000 // _DAY * _DAY
_POWER_OFF = 0x4321FEDC  # reboot(2)
_NOON, _ONE = _MIDNIGHT + 12 * 3600, _MIDNIGHT + 13 * 3600

time.clock_settime(time.CLOCK_REALTIME, _NOON + 10)
clock = subprocess.Popen(
    [
        *(sys.executable, "-I", sys.argv[1]),
        f"{_NOON + 10} daily UTC 0 13 * * *",
        f"{_NOON + 10} often UTC */5 * * * *",
        f"{_NOON + 10} second UTC * * * * * *",
    ],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
)
assert clock.stdin
assert clock.stdout


def step(name: str, moment: float | None = None) -> None:
    """Set the time, and print what was due until `second` has come four times."""
    if moment is not None:
        time.clock_settime(time.CLOCK_REALTIME, moment)
    due: list[str] = []
    assert clock.stdout
    while due.count("second") < 4:  # one from before, one at once, one a second later, and one more
        due.append(clock.stdout.readline().split()[1])
    print(name, "->", *sorted(name for name in due if name != "second"), flush=True)


step("before")
step("on to 12:59:59.5", _ONE - 0.5)
step("back to 11:59:59", _NOON - 1)
step("on to 12:59:59", _ONE - 1)
step("twenty days on", _MIDNIGHT + 20 * _DAY + 45 * 60)
step("back to 12:59:59", _ONE - 1)
clock.stdin.close()
print("its end ->", clock.wait(), flush=True)
ctypes.CDLL(None).reboot(_POWER_OFF)
