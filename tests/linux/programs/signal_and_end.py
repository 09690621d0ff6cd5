"""Send TERM to process 1 from a child that has ended when process 1 handles it, as far as that is possible."""

import os
import signal

pid = os.fork()
if pid == 0:
    os.kill(1, signal.SIGTERM)
    os._exit(0)
os.waitpid(pid, 0)
signal.pause()
