"""Layered graph layout: places boxes and routes the lines between them (the Sugiyama method in a simple form).

Nodes without dependencies are in the rightmost column. Every other node is one column left of its leftmost dependency
(longest path); a full column overflows to the left. A line that passes a column occupies a place in it, so that it
never crosses a box. Lines to the same target with the same label share their route. Barycentres reduce crossings,
least squares straighten lines. Boxes without lines are in a grid below. Input: names; output: coordinates in pixels,
from 0. Cycles are drawn. Nothing recurses, since the depth of the input is not limited.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from itertools import pairwise
from math import ceil, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

GAP = 16.0  # between two boxes
_LINE_GAP = 9.0  # between two lines, or between a line and a box
_BEND = 64.0  # space between two columns for bends
_STUB = 16.0  # minimum length of the straight end of a line
_SWEEPS = 12


class Bundle(NamedTuple):
    """The lines that end at the same box with the same label."""

    target: str
    label: str
    satisfied: bool


class Box(NamedTuple):
    """A rectangle; x, y: its upper left corner."""

    x: float
    y: float
    width: float
    height: float


class Wire(NamedTuple):
    """The route of a bundle: path steps as in SVG's `d`, the common tip, and the length of its straight end."""

    bundle: Bundle
    sources: tuple[str, ...]
    steps: tuple[str | float, ...]
    tip: tuple[float, float]
    stub: float


class Layout(NamedTuple):
    """Boxes by name, in the order given; the routes; the total size."""

    boxes: dict[str, Box]
    wires: tuple[Wire, ...]
    width: float
    height: float


# An occupant of a column: the name of a box, or a bundle that passes.
_Node = str | tuple[Bundle, int]
_Columns = list[list[_Node]]
_Links = dict[_Node, list[_Node]]


def arrange(
    heights: Mapping[str, float], bundles: Mapping[Bundle, Sequence[str]], width: float, labels: Mapping[Bundle, float]
) -> Layout:
    """Arrange boxes (heights by name, one width for all) and bundles (with the names of their sources).

    labels: width in pixels of the label on a bundle's straight end. Every name in `bundles` must be in `heights`.
    """
    needs: dict[str, list[str]] = {name: [] for name in heights}
    for bundle, sources in bundles.items():
        for source in sources:
            needs[source].append(bundle.target)
    targets = {bundle.target for bundle in bundles}
    connected = {name: others for name, others in needs.items() if others or name in targets}
    depth, back_edges = depths(connected, max(8, ceil(1.6 * sqrt(len(connected)))))
    columns, right = _columns(depth, bundles, back_edges)
    left: _Links = {}
    for node, others in right.items():
        for other in others:
            left.setdefault(other, []).append(node)
    columns = _reduce_crossings(columns, left, right)
    middles = _align(columns, left, right, heights)
    stubs = [max([_STUB, *(labels[b] for b in bundles if depth[b.target] == index)]) for index in range(len(columns))]
    first = max((stubs[-1] + _BEND for b in bundles if depth[b.target] == len(columns) - 1), default=0.0)
    starts = _column_starts(stubs, width, first)
    middles = _compact(middles, heights)
    placed = {
        name: Box(starts[depth[name]], middles[name] - heights[name] / 2, width, heights[name]) for name in connected
    }
    wires = _wires(bundles, _Routing(placed, middles, starts, stubs, depth, right, back_edges))
    unconnected = {name: height for name, height in heights.items() if name not in connected}
    placed |= _grid(unconnected, placed.values(), width)
    boxes = {name: placed[name] for name in heights}
    across = max((box.x + box.width for box in boxes.values()), default=0.0)
    down = max((box.y + box.height for box in boxes.values()), default=0.0)
    return Layout(boxes, wires, across, max([down, *middles.values()]))


def depths(graph: Mapping[str, Iterable[str]], most: int) -> tuple[dict[str, int], set[tuple[str, str]]]:
    """Return the depth of each name (0: no dependencies), and the back edges, which close a cycle.

    Back edges do not count for the depth. At most `most` names share a depth.
    """
    depth: dict[str, int] = {}
    back_edges: set[tuple[str, str]] = set()
    count_at: dict[int, int] = {}
    for root in graph:
        path = {root: iter(graph[root])} if root not in depth else {}
        while path:
            name = next(reversed(path))
            following = next(path[name], None)
            if following is None:
                path.popitem()
                before = [depth[other] for other in graph[name] if (name, other) not in back_edges]
                at = max(before, default=-1) + 1
                while count_at.get(at, 0) >= most:
                    at += 1
                depth[name] = at
                count_at[at] = count_at.get(at, 0) + 1
            elif following in path:
                back_edges.add((name, following))
            elif following not in depth:
                path[following] = iter(graph[following])
    return depth, back_edges


def _columns(
    depth: Mapping[str, int], bundles: Mapping[Bundle, Sequence[str]], back_edges: set[tuple[str, str]]
) -> tuple[_Columns, _Links]:
    """The nodes of each column, rightmost first, and the links of each node to the right."""
    columns: _Columns = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    right: dict[_Node, dict[_Node, None]] = {}
    for name, at in depth.items():
        columns[at].append(name)
    for bundle, sources in bundles.items():
        for source in sources:
            if (source, bundle.target) in back_edges:
                continue
            node: _Node = source
            for at in range(depth[source] - 1, depth[bundle.target], -1):
                passing = (bundle, at)
                right.setdefault(node, {})[passing] = None
                if passing in right:
                    break  # the rest of the route exists
                columns[at].append(passing)
                node = passing
            else:
                right.setdefault(node, {})[bundle.target] = None
    return columns, {node: list(others) for node, others in right.items()}


def _reduce_crossings(columns: _Columns, left: _Links, right: _Links) -> _Columns:
    """Reorder the columns for few crossings: the best result of several sweeps in both directions."""
    best, fewest = columns, _crossings(columns, left)
    current = [list(column) for column in columns]
    for sweep in range(_SWEEPS):
        links = right if sweep % 2 == 0 else left
        before: list[_Node] = []
        for index in range(len(current)) if links is right else reversed(range(len(current))):
            current[index] = _by_barycentre(current[index], before, links)
            before = current[index]
        crossings = _crossings(current, left)
        if crossings <= fewest:  # prefer the later one of equals
            best, fewest = [list(column) for column in current], crossings
    return best


def _by_barycentre(column: list[_Node], before: list[_Node], links: _Links) -> list[_Node]:
    place = {node: index for index, node in enumerate(before)}
    scale = len(before) / max(len(column), 1)
    key: dict[_Node, float] = {}
    for index, node in enumerate(column):
        near = [place[other] for other in links.get(node, ()) if other in place]
        key[node] = sum(near) / len(near) if near else index * scale
    return sorted(column, key=key.__getitem__)


def _crossings(columns: _Columns, left: _Links) -> int:
    """The number of crossings between adjacent columns."""
    count = 0
    for index, column in enumerate(columns[:-1]):
        place = {node: at for at, node in enumerate(columns[index + 1])}
        seen: list[int] = []
        for node in column:
            ends = sorted(place[other] for other in left.get(node, ()))
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _half(node: _Node, heights: Mapping[str, float]) -> float:
    return heights[node] / 2 if isinstance(node, str) else 0.0


def _align(columns: _Columns, left: _Links, right: _Links, heights: Mapping[str, float]) -> dict[_Node, float]:
    """The middle of each node, as near to its linked nodes as the other nodes of its column allow."""
    middles: dict[_Node, float] = {}
    distances: list[list[float]] = []
    for column in columns:
        apart = [0.0]
        for above, below in pairwise(column):
            gap = GAP if isinstance(above, str) and isinstance(below, str) else _LINE_GAP
            apart.append(_half(above, heights) + gap + _half(below, heights))
        distances.append(apart)
        at = -sum(apart) / 2
        for node, distance in zip(column, apart, strict=True):
            at += distance
            middles[node] = at
    for sweep in range(_SWEEPS):
        links = right if sweep % 2 == 0 else left
        for index in range(len(columns)) if links is right else reversed(range(len(columns))):
            column = columns[index]
            wanted = [_mean([middles[other] for other in links.get(node, ())], middles[node]) for node in column]
            middles.update(zip(column, _spread_out(wanted, distances[index]), strict=True))
    return middles


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _spread_out(wanted: list[float], apart: list[float]) -> list[float]:
    """Ordered positions, each at least `apart` from the previous one, with least squared distances to `wanted`.

    Isotonic regression by pooling adjacent violators.
    """
    offsets: list[float] = []
    blocks: list[tuple[float, int]] = []
    total = 0.0
    for want, distance in zip(wanted, apart, strict=True):
        total += distance
        offsets.append(total)
        blocks.append((want - total, 1))
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            (above, many), (below, more) = blocks[-2:]
            blocks[-2:] = [(above + below, many + more)]
    level = [value / count for value, count in blocks for _ in range(count)]
    return [at + offset for at, offset in zip(level, offsets, strict=True)]


def _compact(middles: Mapping[_Node, float], heights: Mapping[str, float]) -> dict[_Node, float]:
    """Shift the positions to start at 0, and remove empty bands."""
    moved: dict[_Node, float] = {}
    bottom = up = None
    for node, middle in sorted(middles.items(), key=lambda one: one[1] - _half(one[0], heights)):
        top = middle - _half(node, heights)
        if bottom is None or up is None:
            bottom, up = top, top
        up += max(0.0, top - bottom - 2 * GAP)
        bottom = max(bottom, middle + _half(node, heights))
        moved[node] = middle - up
    return moved


def _column_starts(stubs: list[float], width: float, first: float) -> list[float]:
    """The left edge of each column, rightmost first; the labels of incoming lines are left of it.

    first: space left of the leftmost column, for back edges.
    """
    starts: list[float] = []
    x = 0.0
    for stub in reversed(stubs):
        starts.append(x + _BEND + stub if starts else first)
        x = starts[-1] + width
    return starts[::-1]


def _grid(heights: Mapping[str, float], others: Iterable[Box], width: float) -> dict[str, Box]:
    """Place boxes without lines in rows below the others."""
    right = max((box.x + box.width for box in others), default=0.0)
    bottom = max((box.y + box.height + 2 * GAP for box in others), default=0.0)
    across = max(1, int((right + GAP) / (width + GAP)), ceil(sqrt(len(heights) / 2)))
    height = max(heights.values(), default=0.0)
    return {
        name: Box((index % across) * (width + GAP), bottom + (index // across) * (height + GAP), width, heights[name])
        for index, name in enumerate(heights)
    }


class _Routing(NamedTuple):
    boxes: dict[str, Box]
    middles: dict[_Node, float]
    starts: list[float]
    stubs: list[float]
    depth: dict[str, int]
    right: _Links
    back_edges: set[tuple[str, str]]


def _wires(bundles: Mapping[Bundle, Sequence[str]], routing: _Routing) -> tuple[Wire, ...]:
    """The route of each bundle; tips are spread over the left side of the target box."""
    ends: dict[str, list[Bundle]] = {}
    for bundle in bundles:
        ends.setdefault(bundle.target, []).append(bundle)
    wires = []
    for bundle, sources in bundles.items():
        box = routing.boxes[bundle.target]
        level = {b: _mean([_last_level(b, source, routing) for source in bundles[b]], 0.0) for b in ends[bundle.target]}
        order = sorted(level, key=level.__getitem__)
        tip = (box.x, box.y + box.height * (order.index(bundle) + 1) / (len(order) + 1))
        stub = routing.stubs[routing.depth[bundle.target]]
        wires.append(Wire(bundle, tuple(sources), _steps(bundle, sources, routing, tip, stub), tip, stub))
    return tuple(wires)


def _last_level(bundle: Bundle, source: str, routing: _Routing) -> float:
    passing = (bundle, routing.depth[bundle.target] + 1)
    return routing.middles.get(passing, routing.middles[source])


def _steps(
    bundle: Bundle, sources: Sequence[str], routing: _Routing, tip: tuple[float, float], stub: float
) -> tuple[str | float, ...]:
    """Curves between columns, straight lines through columns, one common straight end."""
    steps: list[str | float] = ["M", tip[0] - stub, tip[1], "L", *tip]
    drawn: set[_Node] = set()
    for source in sources:
        box = routing.boxes[source]
        x, y = box.x + box.width, box.y + box.height / 2
        if (source, bundle.target) in routing.back_edges:
            steps += [
                "M",
                x,
                y,
                "C",
                x + _BEND,
                y + _BEND,
                tip[0] - stub - _BEND,
                tip[1] - _BEND,
                tip[0] - stub,
                tip[1],
            ]
            continue
        for at in range(routing.depth[source] - 1, routing.depth[bundle.target], -1):
            passing = (bundle, at)
            below = routing.middles[passing]
            start = routing.starts[at]
            steps += _curve(x, y, start, below)
            x, y = start + box.width, below
            if passing in drawn:
                break
            drawn.add(passing)
            steps += ["L", x, y]
        else:
            steps += _curve(x, y, tip[0] - stub, tip[1])
    return tuple(steps)


def _curve(x1: float, y1: float, x2: float, y2: float) -> list[str | float]:
    middle = (x1 + x2) / 2
    return ["M", x1, y1, "C", middle, y1, middle, y2, x2, y2]
