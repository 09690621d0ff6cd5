"""The logfmt format, read back with a small parser."""

import json

from hypothesis import given
from hypothesis import strategies as st

from cohabit.reactor.logs.formats import Origin
from cohabit.reactor.logs.logfmt import Logfmt

NOW_NS = 1_732_449_600_123_456_789
WEB = {
    "time": "2024-11-24T12:00:00.123456789Z", "service": "web", "replica": "2", "stream": "stdout", "pid": "7",
}  # fmt: skip
LIMIT = 16_384


def web() -> Logfmt:
    """The stdout of the second replica of web."""
    return Logfmt(Origin("web-2", "stdout", "web", 2, 7))


def pairs(line: str) -> dict[str, str]:
    """Parse key=value and key="value", separated by one space; escapes in quotes are JSON's."""
    found: dict[str, str] = {}
    at = 0
    while at < len(line):
        equals = line.index("=", at)
        if line[equals + 1] == '"':
            value, end = json.JSONDecoder().raw_decode(line, equals + 1)
        else:
            end = line.find(" ", equals) % (len(line) + 1)
            value = line[equals + 1 : end]
        assert line[at:equals] not in found
        found[line[at:equals]] = value
        assert line[end : end + 1] in {" ", ""}
        at = end + 1
    return found


def records(output: bytes) -> list[dict[str, str]]:
    """Every line of the output; each is within the limit."""
    *lines, nothing = output.split(b"\n")
    assert nothing == b""
    assert all(len(line) + 1 < LIMIT for line in lines)
    return [pairs(line.decode()) for line in lines]


def test_pairs_have_a_fixed_order() -> None:
    """Time, service, replica, stream, pid, level, msg. msg is always quoted."""
    assert web().lines(b"2024 ERROR it\n{}\n", NOW_NS).decode().splitlines() == [
        'time=2024-11-24T12:00:00.123456789Z service=web replica=2 stream=stdout pid=7 level=error msg="2024 ERROR it"',
        'time=2024-11-24T12:00:00.123456789Z service=web replica=2 stream=stdout pid=7 msg="{}"',
    ]


def test_unknown_values_are_left_out() -> None:
    """Without replica, pid or level there is no pair. Own messages have their level."""
    form = Logfmt(Origin("cohabit", "stderr"))
    assert form.lines(b"x\n", 0) == b'time=1970-01-01T00:00:00.000000000Z service=cohabit stream=stderr msg="x"\n'
    assert form.message("warning", b'a\n"b"', 0) == (
        b'time=1970-01-01T00:00:00.000000000Z service=cohabit stream=stderr level=warning msg="a\\n\\"b\\""\n'
    )


@given(st.lists(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8")), min_size=1))
def test_every_line_can_be_parsed(lines: list[bytes]) -> None:
    """The line is in msg, even if it is JSON or logfmt."""
    lines = [line.replace(b"\n", b"") for line in [*lines, b'{"a":1}', b'a=1 b="2"']]
    found = records(web().lines(b"".join(line + b"\n" for line in lines), NOW_NS))
    expected = [line.removesuffix(b"\r").decode("utf-8", "backslashreplace") for line in lines]
    assert [one["msg"] for one in found] == expected
    assert all(one.items() >= WEB.items() for one in found)
    assert web().records(lines, NOW_NS) == web().lines(b"".join(line + b"\n" for line in lines), NOW_NS)


def test_a_multiline_record_is_one_line() -> None:
    """Its newlines are escaped in msg."""
    assert records(web().records([b"WARN a\nb", b"c"], NOW_NS)) == [
        WEB | {"level": "warning", "msg": "WARN a\nb"},
        WEB | {"msg": "c"},
    ]


@given(st.lists(st.tuples(st.sampled_from(["\\", '"', "\x01", "€", "😀", "a"]), st.integers(1, 5000)), min_size=5))
def test_parts_join_to_the_line(runs: list[tuple[str, int]]) -> None:
    """A line that is too long is split, with the names of Docker's parts."""
    text = "x" * 16_384 + "".join(piece * times for piece, times in runs)
    parts = records(web().lines(text.encode() + b"\n", NOW_NS))
    assert "".join(part["msg"] for part in parts) == text
    assert [part["partial_ordinal"] for part in parts] == [str(n + 1) for n in range(len(parts))]
    assert [part["partial_last"] for part in parts] == ["false"] * (len(parts) - 1) + ["true"]
    assert {(part["partial_message"], part["partial_id"]) for part in parts} == {("true", parts[0]["partial_id"])}
