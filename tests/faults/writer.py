"""writer.py NAME MILLISECONDS: writes numbered lines, `NAME PID NUMBER`, and at SIGTERM `NAME PID end COUNT`."""

import os
import select
import signal
import sys

name, pause = sys.argv[1], int(sys.argv[2])
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
signal.signal(signal.SIGTERM, lambda *_: None)
poll = select.poll()
poll.register(reader, select.POLLIN)
number = 0
while not poll.poll(pause):
    os.write(1, f"{name} {os.getpid()} {number}\n".encode())
    number += 1
os.write(1, f"{name} {os.getpid()} end {number}\n".encode())
