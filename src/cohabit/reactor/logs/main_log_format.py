"""The lines of supervisord's main log: `2026-11-30 21:05:04,242 INFO spawned: 'web' with pid 12`."""

from __future__ import annotations

import time

from cohabit.reactor.logs.formats import Raw

_LEVELS = {"info": b"INFO", "warning": b"WARN", "error": b"ERRO"}


class MainLog(Raw):
    """Messages with supervisord's time and level."""

    def message(self, level: str, text: bytes, now_ns: int) -> bytes:
        """Format one message of cohabit itself."""
        seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
        moment = time.localtime(seconds)
        when = b"%04d-%02d-%02d %02d:%02d:%02d,%03d" % (*moment[:6], nanoseconds // 1_000_000)
        return b"%b %b %b\n" % (when, _LEVELS.get(level, b"CRIT"), text)
