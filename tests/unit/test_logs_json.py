"""The json format: each line that a service writes becomes one object of less than 16 KiB."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.reactor.logs.escape import escape, pieces
from cohabit.reactor.logs.formats import Origin
from cohabit.reactor.logs.json_format import Json

NOW_NS = 1_732_449_600_123_456_789
TIME = "2024-11-24T12:00:00.123456789Z"
WEB = {"time": TIME, "service": "web", "replica": 2, "stream": "stdout", "pid": 7}
LIMIT = 16_384

NAMES = st.sampled_from(["time", "service", "replica", "stream", "pid", "level", "message", "x"]) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
PIECES = st.sampled_from(["\\", '"', "\x01", "\x1b", "\t", "é", "€", "😀", "a", "\\u", "u"])


def web() -> Json:
    """The stdout of the second replica of web."""
    return Json(Origin("web-2", "stdout", "web", 2, 7))


def objects(output: bytes) -> list[dict[str, Any]]:
    """Every line of the output; each is within the limit."""
    *lines, nothing = output.split(b"\n")
    assert nothing == b""
    assert all(len(line) + 1 < LIMIT for line in lines)
    return [json.loads(line) for line in lines]


def as_read(data: bytes) -> str:
    """The message for bytes that may not be UTF-8."""
    return data.decode("utf-8", "backslashreplace")


def test_keys_have_a_fixed_order() -> None:
    """Time, service, replica, stream, pid, level, message, as documented."""
    line = web().lines(b'2024 ERROR "it"\n', NOW_NS)
    assert line == (
        b'{"time":"2024-11-24T12:00:00.123456789Z","service":"web","replica":2,"stream":"stdout","pid":7,'
        b'"level":"error","message":"2024 ERROR \\"it\\""}\n'
    )


def test_unknown_values_are_left_out() -> None:
    """Without replica, pid or level there is no key."""
    assert objects(Json(Origin("db", "stderr")).lines(b"x\n", 5)) == [
        {"time": "1970-01-01T00:00:00.000000005Z", "service": "db", "stream": "stderr", "message": "x"}
    ]


def test_the_pid_may_be_set_later() -> None:
    """The format may be created before the process."""
    origin = Origin("db", "stderr")
    form = Json(origin)
    assert "pid" not in objects(form.lines(b"x\n", NOW_NS))[0]
    origin.pid = 12
    assert objects(form.lines(b'x\n{"y":1}\n', NOW_NS))[0]["pid"] == 12


def test_own_messages_have_their_level_and_are_not_merged() -> None:
    """Whatever is in them."""
    form = Json(Origin("cohabit", "stderr"))
    assert objects(form.message("warning", b'INFO\n{"a"}', NOW_NS)) == [
        {"time": TIME, "service": "cohabit", "stream": "stderr", "level": "warning", "message": 'INFO\n{"a"}'}
    ]
    assert objects(form.message("info", b'{"a":1}', NOW_NS))[0]["message"] == '{"a":1}'


@given(st.lists(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8")), min_size=1))
def test_every_line_is_one_object_with_the_line_as_message(lines: list[bytes]) -> None:
    """With control characters, invalid UTF-8 and quotes in it."""
    lines = [b"." + line.replace(b"\n", b"") for line in lines]
    found = objects(web().lines(b"".join(line + b"\n" for line in lines), NOW_NS))
    assert [one["message"] for one in found] == [as_read(line.removesuffix(b"\r")) for line in lines]
    assert all(one.items() >= WEB.items() for one in found)


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\x1b[32mINFO\x1b[0m x", b"1 ERROR x"]), min_size=1))
def test_bulk_and_single_formatting_agree(lines: list[bytes]) -> None:
    """In one call, in several, next to an object, or as records."""
    lines = [line.replace(b"\n", b"").replace(b"\r", b"") for line in lines]
    data = b"".join(line + b"\n" for line in lines)
    whole = web().lines(data, NOW_NS)
    assert whole == b"".join(web().lines(line + b"\n", NOW_NS) for line in lines)
    assert whole == web().records(lines, NOW_NS)
    with_object = web().lines(data + b"{}\n", NOW_NS)
    assert with_object.startswith(whole)
    assert with_object.count(b"\n") == len(lines) + 1


def test_control_characters_are_kept() -> None:
    """NUL, ANSI, CR and tabs are kept; the CR of a CR LF is not. An empty line is a record."""
    data = b"\0\n\x1b[31mred\x1b[0m\n 10%\r 20%\r\n\ttab\x7f\n\n\xff\xed\xa0\x80 \\xff\n"
    assert [one["message"] for one in objects(web().lines(data, NOW_NS))] == [
        "\0", "\x1b[31mred\x1b[0m", " 10%\r 20%", "\ttab\x7f", "", "\\xff\\xed\\xa0\\x80 \\xff",
    ]  # fmt: skip


def test_a_multiline_record_is_one_object() -> None:
    """Its newlines are in the message; its level is that of the first line."""
    records = [b"12:00 WARN x\nERROR y\r\nz\r", b"one\nERROR two", b'{"a":1}\n{"b":2}', b'{"a":\n 1}']
    found = objects(web().records(records, NOW_NS))
    assert found == [
        WEB | {"level": "warning", "message": "12:00 WARN x\nERROR y\nz"},
        WEB | {"message": "one\nERROR two"},
        WEB | {"message": '{"a":1}\n{"b":2}'},
        WEB | {"a": 1},
    ]


def test_an_object_is_merged() -> None:
    """The added fields precede its own text, without message and level."""
    assert web().lines(b'{"a":1.0,"b":[1,  "ERROR"],"a":2}\r\n{}\n{ }\n', NOW_NS).splitlines() == [
        b'{"time":"2024-11-24T12:00:00.123456789Z","service":"web","replica":2,"stream":"stdout","pid":7%b}' % rest
        for rest in (b',"a":1.0,"b":[1,  "ERROR"],"a":2', b"", b" ")
    ]


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=5), st.booleans())
def test_a_merged_object_keeps_all_its_fields(given_objects: list[dict[str, Any]], ascii_only: bool) -> None:
    """Its own values take precedence; the other fields are added."""
    data = b"".join(json.dumps(one, ensure_ascii=ascii_only).encode() + b"\n" for one in given_objects)
    assert objects(web().lines(data, NOW_NS)) == [WEB | one for one in given_objects]
    for line, one in zip(web().lines(data, NOW_NS).splitlines(), given_objects, strict=True):
        names = [name for name, _ in json.loads(line, object_pairs_hook=list)]
        assert names == [name for name in WEB if name not in one] + list(one)


@pytest.mark.parametrize(
    "line",
    [
        "{", "{}x", "{}{}", '{"a":NaN}', '{"a":-Infinity}', '{"a":01}', "{'a':1}", '{"a":1,}', '{"a":tru}',
        '{"a":"\t"}', '{"a":1', '{"a"}', '{"a":1} # ERR', '{"a":"\\x"}', '["a"]', '"a"', "1", ' {"a":1}',
        '{"a":' + "[" * 8000, '{"a":' + "[" * 8000 + "]" * 8000 + "}", '\ufeff{"a":1}', '{"a":1}\0', '{"a":1}\x0b',
    ],
    ids=lambda line: ascii(line[:20]),
)  # fmt: skip
def test_a_line_that_is_not_exactly_one_object_is_text(line: str) -> None:
    """Trailing text, NaN, unlimited depth, Python's notation: quoted, nothing is lost."""
    found = objects(web().lines(b"{}\n" + line.encode() + b"\n", NOW_NS))
    assert "".join(one["message"] for one in found[1:]) == line


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"]":', "}"), ('["\\\\","\\"]",', "]")])
def test_an_object_has_at_most_128_levels(opening: str, closing: str) -> None:
    """On every Python version, though their scanners differ. Brackets inside strings do not count."""

    def nested(levels: int) -> str:
        return '{"a":' + opening * (levels - 1) + "0" + closing * (levels - 1) + "}"

    def written(line: str) -> dict[str, Any]:
        (found,) = objects(web().lines(line.encode() + b"\n", NOW_NS))
        return found

    for levels in (2, 127, 128):
        assert written(nested(levels)) == WEB | json.loads(nested(levels))
    for levels in (129, 500):
        assert written(nested(levels)) == WEB | {"message": nested(levels)}


def test_an_object_with_bad_utf_8_is_text() -> None:
    """Merging would make the whole line invalid."""
    assert objects(web().lines(b'{"a":"\xff"}\n', NOW_NS)) == [WEB | {"message": '{"a":"\\xff"}'}]


def test_numbers_of_any_length_are_merged() -> None:
    """Limits of other parsers do not matter."""
    line = b'{"a":%b,"b":1e999}' % (b"9" * 6000)
    assert web().lines(line + b"\n", NOW_NS).endswith(b"," + line[1:] + b"\n")


def test_the_json_package_is_not_imported() -> None:
    """Invalid objects are found without the packages json and re. If they are loaded, they stay as they are."""
    program = (
        f"import sys; sys.path.append({str(Path(__file__).parents[2] / 'src')!r})\n"
        "from cohabit.reactor.logs.json_format import Json\n"
        "from cohabit.reactor.logs.formats import Origin\n"
        "out = Json(Origin('web', 'stdout')).lines(b'{\"a\":x}\\n{\"a\":\"\\x01\"}\\n', 0)\n"
        "print(out.count(b'message'), sys.modules.keys() & {'json', 'json.decoder', 're', 'typing'})\n"
        "import json; json.loads('{}')"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "2 set()\n"
    decoder = sys.modules["json.decoder"]
    web().lines(b'{"a":x}\n', NOW_NS)
    assert sys.modules["json.decoder"] is decoder


def test_a_long_line_is_split_into_parts() -> None:
    """With Docker's names, ordinals from 1, one id per record and the same head; other lines are not split."""
    form = web()
    data = b"short\nERROR " + b"x" * 40_000 + b"\n" + b"y" * 20_000 + b"\n"
    short, *parts = objects(form.lines(data, NOW_NS))
    assert short == WEB | {"message": "short"}
    first, second = parts[:3], parts[3:]
    for ordinal, part in enumerate(first, 1):
        assert part["message"]
        assert part == WEB | {
            "level": "error",
            "message": part["message"],
            "partial_message": True,
            "partial_id": first[0]["partial_id"],
            "partial_ordinal": ordinal,
            "partial_last": ordinal == 3,
        }
    assert "".join(part["message"] for part in first) == "ERROR " + "x" * 40_000
    assert "".join(part["message"] for part in second) == "y" * 20_000
    ids = {part["partial_id"] for part in parts} | {objects(form.lines(data, NOW_NS))[1]["partial_id"]}
    ids.add(objects(Json(Origin("web-2", "stderr", "web", 2)).lines(data, NOW_NS))[1]["partial_id"])
    ids.add(objects(Json(Origin("web-1", "stdout", "web", 1)).lines(data, NOW_NS))[1]["partial_id"])
    ids.add(objects(web().lines(data, NOW_NS + 1))[1]["partial_id"])
    assert len(ids) == 6


def test_the_limit_is_exact() -> None:
    """The longest line that is not split makes a record of 16,383 bytes. A larger object is text."""
    size_max = LIMIT - 1 - len(web().lines(b"\n", NOW_NS))
    whole = web().lines(b"x" * size_max + b"\n", NOW_NS)
    assert len(whole) == LIMIT - 1
    assert len(objects(web().lines(b"x" * (size_max + 1) + b"\n", NOW_NS))) == 2
    merged = web().lines(b'{"a":"%b"}\n' % (b"x" * (size_max + 6)), NOW_NS)
    assert len(merged) == LIMIT - 1
    line = '{"a":"%s"}' % ("x" * (size_max + 7))
    parts = objects(web().lines(line.encode() + b"\n", NOW_NS))
    assert [len(parts), "".join(part["message"] for part in parts)] == [2, line]


@given(st.lists(st.tuples(PIECES, st.integers(1, 5000)), min_size=4, max_size=9))
def test_parts_join_to_the_line(runs: list[tuple[str, int]]) -> None:
    """It is never split inside an escape sequence or a character."""
    text = "." + "".join(piece * times for piece, times in runs)
    assert "".join(part["message"] for part in objects(web().lines(text.encode() + b"\n", NOW_NS))) == text
    assert "".join(part["message"] for part in objects(web().records([text.encode() + b"\n."], NOW_NS))) == text + "\n."


@given(st.lists(PIECES).map("".join), st.integers(8, 30))
def test_each_piece_is_valid_alone(text: str, size_max: int) -> None:
    """It fits, and it is not empty."""
    found = list(pieces(escape(text.encode()), size_max))
    assert "".join(json.loads(b'"%b"' % piece) for piece in found) == text
    assert all(len(piece) <= size_max for piece in found)
    assert all(found) or not text


def test_a_line_of_a_megabyte_is_complete() -> None:
    """Whatever characters it has."""
    for unit in (b"x", b"\\", b"\x01", "€".encode(), b"\xff"):
        line = b"." + unit * (1_000_000 // len(unit))
        assert "".join(part["message"] for part in objects(web().lines(line + b"\n", NOW_NS))) == as_read(line)
