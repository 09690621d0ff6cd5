"""The start of a container as a Gantt chart: text, SVG, and the plain form for programs.

One row for each service from the moment when it was wanted: waiting, starting, running and not ready yet, and how
that ended; crashes on the way are marked. The critical path is marked, too, and summed up in words. Takes the
objects of `status` (docs/reference/control.md); what they mean is found out in start.py, and only drawn here. Pure.
"""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from cohabit.rendering import colours, start
from cohabit.rendering.lines import line, padded
from cohabit.rendering.svg import FAINT, HAIR, INK, SIZE, Picture, fitted, text_width
from cohabit.rendering.text import columns, shorten
from cohabit.rendering.words import listed, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cohabit.rendering.lines import Piece
    from cohabit.rendering.start import Row, StartTimes

    Status = Mapping[str, Any]

# How a phase, and an outcome, looks: a key of colours.LOOKS.
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
_MEANING = {
    start.WAITS: "waits for others",
    start.BEGINS: "starts",
    start.UNREADY: "runs, not ready",
    start.PAUSES: "waits to be restarted",
    start.ENDS: "is being ended",
}
_SIGNS = {start.WAITS: ".", start.BEGINS: ">", start.UNREADY: "~", start.PAUSES: ",", start.ENDS: "<"}
_CRASH = "!"
_MARK = "* "  # in front of a name on the critical path

_LIGHT = "#e4e7eb"  # of waiting
_BACKGROUND = "#f5f7fa"  # behind a row on the critical path
_MARGIN, _ROW, _BAR, _SMALL = 24.0, 28.0, 13.0, 10.5
_NAMES_MAX = 190.0  # pixels
_TICK_ROOM = 76.0  # pixels from tick to tick, at least

_MS, _MINUTE, _HOUR, _DAY = 0.001, 60.0, 3600.0, 86_400.0
_STEPS = [
    *(_MS * step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(_MINUTE * step for step in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * step for step in (1, 2, 3, 6, 12)),
    *(_DAY * step for step in (1, 2, 5)),
]


def ticks(seconds: float, most: int) -> list[float]:
    """Round moments from 0 to at most `seconds`, not more than `most` (at least 2) of them: 0, 5, 10 for 12 seconds."""
    most = max(most, 2)
    step = next((step for step in _STEPS if _whole(seconds, step) < most), 10 * _DAY)
    while _whole(seconds, step) >= most:
        step *= 10
    return [step * index for index in range(_whole(seconds, step) + 1)]


def _whole(seconds: float, step: float) -> int:
    return int(seconds / step + 1e-9)  # 0.25 has five steps of 0.05


def json(container: Status, services: Iterable[Status]) -> dict[str, Any]:
    """The chart for programs; moments are Unix seconds or null.

    {"began", "ended", "duration_seconds", "settled": bool, "text": the critical path in words,
     "critical_path": [{"service", "begin", "end", "duration_seconds", "why"}], first to last,
     "services": [{"service", "wanted", "begin": of its first start, "ready": or done, "outcome": "ready"|"done"|
        "failed"|"stopped"|"", "duration_seconds": from begin to there or to now, "waited_seconds", "critical": bool,
        "waited_for": [{"service", "condition", "required", "satisfied": moment}],
        "phases": [{"phase": "waits"|"begins"|"unready"|"pauses"|"ends", "begin", "end"}],
        "crashes": [{"time", "text"}], those that became unhealthy and were restarted among them}],
     "later": [names added after this start], "other": [names that were no part of it]}
    """
    whole = start.analysed(container, services)
    critical = {link.name for link in whole.path}
    return {
        "began": whole.began,
        "ended": whole.ended,
        "duration_seconds": whole.seconds,
        "settled": not whole.not_ready,
        "text": start.in_words(whole),
        "critical_path": [
            {
                "service": link.name,
                "begin": link.begin,
                "end": link.end,
                "duration_seconds": link.seconds,
                "why": link.why,
            }
            for link in whole.path
        ],
        "services": [_plain(row, whole, critical=row.name in critical) for row in whole.rows],
        "later": list(whole.later),
        "other": list(whole.other),
    }


def _plain(row: Row, whole: StartTimes, *, critical: bool) -> dict[str, Any]:
    waits = [
        {
            "service": need.service,
            "condition": need.condition,
            "required": need.required,
            "satisfied": satisfied,
        }
        for need, satisfied in whole.waits[row.name]
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
    """How it went, beside the bar: "ready 8.1s", "failed 5s, 2 crashes"."""
    crashes = len(row.crashes) - (row.outcome == start.FAILED)
    words = f"{row.outcome} {span(row.end - began)}" if row.outcome else "waits" if row.begin is None else "not ready"
    if not row.outcome and row.service.job and row.begin is not None:
        words = "not done"
    counted = "restart" if all(crash.unhealthy for crash in row.crashes) else "crash"
    return words + (f", {crashes} {counted}{_plural(counted) if crashes > 1 else ''}" if crashes else "")


def _plural(noun: str) -> str:
    return "es" if noun.endswith("h") else "s"


def _notes(whole: StartTimes) -> list[str]:
    notes = [start.in_words(whole)]
    if whole.later:
        notes.append(f"added later, not drawn: {listed(whole.later)}")
    if whole.other:
        notes.append(f"no part of the start: {listed(whole.other)}")
    return notes


# --- text -----------------------------------------------------------------------------------------------


def text(container: Status, services: Iterable[Status], *, width: int, colour: bool) -> list[str]:
    """The chart for the terminal, each line at most `width` columns: bars of signs, with their legend below."""
    whole = start.analysed(container, services)
    critical = {link.name for link in whole.path}
    results = {row.name: _result(row, whole.began) for row in whole.rows}
    names = min(max((columns(row.name) for row in whole.rows), default=0), max(width // 4, 4))
    beside = max((columns(result) for result in results.values()), default=0)
    bar = width - len(_MARK) - names - 1 - 2 - beside
    if bar < width // 4:
        bar = max(width - len(_MARK) - names - 1, 1)
    lines = []
    seen: set[str] = set()
    if whole.rows:
        axis = " " * (len(_MARK) + names + 1) + _axis(whole.seconds, bar)
        lines.append(line([(axis, "")], width=width, colour=colour))
    for row in whole.rows:
        mark = _MARK if row.name in critical else " " * len(_MARK)
        bars = _bar(row, whole, bar)
        seen.update(*(signs for signs, _ in bars))
        pieces = [(mark + padded(row.name, names) + " ", ""), *bars]
        pieces.append(("  " + results[row.name], _OUTCOMES.get(row.outcome, "")))
        lines.append(line(pieces, width=width, colour=colour))
    if whole.rows:
        lines += ["", *_legend(seen, width)]
    for note in _notes(whole):
        lines += _wrapped(note, width)
    return lines


def _axis(seconds: float, width: int) -> str:
    """Ticks with their labels: "|0       |5s      |10s"."""
    axis = ""
    for tick in ticks(seconds, width // 9):
        at = _cell(tick, seconds, width)
        if at >= len(axis):
            axis = axis.ljust(at) + "|" + (span(tick) if tick else "0")
    return axis


def _cell(moment: float, seconds: float, width: int) -> int:
    return min(int(moment / seconds * width), width - 1) if seconds > 0 else 0


def _bar(row: Row, whole: StartTimes, width: int) -> list[Piece]:
    """Signs in exactly `width` columns, as pieces of one colour each."""
    cells: list[Piece] = [(" ", "")] * width
    for phase in row.phases:
        first = _cell(phase.begin - whole.began, whole.seconds, width)
        last = _cell(phase.end - whole.began, whole.seconds, width)
        cells[first : last + 1] = [(_SIGNS[phase.kind], _PHASES[phase.kind])] * (last + 1 - first)
    for crash in row.crashes:
        cells[_cell(crash.time - whole.began, whole.seconds, width)] = (_CRASH, colours.FAILED)
    if row.outcome:
        look = _OUTCOMES[row.outcome]
        cells[_cell(row.end - whole.began, whole.seconds, width)] = (colours.LOOKS[look].sign, look)
    pieces: list[Piece] = []
    for sign, look in cells:
        if pieces and pieces[-1][1] == look:
            pieces[-1] = (pieces[-1][0] + sign, look)
        else:
            pieces.append((sign, look))
    return pieces


def _legend(seen: set[str], width: int) -> list[str]:
    """What the signs that occur mean, in lines of whole entries."""
    meanings = {sign: _MEANING[kind] for kind, sign in _SIGNS.items()}
    meanings |= {colours.LOOKS[look].sign: outcome for outcome, look in _OUTCOMES.items()}
    meanings |= {_CRASH: "failed or crashed", _MARK.strip(): "critical path"}
    lines = [""]
    for entry in (f"{sign} {meaning}" for sign, meaning in meanings.items() if sign in seen | {_MARK.strip()}):
        if lines[-1] and columns(lines[-1]) + 3 + columns(entry) > width:
            lines.append("")
        lines[-1] = shorten(f"{lines[-1]}   {entry}" if lines[-1] else entry, width)
    return lines


def _wrapped(words: str, width: int) -> list[str]:
    return [shorten(part, width) for part in wrap(words, max(width, 1), break_long_words=False)]


# --- SVG ------------------------------------------------------------------------------------------------


def svg(container: Status, services: Iterable[Status], *, width: float = 960.0) -> str:
    """The source of an SVG picture, `width` pixels wide."""
    whole = start.analysed(container, services)
    results = {row.name: _result(row, whole.began) for row in whole.rows}
    names = min(max((text_width(row.name, bold=True) for row in whole.rows), default=0.0), _NAMES_MAX)
    beside = max((text_width(result, _SMALL) for result in results.values()), default=0.0)
    picture = Picture()
    picture.text(_MARGIN, 32, "Start", 15, font_weight="bold")
    y = 50.0
    for note in _notes(whole):
        for part in _filled(note, width - 2 * _MARGIN):
            picture.text(_MARGIN, y, part, fill=FAINT)
            y += 17
    chart = _Chart(picture, whole, _MARGIN + names + 14, width - _MARGIN - beside - 14, y + 26)
    if whole.rows:
        chart.draw_axis()
    for index, row in enumerate(whole.rows):
        chart.draw_row(row, results[row.name], index, width)
    chart.draw_path()
    for index, row in enumerate(whole.rows):
        chart.draw_ends(row, index)
    bottom = chart.top + len(whole.rows) * _ROW + 20
    if whole.rows:
        bottom = _draw_legend(picture, whole, bottom, width)
    return picture.render(f"Start: {start.in_words(whole)}", width, bottom + 4)


class _Chart:
    """The part of the picture that has a time axis: x runs from left to right, rows from top on."""

    def __init__(self, picture: Picture, whole: StartTimes, left: float, right: float, top: float) -> None:
        self.picture = picture
        self.whole = whole
        self.left = left
        self.right = max(right, left + 1)
        self.top = top
        self.critical = {link.name for link in whole.path}
        self.row_of = {row.name: index for index, row in enumerate(whole.rows)}

    def x(self, moment: float) -> float:
        """Where a moment (Unix seconds) is."""
        seconds = self.whole.seconds
        return self.left + ((moment - self.whole.began) / seconds if seconds > 0 else 0.0) * (self.right - self.left)

    def draw_axis(self) -> None:
        """Ticks with their labels, and lines down through the rows."""
        bottom = self.top + len(self.whole.rows) * _ROW
        for tick in ticks(self.whole.seconds, int((self.right - self.left) / _TICK_ROOM)):
            x = self.x(self.whole.began + tick)
            self.picture.line(x, self.top - 4, x, bottom, stroke=HAIR, stroke_width=1)
            label = span(tick) if tick else "0"
            self.picture.text(x, self.top - 10, label, _SMALL, text_anchor="middle", fill=FAINT)

    def draw_row(self, row: Row, result: str, index: int, width: float) -> None:
        """Name, bar, crashes, outcome, and the outcome in words."""
        picture, critical = self.picture, row.name in self.critical
        middle = self.top + (index + 0.5) * _ROW
        picture.open(_told(row, self.whole))
        if critical:
            place = (_MARGIN - 8, middle - _ROW / 2 + 1, width - 2 * _MARGIN + 16, _ROW - 2)
            picture.rectangle(*place, rx=4, fill=_BACKGROUND, fill_opacity="0.7")
        weight: dict[str, object] = {"font_weight": "bold" if critical else "normal"}
        name = fitted(row.name, self.left - _MARGIN - 12, bold=critical)
        picture.text(_MARGIN, middle + 4, name, SIZE, **weight)
        for phase in row.phases:
            x = self.x(phase.begin)
            look = _PHASES[phase.kind]
            fill = colours.LOOKS[look].fill if look else _LIGHT
            high = _BAR if look else _BAR / 2
            picture.rectangle(x, middle - high / 2, max(self.x(phase.end) - x, 1.5), high, fill=fill)
        ink = colours.LOOKS[colours.FAILED].fill if row.outcome == start.FAILED else INK if critical else FAINT
        picture.text(width - _MARGIN, middle + 4, result, _SMALL, text_anchor="end", fill=ink, **weight)
        picture.close()

    def draw_ends(self, row: Row, index: int) -> None:
        """Crashes, and how it ended, on top of all lines."""
        middle = self.top + (index + 0.5) * _ROW
        for crash in row.crashes:
            self.picture.open(f"{row.name}, {span(crash.time - self.whole.began)}: {crash.text}")
            _draw_sign(self.picture, self.x(crash.time), middle, colours.LOOKS[colours.FAILED])
            self.picture.close()
        if row.outcome and row.outcome != start.FAILED:
            _draw_sign(self.picture, self.x(row.end), middle, colours.LOOKS[_OUTCOMES[row.outcome]])

    def draw_path(self) -> None:
        """A line below the bars of the critical path, from the first moment to the last."""
        steps: list[str | float] = []
        for link in self.whole.path:
            y = self.top + (self.row_of[link.name] + 0.5) * _ROW + _BAR / 2 + 3
            steps += ["L" if steps else "M", self.x(link.begin), y, "L", self.x(link.end), y]
        if steps:
            self.picture.open(f"critical path: {start.in_words(self.whole)}")
            self.picture.path(steps, fill="none", stroke=INK, stroke_width=1.8, stroke_linejoin="round")
            self.picture.close()


def _told(row: Row, whole: StartTimes) -> str:
    """What is shown under a pointer that rests on a row."""
    waits = ", ".join(
        f"{need.service} {span(satisfied - whole.began) if satisfied is not None else '?'}"
        for need, satisfied in whole.waits[row.name]
    )
    crashes = "; ".join(f"{span(crash.time - whole.began)}: {crash.text}" for crash in row.crashes)
    parts = [
        f"{row.name}: {_result(row, whole.began)}",
        f"waited {span(row.free - row.wanted)}" + (f" (for {waits})" if waits else ""),
        f"then took {span(row.end - row.free)}",
    ]
    return "; ".join([*parts, crashes] if crashes else parts)


def _draw_sign(picture: Picture, x: float, y: float, look: colours.Look) -> None:
    picture.circle(x, y, 6.5, fill=look.fill, stroke="#ffffff", stroke_width=1)
    picture.text(x, y + 3.6, look.sign, _SMALL, text_anchor="middle", font_weight="bold", fill=look.ink)


def _filled(words: str, width: float) -> list[str]:
    """Lines of at most so many pixels."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer) > width and lines[-1]:
            lines.append(fitted(word, width))
        else:
            lines[-1] = fitted(longer, width)
    return lines


def _draw_legend(picture: Picture, whole: StartTimes, y: float, width: float) -> float:
    """What the bars and signs in it mean; gives where it ends."""
    kinds = {phase.kind for row in whole.rows for phase in row.phases}
    outcomes = {row.outcome for row in whole.rows}
    items = [(kind, _MEANING[kind]) for kind in _PHASES if kind in kinds]
    items += [(outcome, outcome) for outcome in _OUTCOMES if outcome in outcomes and outcome != start.FAILED]
    if any(row.crashes for row in whole.rows):
        items.append((start.FAILED, "failed or crashed"))
    x = _MARGIN
    for kind, meaning in [*items, ("", "critical path")]:
        need = text_width(meaning, _SMALL) + 40
        if x + need > width - _MARGIN and x > _MARGIN:
            x, y = _MARGIN, y + 20
        if not kind:
            picture.line(x, y, x + 16, y, stroke=INK, stroke_width=1.8)
        elif kind in _OUTCOMES:
            _draw_sign(picture, x + 8, y, colours.LOOKS[_OUTCOMES[kind]])
        else:
            look = _PHASES[kind]
            picture.rectangle(x, y - 5, 16, 10, fill=colours.LOOKS[look].fill if look else _LIGHT)
        picture.text(x + 22, y + 4, meaning, _SMALL, fill=FAINT)
        x += need
    return y + 20
