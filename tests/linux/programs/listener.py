"""listener.py FILE [RESULT]: an event listener that appends each header and payload to a file, as one JSON line."""

import json
import sys

result = (sys.argv[2:] or ["OK"])[0]
while True:
    print("READY", flush=True)
    line = sys.stdin.readline()
    if not line:
        break
    header = dict(word.split(":", 1) for word in line.split())
    payload = sys.stdin.read(int(header["len"]))
    with open(sys.argv[1], "a", encoding="utf-8") as file:
        file.write(json.dumps([header, payload]) + "\n")
    sys.stdout.write(f"RESULT {len(result)}\n{result}")
    sys.stdout.flush()
