"""up_jumps.py MAIN FILE: run `cohabit up` as process 1 of a User Mode Linux and set the time of day.

The file has `keeper`, which keeps running, and `job`, due at 13:00, which writes `ran` and waits until /mnt/gate is
opened. Each line of output is `STEP -> LINE`, the line for which the step has waited.
"""

import ctypes
import os
import subprocess
import sys
import time

_DAY = 86400
_POWER_OFF = 0x4321FEDC  # reboot(2)
_ONE = 1_793_000_000 // _DAY * _DAY + 13 * 3600

libc = ctypes.CDLL(None)
libc.mount(b"none", b"/proc", b"proc", 0, None)
libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)
os.mkfifo("/mnt/gate")
gate = os.open("/mnt/gate", os.O_RDWR)
time.clock_settime(time.CLOCK_REALTIME, _ONE - 1800)
up = subprocess.Popen(
    [sys.executable, "-I", "-S", sys.argv[1], "up", "-f", sys.argv[2]],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
)
assert up.stdout


def until(step: str, *texts: str) -> None:
    """Wait for a line with one of these texts."""
    assert up.stdout
    for line in up.stdout:
        print("up:", line, end="", flush=True)
        if any(text in line for text in texts):
            print(step, "->", line.strip(), flush=True)
            return
    print(step, "-> the end", flush=True)


def set_time(moment: float) -> None:
    """Set the time of day."""
    time.clock_settime(time.CLOCK_REALTIME, moment)


until("start", "keeper: started")
set_time(_ONE - 0.5)
until("at one", "| ran")
set_time(_ONE + _DAY)
until("a day later, while it runs", "its schedule says", "| ran")
os.write(gate, b"\n")
until("its end", "job: ended")
set_time(_ONE + 20 * _DAY)
until("twenty days later", "| ran")
up.terminate()
until("stop", "exit code")
print("code ->", up.wait(), flush=True)
libc.reboot(_POWER_OFF)
