"""The logfmt format: key=value pairs, one record per line, for grep and Loki.

The keys are time, service, replica, stream, pid, level, msg. The text is always quoted and escaped as in JSON; a line
that is JSON or logfmt itself is text too.
"""

from __future__ import annotations

from cohabit.reactor.logs.structured import Structured


class Logfmt(Structured):
    """The format of one stream of one service."""

    tail = b'"\n'
    part_tail = b'" partial_message=true partial_id=%b partial_ordinal=%d partial_last=%b\n'

    def head(self, moment: bytes, level: bytes) -> bytes:
        """The pairs before the text, and its opening quote."""
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
