"""received.py [EXIT_CODE [LAST]]: print each signal that arrives, one per line, until LAST.

Prints "ready" first. LAST is the number of the signal that ends it (default 12, USR2); the exit code is 0 by default.
"""

import os
import signal
import sys

code = int(sys.argv[1]) if len(sys.argv) > 1 else 0
last = int(sys.argv[2]) if len(sys.argv) > 2 else int(signal.SIGUSR2)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.write(1, b"ready\n")
while True:
    got = signal.sigwaitinfo(signal.valid_signals() - {signal.SIGCHLD}).si_signo
    os.write(1, b"got %d\n" % got)
    if got == last:
        os._exit(code)
