"""Reads the output of a tool. The bench starts it as a separate process; it is not imported.

    reader.py bytes|lines|numbered|numbered-json|rate GOAL

Reads stdin to its end. `bytes`, `lines`: after GOAL bytes or lines, or ten seconds of reading, it prints `SECONDS
SEEN`: the time by CLOCK_MONOTONIC, which all processes share, and the number of bytes or lines. `numbered`: it prints
`SECONDS GOAL` at the first long silence, and `whole N torn N lost N disordered N` at the end of the input.
`numbered-json`: the same for lines that are in a string of a JSON object. `rate`: it prints `SECONDS LINES` after each
half second with output. Counting is kept cheap because it shares the CPUs with the tool.
"""

import json
import os
import re
import select
import sys
import time

CHUNK_BYTES = 1 << 18
READING_SECONDS = 10.0
SILENCE_SECONDS = 3.0
RATE_SECONDS = 0.5
PAUSE_SECONDS = 0.002
PIECE = re.compile(rb"(?:[^x\n]{0,60}(?:[|:]|@[0-9a-f]{24}) )?([ab]) (\d{10}) x{86}")


def report(*fields: object) -> None:
    """Print one line for the bench, without buffering."""
    print(*fields, flush=True)


def count(of_lines: bool, goal: int) -> None:
    """Count bytes or newlines until the goal or the time limit, then read without counting."""
    seen = 0
    buffer = bytearray(CHUNK_BYTES)
    give_up = None
    while seen < goal and (got := os.readv(0, [buffer])):
        seen += buffer.count(b"\n", 0, got) if of_lines else got
        now = time.monotonic()
        if give_up is None:
            give_up = now + READING_SECONDS
        elif now > give_up:
            break
    report(time.monotonic(), min(seen, goal))
    while os.readv(0, [buffer]):
        pass


def rate() -> None:
    """Count newlines and report the number regularly. A pause after each read saves CPU time."""
    seen, buffer = 0, bytearray(CHUNK_BYTES)
    report_at = time.monotonic() + RATE_SECONDS
    while got := os.readv(0, [buffer]):
        seen += buffer.count(b"\n", 0, got)
        if (now := time.monotonic()) >= report_at:
            report(now, seen)
            report_at = now + RATE_SECONDS
        time.sleep(PAUSE_SECONDS)


def piece_of(line: bytes, as_json: bool) -> re.Match[bytes] | None:
    """Return the match of the numbered line: after a prefix, or in a string of a JSON object."""
    if not as_json:
        return PIECE.fullmatch(line)
    try:
        values = json.loads(line).values()
    except (ValueError, AttributeError):
        return None
    return next(filter(None, (PIECE.fullmatch(value.encode()) for value in values if isinstance(value, str))), None)


def check(goal: int, as_json: bool) -> None:
    """Check that every line is complete, that none is missing, and that they are in order."""
    expected = {b"a": 0, b"b": 0}
    whole = torn = disordered = 0
    rest = b""
    chunk = os.read(0, CHUNK_BYTES)
    quiet = False
    while chunk:
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            piece = piece_of(line, as_json)
            if piece is None:
                torn += b"xxx" in line
                continue
            whole += 1
            number = int(piece[2])
            disordered += number < expected[piece[1]]
            expected[piece[1]] = number + 1
        if not quiet and not select.select([0], [], [], SILENCE_SECONDS)[0]:
            quiet = True
            report(time.monotonic(), goal)
        chunk = os.read(0, CHUNK_BYTES)
    torn += b"xxx" in rest
    report("whole", whole, "torn", torn, "lost", goal - whole - torn, "disordered", disordered)


if sys.argv[1].startswith("numbered"):
    check(int(sys.argv[2]), sys.argv[1] == "numbered-json")
elif sys.argv[1] == "rate":
    rate()
else:
    count(sys.argv[1] == "lines", int(sys.argv[2]))
