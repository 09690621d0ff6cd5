"""Render the dependency graph as text, Mermaid, SVG or JSON.

An arrow leads from a service to its dependency. Its label is the condition ("healthy", "completed"), or says that it
is not met ("not healthy"). Every service appears once, with its state. The input are the service objects of `status`
(docs/reference/control.md); a dependency that is not among them is shown as unknown. Pure. layout.py places the boxes,
colours.py gives their style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cohabit.rendering import colours
from cohabit.rendering.formatting import counted
from cohabit.rendering.layout import Bundle, arrange
from cohabit.rendering.lines import line, padded
from cohabit.rendering.status import shown_service
from cohabit.rendering.svg import FAINT, HAIR, INK, Picture, fitted, text_width
from cohabit.rendering.text import columns
from cohabit.units import describe_exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cohabit.api.status import DependencyStatus, ServiceStatus
    from cohabit.rendering.layout import Layout, Wire

_UNKNOWN = colours.Style("2", "#ffffff", "#616e7c", "?", "unknown service")
_CONDITIONS = {
    "service_started": ("", "not started"),
    "service_healthy": ("healthy", "not healthy"),
    "service_completed_successfully": ("completed", "not completed"),
}
_MARGIN = 24.0
_SMALL = 10.5
_PORT_GAP = 18.0
_BADGE = 28.0  # the coloured part of a box, with the sign
_NAME_WIDTHS = (96.0, 200.0)  # of a box without its badge
_OPEN = colours.STYLES[colours.FAILED].fill  # of an arrow whose condition is not met
_DASHED = "dashed: condition not met"


def json(services: Iterable[ServiceStatus]) -> dict[str, list[dict[str, Any]]]:
    """Return the graph as plain values: {"nodes": [{"name", "state", "look"}], "edges": [{"from", "to", ...}]}.

    state: supervisord's, "" for an unknown service; look: a key of colours.STYLES, or "unknown".
    An edge has "from", "to" (the dependency), "condition", "required" and "satisfied".
    """
    known = _read(services)
    nodes = [
        {"name": name, "state": s.state if s else "", "look": colours.state_of(s) if s else "unknown"}
        for name, s in known.items()
    ]
    edges = [
        {
            "from": name,
            "to": need.service,
            "condition": need.condition,
            "required": need.required,
            "satisfied": need.satisfied,
        }
        for name, need in _edges(known)
    ]
    return {"nodes": nodes, "edges": edges}


def text(services: Iterable[ServiceStatus], *, width: int, colour: bool) -> list[str]:
    """Return a tree for the terminal, each line at most `width` columns: dependencies stand below their dependents.

    A service with several dependents is expanded at its first occurrence; the others say "see above".
    """
    known = _read(services)
    rows = list(_tree(known, width // 3))
    names = min(max((columns(prefix + name) for prefix, name, _, _ in rows), default=0), max(width // 2, 1))
    states = max((columns(_state_text(known[name])) for _, name, _, first in rows if first), default=0)
    lines = []
    for prefix, name, need, first in rows:
        service = known[name]
        look = colours.state_of(service) if service else ""
        text = padded(_state_text(service) if first else "see above", states)
        wants = f"  {_label(need)}" if need else ""
        pieces = [
            (padded(prefix + name, names), ""),
            (f"  {_style(service).sign if first else ' '} ", look),
            (text, look if first else ""),
            (wants, colours.FAILED if need and not need.satisfied else ""),
        ]
        lines.append(line(pieces, width=width, colour=colour))
    return lines


def mermaid(services: Iterable[ServiceStatus]) -> str:
    """Return the source of a Mermaid flowchart; GitHub and GitLab render it in a ticket (```mermaid)."""
    known = _read(services)
    number = {name: f"n{index}" for index, name in enumerate(known)}
    looks = {(colours.state_of(service) if service else "unknown"): _style(service) for service in known.values()}
    lines = ["flowchart LR"]
    for name, service in known.items():
        look = colours.state_of(service) if service else "unknown"
        lines.append(f'  {number[name]}["{_quoted(name)}<br/>{_quoted(_state_text(service))}"]:::{look}')
    unsatisfied = []
    for index, (name, need) in enumerate(_edges(known)):
        label = _label(need)
        arrow = ("-->" if need.satisfied else "-.->") + (f'|"{_quoted(label)}"|' if label else "")
        lines.append(f"  {number[name]} {arrow} {number[need.service]}")
        if not need.satisfied:
            unsatisfied.append(str(index))
    if unsatisfied:
        lines.append(f"  linkStyle {','.join(unsatisfied)} stroke:{_OPEN},color:{_OPEN}")
    lines += [
        f"  classDef {name} fill:{look.fill},stroke:{INK},color:{look.ink}" for name, look in sorted(looks.items())
    ]
    return "\n".join([*lines, ""])


def svg(services: Iterable[ServiceStatus]) -> str:
    """Return an SVG picture: services that start first are rightmost, arrows lead to dependencies."""
    known = _read(services)
    bundles: dict[Bundle, list[str]] = {}
    for name, need in _edges(known):
        sources = bundles.setdefault(Bundle(need.service, _label(need), need.satisfied), [])
        if name not in sources:
            sources.append(name)
    ports = dict.fromkeys(known, 0)
    for bundle in bundles:
        ports[bundle.target] += 1
    heights = {name: max(44.0, _PORT_GAP * (count + 1)) for name, count in ports.items()}
    least, most = _NAME_WIDTHS
    texts = [max(text_width(name, bold=True), text_width(_state_text(s), _SMALL)) + 16 for name, s in known.items()]
    width = _BADGE + min(max([least, *texts]), most)
    labels = {bundle: text_width(bundle.label, _SMALL) + 16 for bundle in bundles}
    layout = arrange(heights, bundles, width, labels)
    heading, counts = "Dependencies", _counts(known)
    looks = list(dict.fromkeys(_style(service) for service in known.values()))
    across = max(layout.width, text_width(counts), 260.0)
    rows = _legend_rows(looks, across, dashed=any(not bundle.satisfied for bundle in bundles), lines=bool(bundles))
    picture = Picture()
    picture.text(_MARGIN, 32, heading, 15, font_weight="bold")
    picture.text(_MARGIN, 50, counts, fill=FAINT)
    top = 70.0
    picture.open(transform=f"translate({_MARGIN:g} {top:g})")
    for wire in layout.wires:
        _draw_wire(picture, wire)
    for name, service in known.items():
        _draw_box(picture, name, service, layout)
    for wire in layout.wires:
        _draw_label(picture, wire)
    picture.close()
    bottom = top + layout.height + 22
    for index, row in enumerate(rows):
        _draw_legend(picture, row, bottom + index * 20)
    return picture.render(f"{heading}: {counts}", across + 2 * _MARGIN, bottom + len(rows) * 20 + 12)


# --- data -----------------------------------------------------------------------------------------------


def _read(services: Iterable[ServiceStatus]) -> dict[str, ServiceStatus | None]:
    """Services by name; None for a dependency that is not among them."""
    known: dict[str, ServiceStatus | None] = {service.name: service for service in map(shown_service, services)}
    for service in list(known.values()):
        for need in service.depends_on if service else ():
            known.setdefault(need.service, None)
    return known


def _edges(known: Mapping[str, ServiceStatus | None]) -> Iterator[tuple[str, DependencyStatus]]:
    for name, service in known.items():
        for need in service.depends_on if service else ():
            yield name, need


def _style(service: ServiceStatus | None) -> colours.Style:
    return colours.STYLES[colours.state_of(service)] if service else _UNKNOWN


def _state_text(service: ServiceStatus | None) -> str:
    """The supervisord state with a detail."""
    if service is None:
        return "unknown"
    state = service.state or "unknown"
    if state == "RUNNING" and service.job and service.probe is None:
        return state
    if state == "RUNNING":
        readiness = "ready" if service.ready else "not ready"
        return f"{state}, {'unhealthy' if colours.state_of(service) == colours.FAILED else readiness}"
    if state == "STOPPED" and colours.state_of(service) == colours.WAITING:
        return f"{state}, waiting"
    if state == "BACKOFF":
        return f"{state}, restart {service.restarts}"
    if service.skipped:
        return "SKIPPED"
    if state == "EXITED":
        return f"{state}, {describe_exit(service.code) if service.code else 'done'}"
    return state


def _label(need: DependencyStatus) -> str:
    satisfied, open_ = _CONDITIONS.get(need.condition, (need.condition, f"not {need.condition}"))
    text = satisfied if need.satisfied else open_
    return text if need.required else f"{text}, optional" if text else "optional"


def _counts(known: Mapping[str, ServiceStatus | None]) -> str:
    looks = [colours.state_of(service) if service else "unknown" for service in known.values()]
    order = [*colours.STYLES, "unknown"]
    parts = [f"{looks.count(look)} {look}" for look in order if look in looks]
    return f"{counted(len(known), 'service')}{': ' if parts else ''}{', '.join(parts)}"


def _quoted(text: str) -> str:
    """Escape a label of Mermaid in double quotes: characters with a meaning there become entity codes."""
    return "".join(one if one.isalnum() or one in " ._,:/+=-" else f"#{ord(one)};" for one in text)


# --- text -----------------------------------------------------------------------------------------------


def _tree(
    known: Mapping[str, ServiceStatus | None], available: int
) -> Iterator[tuple[str, str, DependencyStatus | None, bool]]:
    """Lines of the tree: prefix, name, the dependency that led to it, whether this is its first occurrence."""
    needed = {need.service for _, need in _edges(known)}
    tops = [name for name in known if name not in needed]
    seen: set[str] = set()
    for top in [*tops, *known]:  # services that are only in a cycle are below no top
        if top in seen:
            continue
        waiting: list[tuple[str, str, str, DependencyStatus | None]] = [("", "", top, None)]
        while waiting:
            prefix, below, name, need = waiting.pop()
            yield prefix, name, need, name not in seen
            service = known[name]
            if name in seen or service is None:
                seen.add(name)
                continue
            seen.add(name)
            if len(below) > available:
                below = "... "
            needs = service.depends_on
            for index, other in reversed(list(enumerate(needs))):
                last = index + 1 == len(needs)
                branch, on = ("`-- ", "    ") if last else ("|-- ", "|   ")
                waiting.append((below + branch, below + on, other.service, other))


# --- SVG ------------------------------------------------------------------------------------------------


def _draw_wire(picture: Picture, wire: Wire) -> None:
    colour = FAINT if wire.bundle.satisfied else _OPEN
    x, y = wire.tip
    condition = wire.bundle.label or "started"
    picture.open(f"{', '.join(wire.sources)} -> {wire.bundle.target}: {condition}")
    dashes = {} if wire.bundle.satisfied else {"stroke_dasharray": "5 4"}
    picture.path(wire.steps, fill="none", stroke=colour, stroke_width=1.4, **dashes)
    picture.path(["M", x, y, "L", x - 9, y - 4, "L", x - 9, y + 4, "Z"], fill=colour)
    picture.close()


def _draw_label(picture: Picture, wire: Wire) -> None:
    if wire.bundle.label:
        colour = FAINT if wire.bundle.satisfied else _OPEN
        x, y = wire.tip
        place: dict[str, object] = {"text_anchor": "end"}
        halo = {"fill": "#ffffff", "stroke": "#ffffff", "stroke_width": 3}
        for look in (halo, {"fill": colour}):
            picture.text(x - 14, y - 4, wire.bundle.label, _SMALL, **place, **look)


def _draw_box(picture: Picture, name: str, service: ServiceStatus | None, layout: Layout) -> None:
    look, box = _style(service), layout.boxes[name]
    text = _state_text(service)
    available = box.width - _BADGE - 14
    middle = box.y + box.height / 2
    picture.open(f"{name}: {text}" + (f"; {service.why}" if service and service.why else ""))
    edge = {"stroke": look.fill} if service else {"stroke": FAINT, "stroke_dasharray": "3 3"}
    picture.rectangle(box.x, box.y, box.width, box.height, rx=6, fill="#ffffff", stroke_width=1.6, **edge)
    x, y, end = box.x, box.y, box.y + box.height
    badge: list[str | float] = ["M", x + _BADGE, y, "H", x + 6, "Q", x, y, x, y + 6]
    badge += ["V", end - 6, "Q", x, end, x + 6, end, "H", x + _BADGE, "Z"]
    if service:
        picture.path(badge, fill=look.fill)
    picture.text(x + _BADGE / 2, middle + 5, look.sign, 15, text_anchor="middle", font_weight="bold", fill=look.ink)
    picture.text(x + _BADGE + 8, middle - 3, fitted(name, available, bold=True), font_weight="bold")
    picture.text(x + _BADGE + 8, middle + 12, fitted(text, available, _SMALL), _SMALL, fill=FAINT)
    picture.close()


def _legend_rows(
    looks: list[colours.Style], width: float, *, dashed: bool, lines: bool
) -> list[list[colours.Style | str]]:
    """The entries of the legend, in rows that fit the width."""
    items: list[colours.Style | str] = [*looks]
    items += ["A -> B: A depends on B"] if lines else []
    items += [_DASHED] if dashed else []
    rows: list[list[colours.Style | str]] = []
    available = 0.0
    for item in items:
        need = _legend_width(item)
        if need > available:
            rows.append([])
            available = width
        rows[-1].append(item)
        available -= need
    return rows


def _legend_width(item: colours.Style | str) -> float:
    return text_width(item, _SMALL) + 18 if isinstance(item, str) else text_width(item.meaning, _SMALL) + 38


def _draw_legend(picture: Picture, items: list[colours.Style | str], y: float) -> None:
    x = _MARGIN
    for item in items:
        if isinstance(item, str):
            colour = _OPEN if item == _DASHED else FAINT
            picture.text(x, y + 4, item, _SMALL, fill=colour)
        else:
            picture.rectangle(x, y - 6, 14, 13, rx=3, fill=item.fill, stroke=HAIR)
            look = {"text_anchor": "middle", "font_weight": "bold", "fill": item.ink}
            picture.text(x + 7, y + 4, item.sign, _SMALL, **look)
            picture.text(x + 20, y + 4, item.meaning, _SMALL, fill=FAINT)
        x += _legend_width(item)
