"""Render the start of a container as a Gantt chart: text, SVG or JSON.

One row for each service shows its phases (waiting, starting, running but not ready), its crashes and its outcome. The
critical path is marked, and described in a sentence. The input are the objects of `status`
(docs/reference/control.md), which start.py analyses. Pure.
"""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from cohabit.rendering import colours, start
from cohabit.rendering.formatting import duration, name_list
from cohabit.rendering.lines import line, padded
from cohabit.rendering.svg import FAINT, HAIR, INK, SIZE, Picture, fitted, text_width
from cohabit.rendering.text import columns, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cohabit.api.status import ContainerStatus, ServiceStatus
    from cohabit.rendering.lines import Piece
    from cohabit.rendering.start import Row, StartTimes

# The display state (a key of colours.STYLES) of each phase and outcome.
_PHASES = {
    start.WAITS: "",
    start.BEGINS: colours.STARTING,
    start.UNREADY: colours.RUNNING,
    start.PAUSES: colours.WAITING,
    start.ENDS: colours.STOPPING,
}
_OUTCOMES = {
    start.READY: colours.READY,
    start.DONE: colours.DONE,
    start.FAILED: colours.FAILED,
    start.STOPPED: colours.STOPPED,
}
_MEANINGS = {
    start.WAITS: "waits for dependencies",
    start.BEGINS: "starts",
    start.UNREADY: "runs, not ready",
    start.PAUSES: "waits for its restart",
    start.ENDS: "is being stopped",
}
_SIGNS = {start.WAITS: ".", start.BEGINS: ">", start.UNREADY: "~", start.PAUSES: ",", start.ENDS: "<"}
_CRASH = "!"
_MARK = "* "  # before a name on the critical path

_LIGHT = "#e4e7eb"  # of waiting
_BACKGROUND = "#f5f7fa"  # behind a row on the critical path
_MARGIN, _ROW, _BAR, _SMALL = 24.0, 28.0, 13.0, 10.5
_NAMES_MAX = 190.0  # pixels
_TICK_ROOM = 76.0  # pixels between ticks, at least

_MS, _MINUTE, _HOUR, _DAY = 0.001, 60.0, 3600.0, 86_400.0
_STEPS = [
    *(_MS * step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(_MINUTE * step for step in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * step for step in (1, 2, 3, 6, 12)),
    *(_DAY * step for step in (1, 2, 5)),
]


def ticks(seconds: float, most: int) -> list[float]:
    """Return at most `most` (at least 2) round times from 0 to `seconds`: 0, 5, 10 for 12 seconds."""
    most = max(most, 2)
    step = next((step for step in _STEPS if _whole(seconds, step) < most), 10 * _DAY)
    while _whole(seconds, step) >= most:
        step *= 10
    return [step * index for index in range(_whole(seconds, step) + 1)]


def _whole(seconds: float, step: float) -> int:
    return int(seconds / step + 1e-9)  # 0.25 has five steps of 0.05


def json(container: ContainerStatus, services: Iterable[ServiceStatus]) -> dict[str, Any]:
    """Return the chart as plain values; times are Unix seconds or null.

    {"began", "ended", "duration_seconds", "settled": bool, "text": the critical path as a sentence,
     "critical_path": [{"service", "begin", "end", "duration_seconds", "why"}], first to last,
     "services": [{"service", "wanted", "begin": of its first start, "ready": or completed, "outcome": "ready"|"done"|
        "failed"|"stopped"|"", "duration_seconds": from begin to there or to now, "waited_seconds", "critical": bool,
        "waited_for": [{"service", "condition", "required", "satisfied": moment}],
        "phases": [{"phase": "waits"|"begins"|"unready"|"pauses"|"ends", "begin", "end"}],
        "crashes": [{"time", "text"}], including restarts of an unhealthy service}],
     "later": [names added after this start], "other": [names that were not part of it]}
    """
    times = start.analyse(container, services)
    critical = {link.name for link in times.path}
    return {
        "began": times.began,
        "ended": times.ended,
        "duration_seconds": times.seconds,
        "settled": not times.not_ready,
        "text": start.summary(times),
        "critical_path": [
            {
                "service": link.name,
                "begin": link.begin,
                "end": link.end,
                "duration_seconds": link.seconds,
                "why": link.why,
            }
            for link in times.path
        ],
        "services": [_plain(row, times, critical=row.name in critical) for row in times.rows],
        "later": list(times.later),
        "other": list(times.other),
    }


def _plain(row: Row, times: StartTimes, *, critical: bool) -> dict[str, Any]:
    waits = [
        {
            "service": need.service,
            "condition": need.condition,
            "required": need.required,
            "satisfied": satisfied,
        }
        for need, satisfied in times.waits[row.name]
    ]
    return {
        "service": row.name,
        "wanted": row.wanted,
        "begin": row.begin,
        "ready": row.end if row.outcome in {start.READY, start.DONE} else None,
        "outcome": row.outcome,
        "duration_seconds": row.end - row.free,
        "waited_seconds": row.free - row.wanted,
        "critical": critical,
        "waited_for": waits,
        "phases": [{"phase": phase.kind, "begin": phase.begin, "end": phase.end} for phase in row.phases],
        "crashes": [{"time": crash.time, "text": crash.text} for crash in row.crashes],
    }


def _result(row: Row, began: float) -> str:
    """The text beside the bar: "ready 8.1s", "failed 5s, 2 crashes"."""
    crashes = len(row.crashes) - (row.outcome == start.FAILED)
    text = (
        f"{row.outcome} {duration(row.end - began)}" if row.outcome else "waits" if row.begin is None else "not ready"
    )
    if not row.outcome and row.service.job and row.begin is not None:
        text = "not done"
    counted = "restart" if all(crash.unhealthy for crash in row.crashes) else "crash"
    least = "at least " if row.at_least else ""
    return text + (f", {least}{crashes} {counted}{_plural(counted) if crashes > 1 else ''}" if crashes else "")


def _plural(noun: str) -> str:
    return "es" if noun.endswith("h") else "s"


def _notes(times: StartTimes) -> list[str]:
    notes = [start.summary(times)]
    beyond = [row.name for row in times.rows if row.end - times.began > times.shown_seconds]
    if beyond:
        notes.append(f"the chart ends at {duration(times.shown_seconds)}; {name_list(beyond)} took longer")
    if times.later:
        notes.append(f"added later, not drawn: {name_list(times.later)}")
    if times.other:
        notes.append(f"not part of the start: {name_list(times.other)}")
    return notes


# --- text -----------------------------------------------------------------------------------------------


def text(container: ContainerStatus, services: Iterable[ServiceStatus], *, width: int, colour: bool) -> list[str]:
    """Return the chart for the terminal, each line at most `width` columns: bars of signs, with a legend below."""
    times = start.analyse(container, services)
    critical = {link.name for link in times.path}
    results = {row.name: _result(row, times.began) for row in times.rows}
    names = min(max((columns(row.name) for row in times.rows), default=0), max(width // 4, 4))
    beside = max((columns(result) for result in results.values()), default=0)
    bar = width - len(_MARK) - names - 1 - 2 - beside
    if bar < width // 4:
        bar = max(width - len(_MARK) - names - 1, 1)
    lines = []
    seen: set[str] = set()
    if times.rows:
        axis = " " * (len(_MARK) + names + 1) + _axis(times.shown_seconds, bar)
        lines.append(line([(axis, "")], width=width, colour=colour))
    for row in times.rows:
        mark = _MARK if row.name in critical else " " * len(_MARK)
        bars = _bar(row, times, bar)
        seen.update(*(signs for signs, _ in bars))
        pieces = [(mark + padded(row.name, names) + " ", ""), *bars]
        pieces.append(("  " + results[row.name], _OUTCOMES.get(row.outcome, "")))
        lines.append(line(pieces, width=width, colour=colour))
    if times.rows:
        lines += ["", *_legend(seen, width)]
    for note in _notes(times):
        lines += _wrapped(note, width)
    return lines


def _axis(seconds: float, width: int) -> str:
    """Ticks with their labels: "|0       |5s      |10s"."""
    axis = ""
    for tick in ticks(seconds, width // 9):
        at = _cell(tick, seconds, width)
        if at >= len(axis):
            axis = axis.ljust(at) + "|" + (duration(tick) if tick else "0")
    return axis


def _cell(moment: float, seconds: float, width: int) -> int:
    return min(int(moment / seconds * width), width - 1) if seconds > 0 else 0


def _bar(row: Row, times: StartTimes, width: int) -> list[Piece]:
    """Signs in exactly `width` columns, as pieces of one colour."""
    cells: list[Piece] = [(" ", "")] * width
    for phase in row.phases:
        first = _cell(phase.begin - times.began, times.shown_seconds, width)
        last = _cell(phase.end - times.began, times.shown_seconds, width)
        cells[first : last + 1] = [(_SIGNS[phase.kind], _PHASES[phase.kind])] * (last + 1 - first)
    for crash in row.crashes:
        cells[_cell(crash.time - times.began, times.shown_seconds, width)] = (_CRASH, colours.FAILED)
    if row.outcome:
        look = _OUTCOMES[row.outcome]
        cells[_cell(row.end - times.began, times.shown_seconds, width)] = (colours.STYLES[look].sign, look)
    pieces: list[Piece] = []
    for sign, look in cells:
        if pieces and pieces[-1][1] == look:
            pieces[-1] = (pieces[-1][0] + sign, look)
        else:
            pieces.append((sign, look))
    return pieces


def _legend(seen: set[str], width: int) -> list[str]:
    """The legend of the signs that occur; no entry is split across lines."""
    meanings = {sign: _MEANINGS[kind] for kind, sign in _SIGNS.items()}
    meanings |= {colours.STYLES[look].sign: outcome for outcome, look in _OUTCOMES.items()}
    meanings |= {_CRASH: "failed or crashed", _MARK.strip(): "critical path"}
    lines = [""]
    for entry in (f"{sign} {meaning}" for sign, meaning in meanings.items() if sign in seen | {_MARK.strip()}):
        if lines[-1] and columns(lines[-1]) + 3 + columns(entry) > width:
            lines.append("")
        lines[-1] = shorten(f"{lines[-1]}   {entry}" if lines[-1] else entry, width)
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return [shorten(part, width) for part in wrap(text, max(width, 1), break_long_words=False)]


# --- SVG ------------------------------------------------------------------------------------------------


def svg(container: ContainerStatus, services: Iterable[ServiceStatus], *, width: float = 960.0) -> str:
    """Return an SVG picture, `width` pixels wide."""
    times = start.analyse(container, services)
    results = {row.name: _result(row, times.began) for row in times.rows}
    names = min(max((text_width(row.name, bold=True) for row in times.rows), default=0.0), _NAMES_MAX)
    beside = max((text_width(result, _SMALL) for result in results.values()), default=0.0)
    picture = Picture()
    picture.text(_MARGIN, 32, "Start", 15, font_weight="bold")
    y = 50.0
    for note in _notes(times):
        for part in _filled(note, width - 2 * _MARGIN):
            picture.text(_MARGIN, y, part, fill=FAINT)
            y += 17
    chart = _Chart(picture, times, _MARGIN + names + 14, width - _MARGIN - beside - 14, y + 26)
    if times.rows:
        chart.draw_axis()
    for index, row in enumerate(times.rows):
        chart.draw_row(row, results[row.name], index, width)
    chart.draw_path()
    for index, row in enumerate(times.rows):
        chart.draw_ends(row, index)
    bottom = chart.top + len(times.rows) * _ROW + 20
    if times.rows:
        bottom = _draw_legend(picture, times, bottom, width)
    return picture.render(f"Start: {start.summary(times)}", width, bottom + 4)


class _Chart:
    """The part of the picture with the time axis: time runs from left to right, rows from top to bottom."""

    def __init__(self, picture: Picture, times: StartTimes, left: float, right: float, top: float) -> None:
        self.picture = picture
        self.times = times
        self.left = left
        self.right = max(right, left + 1)
        self.top = top
        self.critical = {link.name for link in times.path}
        self.row_of = {row.name: index for index, row in enumerate(times.rows)}

    def x(self, moment: float) -> float:
        """Return the x coordinate of a time in Unix seconds."""
        seconds = self.times.shown_seconds
        share = min((moment - self.times.began) / seconds, 1.0) if seconds > 0 else 0.0
        return self.left + share * (self.right - self.left)

    def draw_axis(self) -> None:
        """Draw ticks with labels, and vertical lines through the rows."""
        bottom = self.top + len(self.times.rows) * _ROW
        for tick in ticks(self.times.shown_seconds, int((self.right - self.left) / _TICK_ROOM)):
            x = self.x(self.times.began + tick)
            self.picture.line(x, self.top - 4, x, bottom, stroke=HAIR, stroke_width=1)
            label = duration(tick) if tick else "0"
            self.picture.text(x, self.top - 10, label, _SMALL, text_anchor="middle", fill=FAINT)

    def draw_row(self, row: Row, result: str, index: int, width: float) -> None:
        """Draw name, bar and outcome text."""
        picture, critical = self.picture, row.name in self.critical
        middle = self.top + (index + 0.5) * _ROW
        picture.open(_tooltip(row, self.times))
        if critical:
            place = (_MARGIN - 8, middle - _ROW / 2 + 1, width - 2 * _MARGIN + 16, _ROW - 2)
            picture.rectangle(*place, rx=4, fill=_BACKGROUND, fill_opacity="0.7")
        weight: dict[str, object] = {"font_weight": "bold" if critical else "normal"}
        name = fitted(row.name, self.left - _MARGIN - 12, bold=critical)
        picture.text(_MARGIN, middle + 4, name, SIZE, **weight)
        for phase in row.phases:
            x = self.x(phase.begin)
            look = _PHASES[phase.kind]
            fill = colours.STYLES[look].fill if look else _LIGHT
            high = _BAR if look else _BAR / 2
            picture.rectangle(x, middle - high / 2, max(self.x(phase.end) - x, 1.5), high, fill=fill)
        ink = colours.STYLES[colours.FAILED].fill if row.outcome == start.FAILED else INK if critical else FAINT
        picture.text(width - _MARGIN, middle + 4, result, _SMALL, text_anchor="end", fill=ink, **weight)
        picture.close()

    def draw_ends(self, row: Row, index: int) -> None:
        """Draw the signs of crashes and outcome above all lines."""
        middle = self.top + (index + 0.5) * _ROW
        for crash in row.crashes:
            self.picture.open(f"{row.name}, {duration(crash.time - self.times.began)}: {crash.text}")
            _draw_sign(self.picture, self.x(crash.time), middle, colours.STYLES[colours.FAILED])
            self.picture.close()
        if row.outcome and row.outcome != start.FAILED:
            _draw_sign(self.picture, self.x(row.end), middle, colours.STYLES[_OUTCOMES[row.outcome]])

    def draw_path(self) -> None:
        """Draw a line below the bars of the critical path."""
        steps: list[str | float] = []
        for link in self.times.path:
            y = self.top + (self.row_of[link.name] + 0.5) * _ROW + _BAR / 2 + 3
            steps += ["L" if steps else "M", self.x(link.begin), y, "L", self.x(link.end), y]
        if steps:
            self.picture.open(f"critical path: {start.summary(self.times)}")
            self.picture.path(steps, fill="none", stroke=INK, stroke_width=1.8, stroke_linejoin="round")
            self.picture.close()


def _tooltip(row: Row, times: StartTimes) -> str:
    """The tooltip of a row."""
    waits = ", ".join(
        f"{need.service} {duration(satisfied - times.began) if satisfied is not None else '?'}"
        for need, satisfied in times.waits[row.name]
    )
    crashes = "; ".join(f"{duration(crash.time - times.began)}: {crash.text}" for crash in row.crashes)
    parts = [
        f"{row.name}: {_result(row, times.began)}",
        f"waited {duration(row.free - row.wanted)}" + (f" (for {waits})" if waits else ""),
        f"then took {duration(row.end - row.free)}",
    ]
    return "; ".join([*parts, crashes] if crashes else parts)


def _draw_sign(picture: Picture, x: float, y: float, look: colours.Style) -> None:
    picture.circle(x, y, 6.5, fill=look.fill, stroke="#ffffff", stroke_width=1)
    picture.text(x, y + 3.6, look.sign, _SMALL, text_anchor="middle", font_weight="bold", fill=look.ink)


def _filled(text: str, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer) > width and lines[-1]:
            lines.append(fitted(word, width))
        else:
            lines[-1] = fitted(longer, width)
    return lines


def _draw_legend(picture: Picture, times: StartTimes, y: float, width: float) -> float:
    """Draw the legend; return its lower edge."""
    kinds = {phase.kind for row in times.rows for phase in row.phases}
    outcomes = {row.outcome for row in times.rows}
    items = [(kind, _MEANINGS[kind]) for kind in _PHASES if kind in kinds]
    items += [(outcome, outcome) for outcome in _OUTCOMES if outcome in outcomes and outcome != start.FAILED]
    if any(row.crashes for row in times.rows):
        items.append((start.FAILED, "failed or crashed"))
    x = _MARGIN
    for kind, meaning in [*items, ("", "critical path")]:
        need = text_width(meaning, _SMALL) + 40
        if x + need > width - _MARGIN and x > _MARGIN:
            x, y = _MARGIN, y + 20
        if not kind:
            picture.line(x, y, x + 16, y, stroke=INK, stroke_width=1.8)
        elif kind in _OUTCOMES:
            _draw_sign(picture, x + 8, y, colours.STYLES[_OUTCOMES[kind]])
        else:
            look = _PHASES[kind]
            picture.rectangle(x, y - 5, 16, 10, fill=colours.STYLES[look].fill if look else _LIGHT)
        picture.text(x + 22, y + 4, meaning, _SMALL, fill=FAINT)
        x += need
    return y + 20
