"""`cohabit graph`: rendering/graph.py and layout.py, with arbitrary answers to `status`."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.rendering.layout import Bundle, arrange, depths
from cohabit.rendering.text import columns
from unit.status_story import crashing, ended, graph, healthy, needs, service, waiting

HEALTHY, COMPLETED = "service_healthy", "service_completed_successfully"
HOSTILE = 'a"]; click <script>&\x1b[2J\u202e\n`x`'
SVG = "{http://www.w3.org/2000/svg}"


def parsed(picture: str) -> ET.Element:
    """Parse the picture as XML; fails if it is not well-formed."""
    return ET.fromstring(picture)  # noqa: S314 - made by ourselves


names = st.one_of(st.sampled_from(["a", "b", "c", "d", "web-1", HOSTILE]), st.text(max_size=6))
needs_of_any = st.builds(
    needs,
    names,
    st.sampled_from(["service_started", HEALTHY, COMPLETED, "of a later version", "\x00"]),
    required=st.booleans(),
    satisfied=st.booleans(),
)
services_of_any = st.lists(
    st.builds(
        service,
        names,
        state=st.sampled_from(["STOPPED", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FATAL", "\x07?"]),
        ready=st.booleans(),
        want=st.sampled_from(["up", "down"]),
        code=st.sampled_from([None, 0, 1, 137]),
        why=st.text(max_size=10),
        depends_on=st.lists(needs_of_any, max_size=4),
    ),
    max_size=9,
)


@st.composite
def drawings(draw: st.DrawFn) -> tuple[dict[str, float], dict[Bundle, list[str]]]:
    """Boxes with heights, and lines between any of them."""
    heights = draw(
        st.dictionaries(st.sampled_from("abcdefghijklmnop"), st.sampled_from([44.0, 54.0, 90.0]), max_size=16)
    )
    some = st.sampled_from(sorted(heights)) if heights else st.nothing()
    bundle = st.builds(Bundle, some, st.sampled_from(["", "healthy"]), st.booleans())
    lines = st.dictionaries(bundle, st.lists(some, min_size=1, max_size=4, unique=True), max_size=20)
    return heights, draw(lines) if heights else {}


def application() -> list[dict[str, Any]]:
    """Return a database, its migration, a web server, and a worker that crashes."""
    return [
        healthy("db"),
        ended("migrate", 0, job=True, depends_on=[needs("db", HEALTHY, satisfied=True)]),
        service("web", depends_on=[needs("migrate", COMPLETED, satisfied=True), needs("db", HEALTHY, satisfied=True)]),
        crashing("worker", depends_on=[needs("db", satisfied=True)]),
        waiting("report", needs("worker", HEALTHY), needs("mail", required=False)),
    ]


def test_the_tree_expands_each_service_once() -> None:
    """Dependencies stand below their dependent; a repeated service says "see above"."""
    assert graph.text(application(), width=80, colour=False) == [
        "web          + RUNNING, ready",
        "|-- migrate  = EXITED, done        completed",
        "|   `-- db   + RUNNING, ready      healthy",
        "`-- db         see above           healthy",
        "report       . STOPPED, waiting",
        "|-- worker   ! BACKOFF, restart 3  not healthy",
        "|   `-- db     see above",
        "`-- mail     ? unknown             not started, optional",
    ]


def test_a_running_job_is_not_ready() -> None:
    """It has to complete; a crash loop is "failed", a loop of runs with exit code 0 is "waiting"."""
    assert graph.text([service("migrate", job=True)], width=80, colour=False) == ["migrate  ~ RUNNING"]
    assert [node["look"] for node in graph.json([crashing("a"), crashing("b", 0)])["nodes"]] == ["failed", "waiting"]


def test_only_states_are_coloured() -> None:
    """And conditions that are not met."""
    lines = graph.text([waiting("web", needs("db", HEALTHY)), healthy("db")], width=80, colour=True)
    assert lines == [
        "web   \x1b[33m  . \x1b[0m\x1b[33mSTOPPED, waiting\x1b[0m",
        "`-- db\x1b[32m  + \x1b[0m\x1b[32mRUNNING, ready  \x1b[0m\x1b[1;31m  not healthy\x1b[0m",
    ]


def test_a_cycle_is_expanded_once() -> None:
    """A cycle has no top; its first service is used as the top."""
    lines = graph.text(
        [service("a", depends_on=[needs("b")]), service("b", depends_on=[needs("a")])], width=80, colour=False
    )
    assert [line.split()[:2] for line in lines] == [["a", "+"], ["`--", "b"], ["`--", "a"]]
    assert "see above" in lines[2]


def test_a_chain_of_a_thousand_services() -> None:
    """It exceeds neither Python's recursion limit nor the width."""
    chain = [service(f"s{i}", depends_on=[needs(f"s{i + 1}", satisfied=True)] if i < 999 else []) for i in range(1000)]
    lines = graph.text(chain, width=80, colour=False)
    assert len(lines) == 1000
    assert all("RUNNING" in line for line in lines)
    parsed(graph.svg(chain))


def test_json_has_nodes_and_edges() -> None:
    """Edges lead from a service to its dependency; an unknown dependency is a node, too."""
    assert graph.json([waiting("web", needs("db", HEALTHY))]) == {
        "nodes": [
            {"name": "web", "state": "STOPPED", "look": "waiting"},
            {"name": "db", "state": "", "look": "unknown"},
        ],
        "edges": [{"from": "web", "to": "db", "condition": HEALTHY, "required": True, "satisfied": False}],
    }


def test_mermaid_has_classes_by_state_and_labels() -> None:
    """A satisfied edge is solid, others are dotted and red; classes name the states that occur."""
    status = [healthy("db"), waiting("web", needs("db", COMPLETED), needs("db", HEALTHY, satisfied=True))]
    assert graph.mermaid(status).splitlines() == [
        "flowchart LR",
        '  n0["db<br/>RUNNING, ready"]:::ready',
        '  n1["web<br/>STOPPED, waiting"]:::waiting',
        '  n1 -.->|"not completed"| n0',
        '  n1 -->|"healthy"| n0',
        "  linkStyle 0 stroke:#d55e00,color:#d55e00",
        "  classDef ready fill:#009e73,stroke:#1f2933,color:#ffffff",
        "  classDef waiting fill:#f0e442,stroke:#1f2933,color:#000000",
    ]


def test_a_hostile_name_is_escaped() -> None:
    """A name cannot end a label, open a tag or move the cursor."""
    status = [service(HOSTILE, why="<b>&\x00")]
    label = graph.mermaid(status).splitlines()[1]
    assert re.fullmatch(r'  n0\["[\w ._,:/+=#;-]+<br/>RUNNING, ready"\]:::ready', label)
    picture = graph.svg(status)
    assert "<script" not in picture
    assert "&lt;script&gt;" in picture
    titles = [title.text for title in parsed(picture).iter(f"{SVG}title")]
    assert titles[-1] == r'a"]; click <script>&\x1b[2J\u202e\n`x`: RUNNING, ready; <b>&\x00'


@given(services_of_any, st.integers(1, 120), st.booleans())
def test_any_status_gives_a_readable_picture(status: list[dict[str, Any]], width: int, colour: bool) -> None:
    """Text within the width and without control characters, and well-formed XML."""
    for line in graph.text(status, width=width, colour=colour):
        plain = re.sub(r"\x1b\[[0-9;]+m", "", line)
        assert columns(plain) <= width
        assert plain.isprintable()
        assert colour or plain == line
    picture = graph.svg(status)
    assert picture == graph.svg(status)
    assert all(one.isprintable() for one in picture.split("\n"))
    root = parsed(picture)
    assert {element.tag for element in root.iter()} <= {
        SVG + tag for tag in ("svg", "title", "rect", "g", "path", "text")
    }
    assert all(line.isprintable() for line in graph.mermaid(status).splitlines())
    assert len(graph.json(status)["edges"]) == len(re.findall(r"^  n\d+ -", graph.mermaid(status), re.MULTILINE))


@given(drawings())
def test_no_boxes_overlap(drawing: tuple[dict[str, float], dict[Bundle, list[str]]]) -> None:
    """Boxes are apart and inside the picture; a line straight through a column crosses none of its boxes."""
    heights, bundles = drawing
    layout = arrange(heights, bundles, 100.0, dict.fromkeys(bundles, 50.0))
    assert list(layout.boxes) == list(heights)
    boxes = list(layout.boxes.values())
    for index, one in enumerate(boxes):
        assert one.x >= 0
        assert one.y >= -0.001
        assert one.x + one.width <= layout.width
        assert one.y + one.height <= layout.height + 0.001
        for other in boxes[index + 1 :]:
            beside = one.x + one.width < other.x or other.x + other.width < one.x
            assert beside or one.y + one.height < other.y or other.y + other.height < one.y
    for wire in layout.wires:
        for x, y in _straight_ways(wire.steps, 100.0):
            assert not any(box.x == pytest.approx(x) and box.y < y < box.y + box.height for box in boxes)


def _straight_ways(steps: tuple[str | float, ...], width: float) -> list[tuple[float, float]]:
    """The start points of straight lines through a whole column."""
    ends: list[tuple[str, float, float]] = []
    at = 0
    while at < len(steps):
        letter = str(steps[at])
        many = 6 if letter == "C" else 2
        x, y = (float(value) for value in steps[at + many - 1 : at + many + 1])
        ends.append((letter, x, y))
        at += many + 1
    return [
        (one[1], one[2]) for one, two in pairwise(ends) if two[0] == "L" and two[1] - one[1] == pytest.approx(width)
    ]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=4)))
def test_dependencies_have_a_smaller_depth(needed: dict[str, list[str]]) -> None:
    """Every edge but back edges leads to a smaller depth; no depth has too many names."""
    whole = {name: [other for other in needed.get(name, []) if other in needed] for name in needed}
    depth, against = depths(whole, 3)
    assert set(depth) == set(whole)
    for name, others in whole.items():
        assert all((name, other) in against or depth[other] < depth[name] for other in others)
    assert all(list(depth.values()).count(level) <= 3 for level in depth.values())


def test_depth_is_the_longest_path() -> None:
    """A service that depends on a chain and on its end is beyond the chain, not beside its end."""
    assert depths({"web": ["db", "migrate"], "migrate": ["db"], "db": []}, 8) == (
        {"db": 0, "migrate": 1, "web": 2},
        set(),
    )


def test_lines_do_not_cross_unnecessarily() -> None:
    """Two independent pairs are drawn as two parallel lines, whatever their order."""
    bundles = {Bundle("a", "", True): ["y"], Bundle("b", "", True): ["x"]}
    boxes = arrange(dict.fromkeys("abxy", 44.0), bundles, 100.0, dict.fromkeys(bundles, 10.0)).boxes
    assert (boxes["a"].y < boxes["b"].y) == (boxes["y"].y < boxes["x"].y)
    assert boxes["a"].y == boxes["y"].y
