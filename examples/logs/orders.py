"""A worker that writes structured logs: one JSON object per line."""

import json
import time
from itertools import count

for number in count(1):
    amount = {"value": number * 7, "unit": "EUR"}
    print(json.dumps({"level": "info", "event": "order", "order": number, "amount": amount}), flush=True)
    time.sleep(1)
