"""A program that writes a log file and rotates it: `rotates.py PATH LINES EVERY`. Its lines are numbers.

After EVERY lines the file is renamed (PATH.1, PATH.2 and so on), and goes on being written for a while, as by the
workers of a web server, before the new one is. It waits for a byte from the file $GATE at first, and before its end
with exit code 3.
"""

import os
import sys

path, lines, every = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(os.environ["GATE"], "rb", buffering=0) as gate:
    gate.read(1)
file = open(path, "a", buffering=1, encoding="ascii")  # noqa: SIM115
rotations = 0
for number in range(lines):
    file.write(f"line {number} {'x' * (number % 200)}\n")
    if number % every == every - 1:
        rotations += 1
        os.rename(path, f"{path}.{rotations}")
        open(path, "a", encoding="ascii").close()  # as logrotate with `create`
    elif number % every == every // 10 and number > every:
        file = open(path, "a", buffering=1, encoding="ascii")  # noqa: SIM115
with open(os.environ["GATE"], "rb", buffering=0) as gate:
    gate.read(1)
os._exit(3)
