"""Fork as fast as possible; each child creates its own session and ignores TERM.

The parent, which is the service, reports that the container's process limit was reached, and exits with 1, or stays
(bomb.py keep); the others continue.
"""

import os
import signal
import sys
from typing import NoReturn


def bomb(full: int) -> NoReturn:
    """Fork without end; write a byte when a fork fails."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            os.write(full, b".")


reader, writer = os.pipe()
if os.fork() == 0:
    bomb(writer)
os.read(reader, 1)
print("the limit is met", flush=True)
if sys.argv[1:]:
    signal.pause()
sys.exit(1)
