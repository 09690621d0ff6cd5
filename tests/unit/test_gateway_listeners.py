"""The protocol of event listeners, the buffer of a pool, and capture mode, without processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.gateway.listeners.capture import BEGIN, END, Capture
from cohabit.gateway.listeners.pool import Pool
from cohabit.gateway.listeners.protocol import ACKNOWLEDGED, BUSY, READY, UNKNOWN, Listener
from cohabit.gateway.listeners.types import Event, is_wanted

EVENT = Event(7, "TICK_5", "when:5")


def busy() -> Listener:
    """A listener that works on EVENT."""
    listener = Listener()
    assert listener.received(b"READY\n") == []
    assert listener.state == READY
    listener.give(EVENT)
    assert listener.state == BUSY
    return listener


@pytest.mark.parametrize("size", [1, 2, 100])
def test_an_event_is_accepted_or_rejected(size: int) -> None:
    """OK accepts it, anything else rejects it, however the output is divided into reads."""
    for result, rejected in ((b"OK", []), (b"FAIL", [EVENT]), (b"", [EVENT]), (b"OKOK", [EVENT])):
        listener = busy()
        data = b"RESULT %d\n%b" % (len(result), result)
        found = [one for at in range(0, len(data), size) for one in listener.received(data[at : at + size])]
        assert (found, listener.state, listener.event) == (rejected, ACKNOWLEDGED, None)
        listener.received(b"READY\n")
        assert listener.state == READY


@pytest.mark.parametrize("data", [b"hello\n", b"READY", b"READY\r\n", b"\0" * 10])
def test_other_output_before_ready(data: bytes) -> None:
    """The listener gets no event any more; an incomplete READY is waited for."""
    listener = Listener()
    listener.received(data)
    assert listener.state == (ACKNOWLEDGED if data == b"READY" else UNKNOWN)


@pytest.mark.parametrize("data", [b"RESULT x\n", b"RESULT -1\n", b"RESULT \n", b"\n", b"x" * 70_000])
def test_other_output_instead_of_a_result(data: bytes) -> None:
    """The event is rejected, and the listener gets no other."""
    listener = busy()
    assert listener.received(data) == [EVENT]
    assert (listener.state, listener.event) == (UNKNOWN, None)
    assert listener.received(b"READY\n") == []
    assert listener.state == UNKNOWN


def test_output_of_a_ready_listener() -> None:
    """It must be silent until it has an event."""
    listener = Listener()
    listener.received(b"READY\nx")
    assert listener.state == UNKNOWN


def test_a_huge_result_is_not_kept() -> None:
    """Only its beginning counts."""
    listener = busy()
    listener.received(b"RESULT 100000000\n")
    for _ in range(100):
        assert listener.received(b"O" * 1_000_000) in ([], [EVENT])
    assert listener.state == ACKNOWLEDGED


class World:
    """A pool with listeners whose pipes are lists."""

    def __init__(self, size: int = 2, events: tuple[str, ...] = ("TICK",)) -> None:
        self.sent: list[tuple[str, str]] = []
        self.dropped: list[int] = []
        self.deaf: set[str] = set()
        self.pool = Pool(
            "pool",
            events,
            size,
            identifier="id",
            send=self._send,
            dropped=lambda _pool, event: self.dropped.append(event.serial),
        )

    def _send(self, name: str, data: bytes) -> bool:
        self.sent.append((name, data.decode()))
        return name not in self.deaf

    def ready(self, name: str) -> None:
        """A listener has started and is ready."""
        self.pool.started(name)
        self.pool.received(name, b"READY\n")

    def serials(self) -> list[int]:
        """The serial numbers of the events that were sent."""
        return [int(text.split("serial:")[1].split(" ")[0]) for _, text in self.sent]


def test_an_event_waits_for_a_listener() -> None:
    """Its header has the serial numbers, and counts characters."""
    world = World(events=("REMOTE_COMMUNICATION",))
    world.pool.accept(Event(3, "TICK_5", "when:5"))
    world.pool.accept(Event(4, "REMOTE_COMMUNICATION", "type:é\n"))
    assert world.sent == []
    world.ready("a")
    header = "ver:3.0 server:id serial:4 pool:pool poolserial:0 eventname:REMOTE_COMMUNICATION len:7\n"
    assert world.sent == [("a", header + "type:é\n")]


def test_listeners_share_the_buffer() -> None:
    """Each gets the next event, and another one when it is ready again."""
    world = World(size=10)
    for number in range(4):
        world.pool.accept(Event(number, "TICK_5", ""))
    world.ready("a")
    world.ready("b")
    assert [name for name, _ in world.sent] == ["a", "b"]
    world.pool.received("b", b"RESULT 2\nOKREADY\n")
    world.pool.received("a", b"RESULT 2\nOKREADY\n")
    assert [name for name, _ in world.sent] == ["a", "b", "b", "a"]
    assert world.serials() == [0, 1, 2, 3]


def test_the_oldest_is_discarded() -> None:
    """As many as the buffer has room for wait."""
    world = World(size=2)
    for number in range(5):
        world.pool.accept(Event(number, "TICK_5", ""))
    assert world.dropped == [0, 1, 2]
    world.ready("a")
    assert world.serials() == [3]


def test_an_unfinished_event_goes_to_another_listener() -> None:
    """Rejected, or because its listener has ended; with the same serial numbers."""
    world = World(size=10)
    world.ready("a")
    world.pool.accept(EVENT)
    world.ready("b")
    world.pool.ended("a")
    assert [name for name, _ in world.sent] == ["a", "b"]
    world.pool.received("b", b"RESULT 4\nFAIL")
    world.pool.received("b", b"READY\n")
    assert [name for name, _ in world.sent] == ["a", "b", "b"]
    assert len({text for _, text in world.sent}) == 1


def test_a_listener_that_has_just_ended_is_passed_over() -> None:
    """Its pipe is closed: the event goes to the next one."""
    world = World()
    world.deaf.add("a")
    world.ready("a")
    world.ready("b")
    world.pool.accept(EVENT)
    assert [name for name, _ in world.sent] == ["a", "b"]
    assert world.pool.listeners["b"].state == BUSY


@pytest.mark.parametrize(
    ("name", "subscribed", "wanted"),
    [
        ("TICK_5", ("TICK_5",), True),
        ("TICK_5", ("TICK",), True),
        ("TICK_5", ("EVENT",), True),
        ("TICK_5", ("TICK_60", "PROCESS_STATE"), False),
        ("PROCESS_STATE_FATAL", ("PROCESS_STATE",), True),
        ("PROCESS_LOG_STDERR", ("PROCESS_COMMUNICATION",), False),
        ("REMOTE_COMMUNICATION", ("EVENT",), True),
    ],
)
def test_abstract_types(name: str, subscribed: tuple[str, ...], wanted: bool) -> None:
    """An abstract type stands for all below it."""
    assert is_wanted(name, subscribed) is wanted


PIECES = st.lists(st.sampled_from([BEGIN, END, b"text", b"<!--X", b"\n"]), max_size=8)


@given(PIECES, st.integers(1, 30))
def test_capture_does_not_depend_on_the_reads(pieces: list[bytes], size: int) -> None:
    """What stands between two tokens is found, wherever the reads divide it."""
    data = b"".join(pieces)
    whole, divided = Capture(1000), Capture(1000)
    found = [one for at in range(0, len(data), size) for one in divided.received(data[at : at + size])]
    assert found == whole.received(data)
    expected = []
    for part in data.split(BEGIN)[1:] if END not in data.split(BEGIN)[0] else []:
        text, end, _ = part.partition(END)
        if end and BEGIN not in text:
            expected.append(text)
    if data.count(BEGIN) == data.count(END) == len(expected):
        assert found == expected


def test_the_end_of_a_long_capture_is_kept() -> None:
    """As much as stdout_capture_maxbytes says."""
    capture = Capture(5)
    assert capture.received(BEGIN + b"123") == []
    assert capture.received(b"4567" + END) == [b"34567"]
