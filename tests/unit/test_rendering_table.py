"""`cohabit ps` and `cohabit top`: rendering/table.py, text.py, formatting.py and colours.py."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.plan.reason import SIGNAL_REFUSED, UNHEALTHY, Reason, end_of_run
from cohabit.rendering.colours import FAILED, READY, RUNNING, STOPPING, STYLES
from cohabit.rendering.formatting import clock, duration, name_list
from cohabit.rendering.table import Sample, top
from cohabit.rendering.text import columns, safe, shorten, wrap
from unit.status_story import (
    NOW,
    blocked,
    container,
    crashing,
    ended,
    happened,
    healthy,
    needs,
    probe,
    ps,
    service,
    state_of,
    stopped,
    waiting,
)

_SGR = re.compile(r"\x1b\[[0-9;]*m")

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
STATES = ("STOPPED", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FATAL", "", "NEW")


def strange(filled: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects like this one, of which any field may be missing or have any value."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(filled, ANYTHING)).map(lambda odd: filled | odd)


SERVICES = st.lists(
    st.builds(
        lambda status, state: status | {"state": state}, strange(service("a", probe=probe())), st.sampled_from(STATES)
    ),
    max_size=2,  # services do not affect each other's rows, and one may depend on the other
)


def row(status: dict[str, Any], width: int = 0) -> list[str]:
    """Return the cells of this service's row."""
    return re.split(r" {2,}", ps(container(), [status], width=width, colour=False)[1])


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (service(), "RUNNING"),
        (healthy(), "RUNNING (healthy)"),
        (service(ready=False, health="starting"), "RUNNING (starting)"),
        (service(ready=False, hook_stage="post_start", hook_index=1), "RUNNING (post_start hook 2)"),
        (service(ready=False), "RUNNING (not ready)"),
        (service(want="down"), "RUNNING (to be stopped)"),
        (service(restart_pending=True), "RUNNING (to be restarted)"),
        (crashing(), "BACKOFF (restart 3, next in 600ms)"),
        (crashing(restarts=2, start_retries=3), "BACKOFF (start retry 2, next in 600ms)"),
        (crashing(restarts=0, start_retries=3), "BACKOFF (restart, next in 600ms)"),
        (service(state="STARTING", ready=False, next=NOW + 0.5), "STARTING (RUNNING in 500ms)"),
        (crashing(ago=3), "BACKOFF (restart 3, next now)"),
        (waiting("web", needs("db"), needs("log", satisfied=True)), "STOPPED (waits for db)"),
        (waiting("web", needs("a"), needs("b"), needs("c"), needs("d")), "STOPPED (waits for a, b and 2 more)"),
        (stopped(), "STOPPED"),
        (service(state="STOPPING", next=NOW + 7), "STOPPING (SIGKILL in 7s)"),
        (service(state="STOPPING", reason={"kind": SIGNAL_REFUSED, "signal": 15}), "STOPPING (cannot be signalled)"),
        (ended(state="FATAL", restarts=5, attempts=5), "FATAL (gave up after 5 restarts)"),
        (ended(state="FATAL"), "FATAL (cannot start)"),
        (ended(code=0, job=True), "EXITED (job)"),
        (ended(code=0, job=True, schedule="*/5 * * * *"), "EXITED (schedule */5 * * * *)"),
        (ended(code=1, job=True, schedule="@daily", next_run=NOW + 7200), "EXITED (next 04:40:00Z, in 2h)"),
        (waiting("web", schedule="@daily", next_run=NOW + 60), "SCHEDULED (next 02:41:00Z, in 1m)"),
        (waiting("web", schedule="@daily"), "SCHEDULED (schedule @daily)"),
        (service(schedule="@daily", next_run=NOW + 60), "RUNNING (next 02:41:00Z, in 1m)"),
        ({"state": "STOPPED", "want": "down", "autostart": False}, "STOPPED (autostart: false)"),
        (service(gone=True), "RUNNING (removed from the file)"),
    ],
)
def test_a_state_has_details(status: dict[str, Any], expected: str) -> None:
    """Supervisord's state is followed by health, cause or time."""
    assert row(status)[1] == expected


def test_the_other_columns_of_a_row() -> None:
    """Process id, time, restarts, last exit and command."""
    status = service(restarts=2, attempts=5, code=139, command=["gunicorn", "app:app"])
    expected = ["web", "RUNNING", "7", "up 1h", "2/5", "SIGSEGV (segmentation fault)", "gunicorn app:app"]
    assert row(status) == expected
    assert row(service(command=["sh", "-c", "echo  $HOME"]))[-1] == "$HOME'"
    assert row(crashing(code=137, out_of_memory=True))[2:6] == ["-", "1s ago", "2", "SIGKILL (out of memory)"]
    killed = happened("BACKOFF", 9.0, end_of_run(137, 2.0, out_of_memory=True), 137)
    assert row(service(restarts=1, code=137, history=[killed]))[5] == "SIGKILL (out of memory)"


def test_a_narrow_terminal_loses_the_least_important_columns() -> None:
    """Name and state remain; the command is dropped first."""
    status = service(command=["x" * 200])
    assert row(status, 80)[-1].endswith("...")
    assert row(status, 40)[0:2] == ["web", "RUNNING"]
    assert "COMMAND" not in ps(container(), [status], width=40, colour=False)[0]


def test_a_long_state_is_shortened_before_a_column_is_dropped() -> None:
    """At 80 columns the numbers remain, and so does the closing parenthesis."""
    long = waiting("web", *(needs(f"a-long-name-{number}") for number in range(3)))
    lines = ps(container(), [long, crashing(code=139), healthy("db")], width=80, colour=False)
    assert lines[0].split() == ["NAME", "STATE", "PID", "SINCE", "RESTARTS", "LAST", "EXIT", "COMMAND"]
    assert "STOPPED (waits for a-l" in lines[1]
    assert "...)  " in lines[1]
    assert "BACKOFF (restart 3, n" in lines[2]
    assert all(columns(line) <= 80 for line in lines)


def test_output_that_waits() -> None:
    """It stands beside the health, in the colour of a failure."""
    waits = [blocked(ago=12.0), blocked("/log/web", ago=70.0)]
    web = healthy(blocked_output=waits)
    assert "RUNNING (healthy, output blocked 1m10s)" in ps(container(), [web], width=0, colour=False)[1]
    assert state_of(web) == "failed"
    unknown = service(blocked_output=[blocked() | {"since": None}])
    assert "RUNNING (output blocked)" in ps(container(), [unknown], width=0, colour=False)[1]
    stopping = service(state="STOPPING", next=NOW + 6, blocked_output=waits)
    assert "STOPPING (SIGKILL in 6s, output blocked 1m10s)" in ps(container(), [stopping], width=0, colour=False)[1]


def test_the_last_exit_of_an_unhealthy_service() -> None:
    """It is "unhealthy", also after the restart."""
    reason = Reason(UNHEALTHY, detail="no answer within 5s")
    assert row(crashing(reason=reason, on_failure="restart"))[5] == "unhealthy"
    again = service(code=1, restarts=1, history=[happened("BACKOFF", 5, reason, 1), happened("RUNNING", 4)])
    assert row(again)[5] == "unhealthy"


@pytest.mark.parametrize(
    ("fields", "closing"),
    [
        ({}, None),
        ({"phase": "loading", "started": NOW - 2}, "starting: the file is being read for 2s"),
        ({"reading": True}, "reload: the file is being read"),
        ({"phase": "stopping", "exit_reason": "db failed"}, "stopping: db failed (still running: web)"),
        ({"phase": "sweeping"}, "stopping (terminating unassigned processes)"),
        ({"ready": False}, "the container is not ready (`cohabit why` shows the reason)"),
    ],
)
def test_the_last_line_shows_the_state_of_the_container(fields: dict[str, Any], closing: str | None) -> None:
    """It is absent if the container is up and ready."""
    lines = ps(container(**fields), [service(), ended()], width=0, colour=False)
    assert lines[3:] == ([] if closing is None else ["", closing])


def test_colour_is_never_the_only_indication() -> None:
    """The text is the same without colours, and every display state has a sign of its own."""
    status = [service(), crashing("db"), ended("mail")]
    coloured = ps(container(), status, width=100, colour=True)
    assert "\x1b[32mRUNNING\x1b[0m" in coloured[1]
    assert [_SGR.sub("", line) for line in coloured] == ps(container(), status, width=100, colour=False)
    assert len({look.sign for look in STYLES.values()}) == len({look.fill for look in STYLES.values()}) == len(STYLES)


def test_the_eight_display_states() -> None:
    """Unhealthy is failed, and a running service that will be stopped is stopping."""
    assert state_of(service()) == READY
    assert state_of(service(health="unhealthy")) == FAILED
    assert state_of(service(want="down")) == STOPPING
    assert {state_of(waiting("a", needs("b"))), state_of(crashing(code=0))} == {"waiting"}
    assert state_of(crashing()) == FAILED
    assert state_of(service(job=True)) == RUNNING
    assert [state_of(ended(code=code)) for code in (0, 1)] == ["done", "failed"]
    assert state_of(stopped()) == "stopped"


def test_top_adds_up() -> None:
    """Each service and the total; a value that is unknown for one service is unknown in the total."""
    samples = [Sample("db", 5, 12.34, 64 * 2**20, 44, 9), Sample("web", 1, 1.0, 64 * 2**20, None, 1)]
    lines = top(samples, memory_bytes=256 * 2**20, width=0, colour=False)
    assert lines[0].split() == ["NAME", "CPU", "%", "MEMORY", "MEM", "%", "FDS", "PROCESSES", "THREADS"]
    assert lines[1].split() == ["db", "12.3", "64", "MiB", "25.0", "44", "5", "9"]
    assert lines[3].split() == ["total", "13.3", "128", "MiB", "50.0", "-", "6", "10"]


@given(container=strange(container()), services=SERVICES, width=st.integers(1, 200), colour=st.booleans())
def test_any_answer_gives_a_table(
    container: dict[str, Any], services: list[dict[str, Any]], width: int, colour: bool
) -> None:
    """No line is wider than the terminal, no control characters, no exception."""
    for line in ps(container, services, width=width, colour=colour):
        shown = _SGR.sub("", line)
        assert columns(shown) <= width
        assert shown.isprintable()


@given(
    st.lists(
        st.builds(
            Sample, st.text(), st.integers(0), st.none() | st.floats(0, 1e6), st.integers(0, 2**60),
            st.none() | st.integers(0), st.integers(0),
        )
    ),
    st.none() | st.integers(0, 2**60),
    st.integers(1, 120),
)  # fmt: skip
def test_any_sample_gives_a_row(samples: list[Sample], memory_bytes: int | None, width: int) -> None:
    """It fits the width, whatever the name and the values are."""
    for line in top(samples, memory_bytes=memory_bytes, width=width, colour=False):
        assert columns(line) <= width
        assert line.isprintable()


def test_text_of_a_service_cannot_forge_a_line() -> None:
    """Newlines, cursor movements and marks of direction are escaped; colours are removed."""
    assert safe("a\nb\x1b[2J\u202ec\ud800") == r"a\nb\x1b[2J\u202ec\ud800"
    assert safe("\x1b[1;31mred\x1b[0m\tx") == "red    x"


def test_wide_characters_take_two_columns() -> None:
    """The width is that on a terminal."""
    assert columns("日本e\u0301") == 5
    assert shorten("日本語テキスト", 8) == "日本..."
    assert shorten("abcdef", 2) == ".."


@given(st.text(), st.integers(4, 60))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    """Every character but spaces is preserved, in lines that fit."""
    text = safe(text)
    lines = wrap(text, width, indent="  ")
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(columns(line) <= width for line in lines) or not text.strip()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.25, "250ms"), (12.34, "12.3s"), (59.96, "1m"), (75, "1m15s"), (3600, "1h"), (93600, "1d2h"), (-1, "0ms")],
)
def test_durations_have_two_units_at_most(seconds: float, expected: str) -> None:
    """Smaller units are omitted."""
    assert duration(seconds) == expected


def test_times_and_lists() -> None:
    """A time on another day has its date; long lists end with a count."""
    assert clock(NOW, NOW) == "02:40:00Z"
    assert clock(NOW - 86400, NOW) == "2026-02-01 02:40:00Z"
    assert name_list(["a", "b", "c"], 3) == "a, b, c"
    assert name_list(["a", "b", "c", "d"], 3) == "a, b and 2 more"
    assert math.isclose(NOW, 1.77e9)


def test_top_shows_a_dash_for_what_does_not_run() -> None:
    """The total is that of the others."""
    samples = [Sample("web", 1, 2.0, 1024, 5, 1), Sample("job", 0, 0.0, 0, 0, 0)]
    lines = top(samples, memory_bytes=2048, width=0, colour=False)
    assert [line.split() for line in lines[2:]] == [
        ["job", "-", "-", "-", "-", "-", "-"],
        ["total", "2.0", "1", "KiB", "50.0", "5", "1", "1"],
    ]
