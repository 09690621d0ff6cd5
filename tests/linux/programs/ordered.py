"""ordered.py NAME [CODE]: write "start NAME" to the file `order`, at the first TERM "stop NAME", end with CODE."""

import os
import signal
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
fd = os.open("order", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
os.write(fd, f"start {sys.argv[1]}\n".encode())
signal.sigwait({signal.SIGTERM})
os.write(fd, f"stop {sys.argv[1]}\n".encode())
os._exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
