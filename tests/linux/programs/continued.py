"""Print "ready", and "continued" at each CONT. TSTP stops it and TERM ends it as usual."""

import os
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})
os.write(1, b"ready\n")
while signal.sigwait({signal.SIGCONT}):
    os.write(1, b"continued\n")
