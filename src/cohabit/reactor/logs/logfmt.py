"""key=value pairs, one record per line: time service replica stream pid level msg. For grep, and for Loki.

The text stands in quotes always, escaped as in JSON; a line that is JSON or logfmt itself is text like any other.
"""

from __future__ import annotations

from cohabit.reactor.logs.structured import Structured


class Logfmt(Structured):
    """A Format for people and machines."""

    tail = b'"\n'
    part_tail = b'" partial_message=true partial_id=%b partial_ordinal=%d partial_last=%b\n'

    def head(self, moment: bytes, level: bytes) -> bytes:
        """The pairs before the text, and its first quote."""
        origin = self.origin
        pairs = b"time=%b service=%b" % (moment, origin.service.encode())
        if origin.replica:
            pairs += b" replica=%d" % origin.replica
        pairs += b" stream=" + origin.stream.encode()
        if origin.pid:
            pairs += b" pid=%d" % origin.pid
        if level:
            pairs += b" level=" + level
        return pairs + b' msg="'
