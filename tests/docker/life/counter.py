"""Counts, a line for each number, some thousand in a second, until there is a file /tmp/enough; says so, and stays."""

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
