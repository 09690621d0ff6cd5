"""views/timeline.py and views/start.py: the start as a Gantt chart, and which path through it was the critical one."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.rendering import timeline
from cohabit.rendering.text import columns
from unit.status_story import NOW, container, needs, probe, service

HEALTHY, COMPLETED = "service_healthy", "service_completed_successfully"
HOSTILE = '"></text><script>&\x1b[2J\u202e\n'
SVG = "{http://www.w3.org/2000/svg}"
BEGAN = NOW - 20.0

Told = dict[str, Any]
EVENTS = ["wanted", "STARTING", "RUNNING", "ready", "BACKOFF", "STOPPING", "STOPPED", "EXITED", "FATAL", "later word"]


def parsed(picture: str) -> ET.Element:
    """The picture as a reader of XML understands it; fails where it is not well-formed."""
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


def story(name: str, *events: tuple[float, str], needed: tuple[Told, ...] = (), **fields: Any) -> Told:
    """A service whose timeline has these events, in seconds from the beginning."""
    told = [{"time": BEGAN + seconds, "event": event} for seconds, event in events]
    return service(name, depends_on=list(needed), timeline=told, **fields)


def started(name: str, begin: float, ready: float, *needed: Told, **fields: Any) -> Told:
    """A service that waited from 0 to `begin` and was ready at `ready`."""
    return story(
        name, (0, "wanted"), (begin, "STARTING"), (begin, "RUNNING"), (ready, "ready"), needed=needed, **fields
    )


def job(name: str, begin: float, end: float, *needed: Told, code: int = 0, **fields: Any) -> Told:
    """The same for one that has ended."""
    told = ((0, "wanted"), (begin, "STARTING"), (begin, "RUNNING"), (end, "EXITED"))
    return story(name, *told, needed=needed, state="EXITED", code=code, job=True, **fields)


def application() -> list[Told]:
    """What issue and manual show: web waits for a migration, which waits for the database."""
    return [
        started("db", 0.0, 8.1, probe=probe()),
        started("cache", 0.0, 0.5, probe=probe()),
        job("migrate", 8.1, 11.3, needs("db", HEALTHY)),
        started("web", 11.3, 12.4, needs("cache", HEALTHY), needs("migrate", COMPLETED)),
    ]


def path_of(told: list[Told], **around: Any) -> list[tuple[str, float]]:
    """The critical path: names and seconds."""
    found = timeline.json(container(**around), told)["critical_path"]
    return [(link["service"], round(link["duration_seconds"], 3)) for link in found]


def words_of(told: list[Told]) -> str:
    """The critical path in words."""
    text: str = timeline.json(container(), told)["text"]
    return text


def test_the_critical_path_goes_back_from_who_was_settled_last() -> None:
    """Each step leads to the dependency that came to hold last; the shares add up to the whole."""
    assert path_of(application()) == [("db", 8.1), ("migrate", 3.2), ("web", 1.1)]
    assert words_of(application()) == (
        "12.4s to ready: db 8.1s (its probe), migrate 3.2s, web 1.1s; to be faster begin with db"
    )


def test_the_condition_decides_when_a_dependency_held() -> None:
    """Who needs a service only started waited for its start, not for its being ready."""
    told = [
        story("slow", (0, "wanted"), (0, "STARTING"), (3, "RUNNING"), (9, "ready")),
        started("first", 0.0, 2.0, probe=probe()),
        started("web", 3.0, 10.0, needs("first", HEALTHY), needs("slow"), probe=probe()),
    ]
    assert path_of(told) == [("slow", 3.0), ("web", 7.0)]


def test_a_dependency_that_held_already_is_no_part_of_the_path() -> None:
    """Who did not wait is where the path begins."""
    told = [
        story("db", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (0, "ready")),
        started("web", 0.0, 3.0, needs("db")),
    ]
    assert path_of(told) == [("web", 3.0)]


def test_an_optional_dependency_holds_when_it_has_failed() -> None:
    """A service that only wished for another one waited until that had failed."""
    told = [
        story("mail", (0, "wanted"), (0, "STARTING"), (4, "FATAL"), state="FATAL", code=127),
        started("web", 4.0, 5.0, needs("mail", HEALTHY, required=False)),
    ]
    assert path_of(told) == [("mail", 4.0), ("web", 1.0)]
    assert words_of(told) == "5s to ready (mail failed): mail 4s (it failed), web 1s; to be faster begin with mail"


def test_who_is_not_settled_runs_to_now() -> None:
    """The start is not over: the path ends with who waits, and leads to whom it waits for."""
    told = [
        story("db", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), probe=probe(), ready=False),
        started("cache", 0.0, 1.0),
        story("web", (0, "wanted"), needed=(needs("cache", HEALTHY, satisfied=True), needs("db", HEALTHY))),
    ]
    found = timeline.json(container(), told)
    assert path_of(told) == [("db", 20.0), ("web", 0.0)]
    assert found["text"] == "20s and not ready yet: db 20s (its probe); 1 service still waiting; ask `cohabit why db`"
    assert not found["settled"]
    assert found["ended"] == NOW
    assert [row["ready"] for row in found["services"]] == [None, BEGAN + 1.0, None]


def test_who_was_refused_leads_to_who_failed() -> None:
    """A service that could not start because of another one's failure has that one before it."""
    told = [
        job("migrate", 0.0, 3.0, code=2),
        started("db", 0.0, 3.0),
        story("web", (0, "wanted"), (3, "FATAL"), needed=(needs("db"), needs("migrate", COMPLETED)), state="FATAL"),
    ]
    assert path_of(told) == [("migrate", 3.0), ("web", 0.0)]
    assert words_of(told) == "3s until web had failed: migrate 3s (it failed); ask `cohabit why web`"


def test_a_failure_is_not_put_on_who_was_merely_slow() -> None:
    """Of those that a refused service waited for, the one that failed refused it."""
    told = [
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
    assert path_of(told) == [("migrate", 3.0), ("web", 0.0), ("page", 17.0)]


def test_a_clock_that_was_set_back_goes_forward_here() -> None:
    """Moments never come before those that happened earlier."""
    told = story("web", (0, "wanted"), (5, "STARTING"), (2, "RUNNING"), (6, "ready"))
    phases = timeline.json(container(), [told])["services"][0]["phases"]
    assert [(phase["phase"], phase["begin"] - BEGAN, phase["end"] - BEGAN) for phase in phases] == [
        ("waits", 0.0, 5.0),
        ("unready", 5.0, 6.0),
    ]


def test_a_circle_has_an_end() -> None:
    """Services that wait for each other are told once each."""
    told = [
        story("a", (0, "wanted"), needed=(needs("b"),)),
        story("b", (0, "wanted"), needed=(needs("a"),)),
    ]
    assert path_of(told) == [("b", 20.0), ("a", 0.0)]


def test_crashes_during_the_start_are_told() -> None:
    """Every end that was not wanted is a crash, with the reason that the history has; and it explains the time."""
    told = story(
        "api", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (5, "BACKOFF"),
        (9, "STARTING"), (9, "RUNNING"), (9, "ready"),
        history=[{"time": BEGAN + 5, "event": "BACKOFF", "text": "ended with exit code 3 after 5s", "code": 3}],
    )  # fmt: skip
    found = timeline.json(container(), [told])
    assert found["services"][0]["crashes"] == [{"time": BEGAN + 5, "text": "ended with exit code 3 after 5s"}]
    assert found["text"] == "9s to ready: api 9s (it crashed); to be faster begin with api"
    assert [(phase["phase"], phase["end"] - phase["begin"]) for phase in found["services"][0]["phases"]] == [
        ("unready", 5.0),
        ("pauses", 4.0),
    ]


def crashed(*ends: float, last: str = "BACKOFF", **fields: Any) -> Told:
    """A service without a probe: at once "ready", and ended soon after, so many times."""
    runs = [[(end - 0.2, "STARTING"), (end - 0.2, "RUNNING"), (end - 0.2, "ready"), (end, "BACKOFF")] for end in ends]
    told = [(0.0, "wanted"), *(event for run in runs for event in run)]
    told[-1] = (told[-1][0], last)
    history = [
        {"time": BEGAN + at, "event": event, "text": "ended with exit code 3" if at in ends else "", "code": 3}
        for at, event in told
    ]
    return story("api", *told[:4], history=history, ready=False, starts=len(ends), **fields)


def test_who_crashes_right_after_its_start_is_not_ready() -> None:
    """Without a probe "ready" says that it runs; the picture goes on to the crash, and to those after it."""
    gone = timeline.json(container(), [crashed(0.2, last="EXITED", state="EXITED", code=3)])["services"][0]
    assert (gone["outcome"], gone["ready"], len(gone["crashes"])) == ("failed", None, 1)
    told = crashed(0.2, 0.6, 1.2, state="BACKOFF", restarts=3, code=3)
    lines = timeline.text(container(), [told, started("db", 0.0, 1.0)], width=80, colour=False)
    assert lines[1].startswith("* api !")
    assert lines[1].endswith("not ready, 3 crashes")
    assert "+" not in lines[1]
    assert words_of([told]).startswith("20s and not ready yet: api 20s")


def test_what_the_history_has_forgotten_is_still_no_success() -> None:
    """Who crashed after each start of which is known has not made the first one."""
    told = crashed(0.2, 12.0, 16.0, state="BACKOFF", restarts=3, code=3)
    told["history"] = told["history"][6:]
    row = timeline.json(container(), [told])["services"][0]
    assert (row["outcome"], len(row["crashes"])) == ("", 3)
    told["starts"] = 9
    assert timeline.json(container(), [told])["services"][0]["outcome"] == "ready"


def test_a_crash_long_after_the_start_is_no_part_of_it() -> None:
    """A run that has lasted ten seconds was a start; what it let others begin with was there at its beginning."""
    told = crashed(0.2, last="BACKOFF", state="BACKOFF", restarts=1, code=3)
    told["history"][-1]["time"] = BEGAN + 15
    assert timeline.json(container(), [told])["services"][0]["outcome"] == "ready"
    web = started("web", 0.0, 2.0, needs("api", HEALTHY), probe=probe())
    waits = timeline.json(container(), [crashed(0.2, 0.6), web])["services"][1]["waited_for"]
    assert waits[0]["satisfied"] == BEGAN


def test_a_job_is_there_for_its_end() -> None:
    """Its work counts, whether it was "ready" on the way or not."""
    told = [
        story("slowdb", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (1.2, "ready"), probe=probe()),
        job("migrate", 0.0, 4.0),
        started("web", 4.0, 4.1, needs("slowdb", HEALTHY), needs("migrate", COMPLETED)),
    ]
    assert path_of(told) == [("migrate", 4.0), ("web", 0.1)]
    assert any(line.endswith("done 4s") for line in timeline.text(container(), told, width=80, colour=False))
    on_the_way = [{"time": BEGAN + at, "event": event} for at, event in ((0.0, "ready"), (4.0, "EXITED"))]
    told[1]["timeline"] = [*told[1]["timeline"][:-1], on_the_way[0]]
    told[1] |= {"history": on_the_way, "probe": probe()}
    assert path_of(told) == [("migrate", 4.0), ("web", 0.1)]


def test_who_is_restarted_for_its_probe_has_not_crashed() -> None:
    """The history says that it was unhealthy."""
    told = story(
        "api", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (5, "BACKOFF"), (6, "STARTING"), (6, "RUNNING"),
        (7, "ready"), probe=probe(),
        history=[{"time": BEGAN + 5, "event": "BACKOFF", "text": "unhealthy: refused", "code": 1}],
    )  # fmt: skip
    assert "api 7s (it was unhealthy, and restarted)" in words_of([told])
    assert any("ready 7s, 1 restart" in line for line in timeline.text(container(), [told], width=80, colour=False))


def test_who_becomes_unhealthy_still_runs() -> None:
    """The bar goes on behind the word of its probe."""
    told = story("api", (0, "wanted"), (0, "STARTING"), (0, "RUNNING"), (5, "unhealthy"), probe=probe(), ready=False)
    phases = timeline.json(container(), [told])["services"][0]["phases"]
    assert [(phase["phase"], phase["end"] - BEGAN) for phase in phases] == [("unready", 5.0), ("unready", 20.0)]


def test_hooks_before_the_command_are_named() -> None:
    """A long STARTING is not the command's own time."""
    told = story("api", (0, "wanted"), (0, "STARTING"), (6, "RUNNING"), (7, "ready"), probe=probe())
    assert words_of([told]) == "7s to ready: api 7s (pre_start); to be faster begin with api"


def test_services_of_a_later_reload_are_not_drawn() -> None:
    """The picture is that of one start; who came later or was never wanted is only named."""
    told = [
        started("web", 0.0, 2.0),
        story("added", (15, "wanted"), (15, "STARTING"), (16, "RUNNING"), (16, "ready")),
        service("cleanup", schedule="@daily"),
    ]
    found = timeline.json(container(), told)
    assert [row["service"] for row in found["services"]] == ["web"]
    assert (found["later"], found["other"]) == (["added"], ["cleanup"])
    assert found["duration_seconds"] == 2.0


def test_what_happened_after_the_start_does_not_count() -> None:
    """A service that was stopped and started by hand later on has settled long ago."""
    told = story("web", (0, "wanted"), (0, "RUNNING"), (2, "ready"), (9, "STOPPING"), (9, "STOPPED"), (12, "STARTING"))
    assert timeline.json(container(), [told])["duration_seconds"] == 2.0


def test_the_plain_form_has_all_of_it() -> None:
    """One object for each service: moments, lengths, what it waited for and until when."""
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
    """Bars of signs under a time axis, the critical path marked, the legend and the sentence below."""
    assert timeline.text(container(), application(), width=64, colour=False) == [
        "          |0              |5s              |10s",
        "* db      ~~~~~~~~~~~~~~~~~~~~~~~~~~+                ready 8.1s",
        "  cache   ~+                                         ready 500ms",
        "* migrate ..........................~~~~~~~~~~~=     done 11.3s",
        "* web     .....................................~~~+  ready 12.4s",
        "",
        ". waits for others   ~ runs, not ready   + ready   = done",
        "* critical path",
        "12.4s to ready: db 8.1s (its probe), migrate 3.2s, web 1.1s; to",
        "be faster begin with db",
    ]


def test_nothing_started_yet_is_said() -> None:
    """Without a single timeline there is no chart, but a sentence and well-formed XML."""
    assert timeline.text(container(), [], width=80, colour=True) == ["nothing has been started yet"]
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
    """From milliseconds to hours: the finest round step for which there is room."""
    assert timeline.ticks(seconds, most) == pytest.approx(expected)


@given(st.floats(0, 1e9), st.integers(2, 40))
def test_ticks_fit(seconds: float, most: int) -> None:
    """Never more ticks than there is room for, and none beyond the end."""
    found = timeline.ticks(seconds, most)
    assert found[0] == 0
    assert len(found) <= most
    assert found[-1] <= seconds * (1 + 1e-9)


def test_a_hostile_name_stays_a_name() -> None:
    """What a service is called, and what it died of, cannot leave its text."""
    told = story(HOSTILE, (0, "wanted"), (1, "FATAL"), state="FATAL", why="<b>&\x00")
    picture = timeline.svg(container(), [told])
    assert "<script" not in picture
    assert "<b>" not in picture
    assert any("<b>&\\x00" in (title.text or "") for title in parsed(picture).iter(f"{SVG}title"))


@given(services_of_any, st.integers(1, 120), st.booleans(), moments)
def test_any_status_gives_a_readable_chart(told: list[Told], width: int, colour: bool, now: float) -> None:
    """Whatever a status holds: text within the width and without control characters, well-formed XML, a sound path."""
    around = container(time=now)
    for line in timeline.text(around, told, width=width, colour=colour):
        plain = re.sub(r"\x1b\[[0-9;]+m", "", line)
        assert columns(plain) <= width
        assert plain.isprintable()
        assert colour or plain == line
    picture = timeline.svg(around, told)
    assert picture == timeline.svg(around, told)
    assert all(one.isprintable() for one in picture.split("\n"))
    root = parsed(picture)
    for rectangle in root.iter(f"{SVG}rect"):
        assert float(rectangle.get("x", "0")) + float(rectangle.get("width", "0")) <= 960
        assert float(rectangle.get("width", "0")) >= 0
    found = timeline.json(around, told)
    links = found["critical_path"]
    assert bool(links) == bool(found["services"])
    assert len({link["service"] for link in links}) == len(links)
    assert all(link["duration_seconds"] >= 0 for link in links)
    assert all(one["end"] == two["begin"] for one, two in pairwise(links))
    assert {link["service"] for link in links} == {row["service"] for row in found["services"] if row["critical"]}
