"""`cohabit timeline`: rendering/timeline.py (the chart) and start.py (the critical path)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.rendering.text import columns
from unit.status_story import NOW, container, needs, probe, service, timeline

HEALTHY, COMPLETED = "service_healthy", "service_completed_successfully"
UNWELL = {"kind": "unhealthy", "detail": "refused"}
HOSTILE = '"></text><script>&\x1b[2J\u202e\n'
SVG = "{http://www.w3.org/2000/svg}"
BEGAN = NOW - 20.0

Status = dict[str, Any]
EVENTS = ["wanted", "STARTING", "RUNNING", "ready", "BACKOFF", "STOPPING", "STOPPED", "EXITED", "FATAL", "later event"]


def parsed(picture: str) -> ET.Element:
    """Parse the picture as XML; fails if it is not well-formed."""
    return ET.fromstring(picture)  # noqa: S314 - made by ourselves


names = st.one_of(st.sampled_from(["a", "b", "c", "web-1", HOSTILE]), st.text(max_size=6))
moments = st.one_of(st.floats(NOW - 30, NOW + 5), st.sampled_from([0.0, NOW, NOW - 9e6, BEGAN]))
services_of_any = st.lists(
    st.builds(
        service,
        names,
        state=st.sampled_from(["STOPPED", "RUNNING", "BACKOFF", "EXITED", "FATAL"]),
        code=st.sampled_from([None, 0, 1, 137]),
        why=st.text(max_size=10),
        probe=st.sampled_from([None, probe()]),
        depends_on=st.lists(
            st.builds(
                needs, names, st.sampled_from(["service_started", HEALTHY, COMPLETED, "?"]), required=st.booleans()
            ),
            max_size=3,
        ),
        timeline=st.lists(st.fixed_dictionaries({"time": moments, "event": st.sampled_from(EVENTS)}), max_size=7),
        history=st.lists(
            st.fixed_dictionaries(
                {"time": moments, "event": st.sampled_from(EVENTS), "text": st.text(max_size=5), "code": st.just(3)}
            ),
            max_size=3,
        ),
    ),
    max_size=8,
)


def story(name: str, *events: tuple[float, str], needed: tuple[Status, ...] = (), **fields: Any) -> Status:
    """Return a service whose timeline has these events, in seconds from BEGAN."""
    status = [{"time": BEGAN + seconds, "event": event} for seconds, event in events]
    return service(name, depends_on=list(needed), timeline=status, **fields)


def started(name: str, begin: float, ready: float, *needed: Status, **fields: Any) -> Status:
    """Return a service that waited from 0 to `begin` and was ready at `ready`."""
    return story(
        name, (0, "wanted"), (begin, "STARTING"), (begin, "RUNNING"), (ready, "ready"), needed=needed, **fields
    )


def job(name: str, begin: float, end: float, *needed: Status, code: int = 0, **fields: Any) -> Status:
    """Return a job that ran from `begin` to `end`."""
    status = ((0, "wanted"), (begin, "STARTING"), (begin, "RUNNING"), (end, "EXITED"))
    return story(name, *status, needed=needed, state="EXITED", code=code, job=True, **fields)


def application() -> list[Status]:
    """Return the example of the manual: web waits for a migration, which waits for the database."""
    return [
        started("db", 0.0, 8.1, probe=probe()),
        started("cache", 0.0, 0.5, probe=probe()),
        job("migrate", 8.1, 11.3, needs("db", HEALTHY)),
        started("web", 11.3, 12.4, needs("cache", HEALTHY), needs("migrate", COMPLETED)),
    ]


def path_of(status: list[Status], **around: Any) -> list[tuple[str, float]]:
    """Return the critical path as names and seconds."""
    found = timeline.json(container(**around), status)["critical_path"]
    return [(link["service"], round(link["duration_seconds"], 3)) for link in found]


def sentence_of(status: list[Status]) -> str:
    """Return the sentence about the critical path."""
    text: str = timeline.json(container(), status)["text"]
    return text


def test_the_critical_path_ends_with_the_last_settled_service() -> None:
    """Each step leads to the dependency that was met last; the shares add up to the whole."""
    assert path_of(application()) == [("db", 8.1), ("migrate", 3.2), ("web", 1.1)]
    assert sentence_of(application()) == ("12.4s to ready: db 8.1s (probe), migrate 3.2s, web 1.1s (longest: db)")


def test_the_condition_decides_when_a_dependency_is_met() -> None:
    """A service with service_started waited for the start of its dependency, not until that was ready."""
    status = [
        story("slow", (0, "wanted"), (0, "STARTING"), (3, "RUNNING"), (9, "ready")),
        started("first", 0.0, 2.0, probe=probe()),
        started("web", 3.0, 10.0, needs("first", HEALTHY), needs("slow"), probe=probe()),
    ]
    assert path_of(status) == [("slow", 3.0), ("web", 7.0)]


def test_a_dependency_that_was_met_before_is_not_on_the_path() -> None:
    """The path begins with a service that did not wait."""
    status = [
        story("db", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (0, "ready")),
        started("web", 0.0, 3.0, needs("db")),
    ]
    assert path_of(status) == [("web", 3.0)]


def test_an_optional_dependency_is_met_when_it_has_failed() -> None:
    """The dependent waited until then."""
    status = [
        story("mail", (0, "wanted"), (0, "STARTING"), (4, "FATAL"), state="FATAL", code=127),
        started("web", 4.0, 5.0, needs("mail", HEALTHY, required=False)),
    ]
    assert path_of(status) == [("mail", 4.0), ("web", 1.0)]
    assert sentence_of(status) == "5s to ready (mail failed): mail 4s (failed), web 1s (longest: mail)"


def test_a_service_that_has_not_settled_lasts_until_now() -> None:
    """The path ends with the waiting service and leads to its dependency."""
    status = [
        story("db", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), probe=probe(), ready=False),
        started("cache", 0.0, 1.0),
        story("web", (0, "wanted"), needed=(needs("cache", HEALTHY, satisfied=True), needs("db", HEALTHY))),
    ]
    found = timeline.json(container(), status)
    assert path_of(status) == [("db", 20.0), ("web", 0.0)]
    assert found["text"] == "not ready after 20s: db 20s (probe); 1 service still waiting (see `cohabit why db`)"
    assert not found["settled"]
    assert found["ended"] == NOW
    assert [row["ready"] for row in found["services"]] == [None, BEGAN + 1.0, None]


def test_a_refused_service_leads_to_the_failed_dependency() -> None:
    """The failed dependency precedes it on the path."""
    status = [
        job("migrate", 0.0, 3.0, code=2),
        started("db", 0.0, 3.0),
        story("web", (0, "wanted"), (3, "FATAL"), needed=(needs("db"), needs("migrate", COMPLETED)), state="FATAL"),
    ]
    assert path_of(status) == [("migrate", 3.0), ("web", 0.0)]
    assert sentence_of(status) == "web failed after 3s: migrate 3s (failed) (see `cohabit why web`)"


def test_a_failure_is_not_attributed_to_a_slow_dependency() -> None:
    """A refused service leads to the dependency that failed, not to one that was slow."""
    status = [
        story("db", (0, "wanted"), (0, "STARTING"), (0, "RUNNING")),
        job("migrate", 0.0, 3.0, code=2),
        story(
            "web",
            (0, "wanted"),
            (3, "FATAL"),
            needed=(needs("db", HEALTHY), needs("migrate", COMPLETED)),
            state="FATAL",
        ),
        story("page", (0, "wanted"), (3, "STARTING"), (3, "RUNNING"), needed=(needs("web", required=False),)),
    ]
    assert path_of(status) == [("migrate", 3.0), ("web", 0.0), ("page", 17.0)]


def test_a_clock_that_was_set_back() -> None:
    """The time of an event is never before that of an earlier event."""
    status = story("web", (0, "wanted"), (5, "STARTING"), (2, "RUNNING"), (6, "ready"))
    phases = timeline.json(container(), [status])["services"][0]["phases"]
    assert [(phase["phase"], phase["begin"] - BEGAN, phase["end"] - BEGAN) for phase in phases] == [
        ("waits", 0.0, 5.0),
        ("unready", 5.0, 6.0),
    ]


def test_a_cycle_ends() -> None:
    """Services that wait for each other are on the path once."""
    status = [
        story("a", (0, "wanted"), needed=(needs("b"),)),
        story("b", (0, "wanted"), needed=(needs("a"),)),
    ]
    assert path_of(status) == [("b", 20.0), ("a", 0.0)]


def test_crashes_during_the_start() -> None:
    """Every unexpected end is a crash, with the reason from the history; it explains the time."""
    status = story(
        "api", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (5, "BACKOFF"),
        (9, "STARTING"), (9, "RUNNING"), (9, "ready"),
        history=[{"time": BEGAN + 5, "event": "BACKOFF", "text": "ended with exit code 3 after 5s", "code": 3}],
    )  # fmt: skip
    found = timeline.json(container(), [status])
    assert found["services"][0]["crashes"] == [{"time": BEGAN + 5, "text": "ended with exit code 3 after 5s"}]
    assert found["text"] == "9s to ready: api 9s (crashed) (longest: api)"
    assert [(phase["phase"], phase["end"] - phase["begin"]) for phase in found["services"][0]["phases"]] == [
        ("unready", 5.0),
        ("pauses", 4.0),
    ]


def crashed(*ends: float, last: str = "BACKOFF", **fields: Any) -> Status:
    """Return a service without a probe: each run is "ready" at once and ends soon after."""
    runs = [[(end - 0.2, "STARTING"), (end - 0.2, "RUNNING"), (end - 0.2, "ready"), (end, "BACKOFF")] for end in ends]
    status = [(0.0, "wanted"), *(event for run in runs for event in run)]
    status[-1] = (status[-1][0], last)
    history = [
        {"time": BEGAN + at, "event": event, "text": "ended with exit code 3" if at in ends else "", "code": 3}
        for at, event in status
    ]
    return story("api", *status, history=history, ready=False, starts=len(ends), **fields)


def test_a_service_that_crashes_at_once_is_not_ready() -> None:
    """Without a probe "ready" means that it runs; the chart continues to the crashes."""
    gone = timeline.json(container(), [crashed(0.2, last="EXITED", state="EXITED", code=3)])["services"][0]
    assert (gone["outcome"], gone["ready"], len(gone["crashes"])) == ("failed", None, 1)
    status = crashed(0.2, 0.6, 1.2, state="BACKOFF", restarts=3, code=3)
    lines = timeline.text(container(), [status, started("db", 0.0, 1.0)], width=80, colour=False)
    assert lines[1].startswith("* api ~~~!")
    assert lines[1].endswith("not ready, 3 crashes")
    assert "+" not in lines[1]
    assert sentence_of([status]).startswith("not ready after 20s: api 20s")


def test_crashes_that_the_history_no_longer_has() -> None:
    """The timeline has them: later restarts, of which the history is full, are not taken for the start."""
    status = crashed(0.2, 12.0, 16.0, state="BACKOFF", restarts=3, code=3)
    status["history"] = []
    row = timeline.json(container(), [status])["services"][0]
    assert (row["outcome"], len(row["crashes"])) == ("", 3)
    stable = started("api", 0.0, 1.0, restarts=9, starts=10)
    later = (event for at in range(300, 308) for event in ((at, "RUNNING"), (at, "ready"), (at + 1, "BACKOFF")))
    stable["history"] = [{"time": BEGAN + at, "event": event, "text": "", "code": None} for at, event in later]
    assert sentence_of([stable]) == "1s to ready: api 1s (post_start) (longest: api)"


def test_a_start_of_more_events_than_are_kept() -> None:
    """The number of crashes is a lower bound."""
    status = crashed(*(0.5 * number for number in range(1, 20)), state="BACKOFF", restarts=19, code=3)
    status["timeline"] = status["timeline"][:31] + status["timeline"][-1:]
    lines = timeline.text(container(), [status], width=99, colour=False)
    assert any("not ready, at least 8 crashes" in line for line in lines)


def test_a_crash_long_after_the_start_is_not_part_of_it() -> None:
    """After a run of ten seconds the start counts; dependents could begin when it was ready."""
    status = crashed(0.2, last="BACKOFF", state="BACKOFF", restarts=1, code=3)
    status["timeline"] = status["timeline"][:-1]
    assert timeline.json(container(), [status])["services"][0]["outcome"] == "ready"
    web = started("web", 0.0, 2.0, needs("api", HEALTHY), probe=probe())
    waits = timeline.json(container(), [crashed(0.2, 0.6), web])["services"][1]["waited_for"]
    assert waits[0]["satisfied"] == BEGAN


def test_a_job_settles_when_it_completes() -> None:
    """Its whole run counts, whether it was "ready" before or not."""
    status = [
        story("slowdb", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (1.2, "ready"), probe=probe()),
        job("migrate", 0.0, 4.0),
        started("web", 4.0, 4.1, needs("slowdb", HEALTHY), needs("migrate", COMPLETED)),
    ]
    assert path_of(status) == [("migrate", 4.0), ("web", 0.1)]
    assert any(line.endswith("done 4s") for line in timeline.text(container(), status, width=80, colour=False))
    on_the_way = [{"time": BEGAN + at, "event": event} for at, event in ((0.0, "ready"), (4.0, "EXITED"))]
    status[1] |= {"timeline": [*status[1]["timeline"][:-1], *on_the_way], "probe": probe()}
    assert path_of(status) == [("migrate", 4.0), ("web", 0.1)]


def test_a_restart_of_an_unhealthy_service_is_not_a_crash() -> None:
    """The reason is in the history."""
    status = story(
        "api", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (5, "BACKOFF"), (6, "STARTING"), (6, "RUNNING"),
        (7, "ready"), probe=probe(),
        history=[{"time": BEGAN + 5, "event": "BACKOFF", "text": "unhealthy: refused", "code": 1, "reason": UNWELL}],
    )  # fmt: skip
    assert "api 7s (unhealthy, restarted)" in sentence_of([status])
    assert any("ready 7s, 1 restart" in line for line in timeline.text(container(), [status], width=80, colour=False))


def test_an_unhealthy_service_still_runs() -> None:
    """The bar continues after the event."""
    status = story("api", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (5, "unhealthy"), probe=probe(), ready=False)
    phases = timeline.json(container(), [status])["services"][0]["phases"]
    assert [(phase["phase"], phase["end"] - BEGAN) for phase in phases] == [("unready", 5.0), ("unready", 20.0)]


def test_hooks_before_the_command_are_named() -> None:
    """A long STARTING is attributed to pre_start."""
    status = story("api", (0, "wanted"), (0, "STARTING"), (6, "RUNNING"), (7, "ready"), probe=probe())
    assert sentence_of([status]) == "7s to ready: api 7s (pre_start) (longest: api)"


def test_services_of_a_later_reload_are_not_drawn() -> None:
    """Services that were added later or never wanted are only named."""
    status = [
        started("web", 0.0, 2.0),
        story("added", (15, "wanted"), (15, "STARTING"), (16, "RUNNING"), (16, "ready")),
        service("cleanup", schedule="@daily"),
    ]
    found = timeline.json(container(), status)
    assert [row["service"] for row in found["services"]] == ["web"]
    assert (found["later"], found["other"]) == (["added"], ["cleanup"])
    assert found["duration_seconds"] == 2.0


def test_what_happened_after_the_start_does_not_count() -> None:
    """A later manual stop and start are not part of the start."""
    status = story(
        "web", (0, "wanted"), (0, "RUNNING"), (2, "ready"), (9, "STOPPING"), (9, "STOPPED"), (12, "STARTING")
    )
    assert timeline.json(container(), [status])["duration_seconds"] == 2.0


def test_json_has_all_values() -> None:
    """One object for each service: times, durations, dependencies and when they were met."""
    web = timeline.json(container(), application())["services"][3]
    assert {key: web[key] for key in ("service", "outcome", "critical", "wanted", "begin", "ready", "crashes")} == {
        "service": "web", "outcome": "ready", "critical": True, "wanted": BEGAN, "begin": BEGAN + 11.3,
        "ready": BEGAN + 12.4, "crashes": [],
    }  # fmt: skip
    assert (web["duration_seconds"], web["waited_seconds"]) == (pytest.approx(1.1), pytest.approx(11.3))
    assert web["waited_for"] == [
        {"service": "cache", "condition": HEALTHY, "required": True, "satisfied": BEGAN + 0.5},
        {"service": "migrate", "condition": COMPLETED, "required": True, "satisfied": BEGAN + 11.3},
    ]


def test_the_chart_in_text() -> None:
    """A time axis, bars of signs, marks of the critical path, a legend and the sentence."""
    assert timeline.text(container(), application(), width=64, colour=False) == [
        "          |0              |5s              |10s",
        "* db      ~~~~~~~~~~~~~~~~~~~~~~~~~~+                ready 8.1s",
        "  cache   ~+                                         ready 500ms",
        "* migrate ..........................~~~~~~~~~~~=     done 11.3s",
        "* web     .....................................~~~+  ready 12.4s",
        "",
        ". waits for dependencies   ~ runs, not ready   + ready   = done",
        "* critical path",
        "12.4s to ready: db 8.1s (probe), migrate 3.2s, web 1.1s",
        "(longest: db)",
    ]


def test_no_service_has_been_started() -> None:
    """Without timelines there is a sentence instead of a chart, and well-formed XML."""
    assert timeline.text(container(), [], width=80, colour=True) == ["no service has been started yet"]
    parsed(timeline.svg(container(), []))


@pytest.mark.parametrize(
    ("seconds", "most", "expected"),
    [
        (12.4, 4, [0, 5, 10]),
        (12.4, 8, [0, 2, 4, 6, 8, 10, 12]),
        (0.25, 6, [0, 0.05, 0.1, 0.15, 0.2, 0.25]),
        (0.003, 9, [0, 0.001, 0.002, 0.003]),
        (95, 5, [0, 30, 60, 90]),
        (7200, 4, [0, 3600, 7200]),
        (0.0, 9, [0]),
    ],
)
def test_ticks_are_round(seconds: float, most: int, expected: list[float]) -> None:
    """From milliseconds to hours: the finest round step that fits."""
    assert timeline.ticks(seconds, most) == pytest.approx(expected)


@given(st.floats(0, 1e9), st.integers(2, 40))
def test_ticks_fit(seconds: float, most: int) -> None:
    """At most `most` ticks, none after the end."""
    found = timeline.ticks(seconds, most)
    assert found[0] == 0
    assert len(found) <= most
    assert found[-1] <= seconds * (1 + 1e-9)


def test_a_hostile_name_is_escaped() -> None:
    """A name or a reason cannot open a tag."""
    status = story(HOSTILE, (0, "wanted"), (1, "FATAL"), state="FATAL", why="<b>&\x00")
    picture = timeline.svg(container(), [status])
    assert "<script" not in picture
    assert "<b>" not in picture
    assert any("<b>&\\x00" in (title.text or "") for title in parsed(picture).iter(f"{SVG}title"))


@given(services_of_any, st.integers(1, 120), st.booleans(), moments)
def test_any_status_gives_a_readable_chart(status: list[Status], width: int, colour: bool, now: float) -> None:
    """Text within the width and without control characters, well-formed XML, a consistent path."""
    around = container(time=now)
    for line in timeline.text(around, status, width=width, colour=colour):
        plain = re.sub(r"\x1b\[[0-9;]+m", "", line)
        assert columns(plain) <= width
        assert plain.isprintable()
        assert colour or plain == line
    picture = timeline.svg(around, status)
    assert picture == timeline.svg(around, status)
    assert all(one.isprintable() for one in picture.split("\n"))
    root = parsed(picture)
    for rectangle in root.iter(f"{SVG}rect"):
        assert float(rectangle.get("x", "0")) + float(rectangle.get("width", "0")) <= 960
        assert float(rectangle.get("width", "0")) >= 0
    found = timeline.json(around, status)
    links = found["critical_path"]
    assert bool(links) == bool(found["services"])
    assert len({link["service"] for link in links}) == len(links)
    assert all(link["duration_seconds"] >= 0 for link in links)
    assert all(one["end"] == two["begin"] for one, two in pairwise(links))
    assert {link["service"] for link in links} == {row["service"] for row in found["services"] if row["critical"]}


def test_one_service_that_is_not_ready_does_not_hide_the_others() -> None:
    """The chart ends soon after the others have settled, and says so; the times beside the bars stay true."""
    looping = crashed(0.2, 12.0, 3000.0, state="BACKOFF", restarts=3, code=3)
    status = [started("web", 0.0, 2.0), started("api", 0.0, 4.0), looping | {"name": "bad", "service": "bad"}]
    lines = timeline.text(container(time=BEGAN + 3600.0), status, width=80, colour=False)
    bar = lines[1].partition("web ")[2].rstrip().removesuffix("ready 2s").rstrip()
    assert len(bar) > 5
    assert lines[3].endswith("not ready, 3 crashes")
    assert "the chart ends at 12s; bad took longer" in "\n".join(lines)
    assert timeline.json(container(time=BEGAN + 3600.0), status)["duration_seconds"] == 3600.0
    parsed(timeline.svg(container(time=BEGAN + 3600.0), status))
    short = timeline.text(container(), status[:2], width=80, colour=False)
    assert "the chart ends" not in "\n".join(short)
