"""A minimal JSON stream for circus, which has none: one object per line."""

import datetime as dt
import json
import sys
from typing import Any


class JsonStream:
    """Called by circus with each piece that it reads: `data` bytes, `name` of the watcher, `pid`."""

    def __init__(self, **_options: Any) -> None:
        self._rest: dict[int, bytes] = {}

    def __call__(self, piece: dict[str, Any]) -> None:
        """Write every complete line as an object."""
        *lines, self._rest[piece["pid"]] = (self._rest.get(piece["pid"], b"") + piece["data"]).split(b"\n")
        time = dt.datetime.now(dt.UTC).isoformat()
        common = {"time": time, "service": piece["name"], "stream": "stdout", "pid": piece["pid"]}
        for line in lines:
            sys.stdout.write(json.dumps({**common, "message": line.decode(errors="replace")}) + "\n")
        sys.stdout.flush()
