"""The driver logfmt: the same fields as pairs, read back with a small parser of its own."""

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
    """The second replica of web, its stdout."""
    return Logfmt(Origin("web-2", "stdout", "web", 2, 7))


def pairs(line: str) -> dict[str, str]:
    """key=value and key="value", one space between; in quotes the escapes are JSON's."""
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
    """Every line of the output, each small enough."""
    *lines, nothing = output.split(b"\n")
    assert nothing == b""
    assert all(len(line) + 1 < LIMIT for line in lines)
    return [pairs(line.decode()) for line in lines]


def test_the_pairs_and_their_order() -> None:
    """Time, service, replica, stream, pid, level, msg, which always has quotes."""
    assert web().lines(b"2024 ERROR it\n{}\n", NOW_NS).decode().splitlines() == [
        'time=2024-11-24T12:00:00.123456789Z service=web replica=2 stream=stdout pid=7 level=error msg="2024 ERROR it"',
        'time=2024-11-24T12:00:00.123456789Z service=web replica=2 stream=stdout pid=7 msg="{}"',
    ]


def test_what_is_not_known_is_left_out() -> None:
    """No replica, no pid, no level: no pairs. Our own messages say their level."""
    form = Logfmt(Origin("cohabit", "stderr"))
    assert form.lines(b"x\n", 0) == b'time=1970-01-01T00:00:00.000000000Z service=cohabit stream=stderr msg="x"\n'
    assert form.message("warning", b'a\n"b"', 0) == (
        b'time=1970-01-01T00:00:00.000000000Z service=cohabit stream=stderr level=warning msg="a\\n\\"b\\""\n'
    )


@given(st.lists(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8")), min_size=1))
def test_every_line_is_read_back(lines: list[bytes]) -> None:
    """Whatever is in a line, also JSON and pairs, it is in msg."""
    lines = [line.replace(b"\n", b"") for line in [*lines, b'{"a":1}', b'a=1 b="2"']]
    found = records(web().lines(b"".join(line + b"\n" for line in lines), NOW_NS))
    said = [line.removesuffix(b"\r").decode("utf-8", "backslashreplace") for line in lines]
    assert [one["msg"] for one in found] == said
    assert all(one.items() >= WEB.items() for one in found)
    assert web().records(lines, NOW_NS) == web().lines(b"".join(line + b"\n" for line in lines), NOW_NS)


def test_a_record_of_several_lines() -> None:
    """Its newlines are in msg."""
    assert records(web().records([b"WARN a\nb", b"c"], NOW_NS)) == [
        WEB | {"level": "warning", "msg": "WARN a\nb"},
        WEB | {"msg": "c"},
    ]


@given(st.lists(st.tuples(st.sampled_from(["\\", '"', "\x01", "€", "😀", "a"]), st.integers(1, 5000)), min_size=5))
def test_parts_join_to_the_whole(runs: list[tuple[str, int]]) -> None:
    """What is too long comes in parts with Docker's names."""
    text = "x" * 16_384 + "".join(piece * times for piece, times in runs)
    parts = records(web().lines(text.encode() + b"\n", NOW_NS))
    assert "".join(part["msg"] for part in parts) == text
    assert [part["partial_ordinal"] for part in parts] == [str(n + 1) for n in range(len(parts))]
    assert [part["partial_last"] for part in parts] == ["false"] * (len(parts) - 1) + ["true"]
    assert {(part["partial_message"], part["partial_id"]) for part in parts} == {("true", parts[0]["partial_id"])}
