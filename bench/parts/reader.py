"""Whoever reads a tool's output: a process of its own, started by the bench, never imported.

    reader.py bytes|lines|numbered|numbered-json|rate GOAL

Reads stdin to its end. As soon as GOAL bytes or lines are in, or after ten seconds of reading, it prints
`SECONDS SEEN`: the moment (by the monotonic clock, which all processes share) and how many bytes or lines
there were. For `numbered` it prints `SECONDS GOAL` when the first long silence comes, and at the end of the
input `whole N torn N lost N disordered N`; `numbered-json` wants each line in a string of a JSON object. `rate` says
`SECONDS LINES` again and again, after each half second in which it reads. Counting is kept cheap: it shares the
processors with the tool.
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
BREATH_SECONDS = 0.002
PIECE = re.compile(rb"(?:[^x\n]{0,60}(?:[|:]|@[0-9a-f]{24}) )?([ab]) (\d{10}) x{86}")


def say(*words: object) -> None:
    """Tell the bench one line, at once."""
    print(*words, flush=True)


def count(of_lines: bool, goal: int) -> None:
    """Count bytes or newlines until the goal is reached or time is up, then read on without counting."""
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
    say(time.monotonic(), min(seen, goal))
    while os.readv(0, [buffer]):
        pass


def rate() -> None:
    """Count newlines and tell how many there were, every now and then; a breath after each read spares processor."""
    seen, buffer = 0, bytearray(CHUNK_BYTES)
    tell_at = time.monotonic() + RATE_SECONDS
    while got := os.readv(0, [buffer]):
        seen += buffer.count(b"\n", 0, got)
        if (now := time.monotonic()) >= tell_at:
            say(now, seen)
            tell_at = now + RATE_SECONDS
        time.sleep(BREATH_SECONDS)


def piece_of(line: bytes, as_json: bool) -> re.Match[bytes] | None:
    """Return the numbered line in what came: behind a prefix, or one of the strings of a JSON object."""
    if not as_json:
        return PIECE.fullmatch(line)
    try:
        values = json.loads(line).values()
    except (ValueError, AttributeError):
        return None
    return next(filter(None, (PIECE.fullmatch(value.encode()) for value in values if isinstance(value, str))), None)


def check(goal: int, as_json: bool) -> None:
    """Look at every line: is it whole, is one missing, do they come in order."""
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
            say(time.monotonic(), goal)
        chunk = os.read(0, CHUNK_BYTES)
    torn += b"xxx" in rest
    say("whole", whole, "torn", torn, "lost", goal - whole - torn, "disordered", disordered)


if sys.argv[1].startswith("numbered"):
    check(int(sys.argv[2]), sys.argv[1] == "numbered-json")
elif sys.argv[1] == "rate":
    rate()
else:
    count(sys.argv[1] == "lines", int(sys.argv[2]))
