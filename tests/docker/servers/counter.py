"""Count, one line per number, about a thousand per second, until /tmp/enough exists; then print that and wait."""

import itertools
import os
import signal
import time

for number in itertools.count(1):
    print(number, flush=True)
    if os.path.exists("/tmp/enough"):
        break
    time.sleep(0.0005)
print("enough", flush=True)
signal.pause()
