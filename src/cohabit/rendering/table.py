"""Tables: `cohabit ps` (docker compose ps and supervisorctl status in one) and `cohabit top`.

`table` lays out any rows in a given width: it drops the columns that matter least, then shortens what is
left, so that no line is ever wider. Colour comes last and never counts. Pure: the rows come from `status`,
the samples from whoever read /proc (cli/top.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cohabit.errors import EXIT_KILLED
from cohabit.rendering.colours import FAILED, WAITING, paint
from cohabit.rendering.ending import last_reason
from cohabit.rendering.status import read_container, read_service
from cohabit.rendering.text import columns, safe, shorten
from cohabit.rendering.words import listed, ordinary, short_span, size, span, until
from cohabit.units import describe_exit, signal_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cohabit.rendering.status import Container, Service

_GAP = "  "
_LAST_MIN = 12  # columns below which the last column is not worth having
_WORTH_MIN = 5  # columns below which nothing can be read
_NOTHING = "-"
SIGKILL = 9
_SHARE_HIGH, _SHARE_RISING = 90.0, 75.0  # per cent of the memory limit


class Cell(NamedTuple):
    """A safe text, and the state (colours.py) in whose colour it is shown; "" for none."""

    text: str
    state: str = ""


class Column(NamedTuple):
    """A column's title; whether its cells are numbers; and how soon it is dropped (0: never, 1: first).

    least: columns down to which its cells are shortened before anything is dropped; 0: they are not.
    """

    title: str
    right: bool = False
    drop: int = 0
    least: int = 0


class Sample(NamedTuple):
    """What a service's whole tree of processes uses.

    cpu_percent: of one CPU, since the sample before; None in the first one. rss_bytes: resident memory, shared pages
    counted in each process. fds: open descriptors; None where we may not look. state: as colours.py has it, or "".
    """

    name: str
    processes: int
    cpu_percent: float | None
    rss_bytes: int
    fds: int | None
    threads: int
    state: str = ""


def table(header: Sequence[Column], rows: Sequence[Sequence[Cell]], *, width: int, colour: bool) -> list[str]:
    """The header's line and one for each row, none wider than `width` columns (0: as wide as they are).

    The last column takes what room is left and is dropped when that is next to nothing.
    """
    titles = [Cell(column.title) for column in header]
    widths = [max(columns(row[index].text) for row in (titles, *rows)) for index in range(len(header))]
    fitting = _fit(header, widths, width)
    return [_line(header, row, fitting, colour=colour) for row in (titles, *rows)]


def ps(container: Mapping[str, Any], services: Sequence[Mapping[str, Any]], *, width: int, colour: bool) -> list[str]:
    """The table of services, and a closing line when something is up with the container.

    container, services: as `status` tells them. width: columns of the terminal, 0 for no limit.
    """
    whole = read_container(container)
    read = [read_service(service) for service in services]
    header = (
        Column("NAME"),
        Column("STATE", least=20),
        Column("PID", right=True, drop=2),
        Column("SINCE", drop=5),
        Column("RESTARTS", right=True, drop=3),
        Column("LAST EXIT", drop=4, least=13),
        Column("COMMAND", drop=1),
    )
    lines = table(header, [_row(service, whole.now) for service in read], width=width, colour=colour)
    word, look = _closing(whole, read)
    if word:
        lines += ["", paint(shorten(word, width) if width else word, look, colour=colour)]
    return lines


def top(samples: Sequence[Sample], *, memory_bytes: int | None, width: int, colour: bool) -> list[str]:
    """The table of what each service uses, in the order given, and the sum of all when there are several.

    memory_bytes: what MEM % is of: the container's limit, or the machine's memory where it has none.
    """
    header = (
        Column("NAME"),
        Column("CPU %", right=True),
        Column("MEMORY", right=True),
        Column("MEM %", right=True, drop=3),
        Column("FDS", right=True, drop=2),
        Column("PROCESSES", right=True, drop=4),
        Column("THREADS", right=True, drop=1),
    )
    rows = [_usage(sample, memory_bytes) for sample in samples]
    if len(samples) > 1:
        rows.append(_usage(_sum(samples), memory_bytes))
    return table(header, rows, width=width, colour=colour)


def state_words(service: Service, now: float) -> str:
    """A state and what it is about: "RUNNING (healthy)", "BACKOFF (restart 3, next in 1.6s)"."""
    about = _about(service, now)
    if service.gone:
        about.append("gone from the file")
    elif service.schedule:
        about.append(f"schedule {service.schedule}")
    elif service.job:
        about.append("job")
    return (service.state or "?") + (f" ({', '.join(about)})" if about else "")


def last_exit(service: Service) -> str:
    """How its last run ended, in words."""
    if service.code is None:
        return _NOTHING
    words = describe_exit(service.code)
    if (service.why or last_reason(service)).startswith("unhealthy"):
        return "unhealthy"
    if not service.out_of_memory:
        return words
    return f"{signal_name(SIGKILL)} (out of memory)" if service.code == EXIT_KILLED else f"{words} (out of memory)"


# --- one row ------------------------------------------------------------------------------------------


def _row(service: Service, now: float) -> list[Cell]:
    done = max(service.restarts - (service.state == "BACKOFF"), 0)  # one is still to come then
    restarts = str(done) + (f"/{service.attempts}" if service.attempts is not None else "")
    return [
        Cell(service.name),
        Cell(state_words(service, now), service.look),
        Cell(str(service.pid) if service.pid and not service.at_rest else _NOTHING),
        Cell(_since(service, now)),
        Cell(restarts),
        Cell(last_exit(service)),
        Cell(" ".join(service.command)),
    ]


def _since(service: Service, now: float) -> str:
    if service.state == "RUNNING" and service.started is not None:
        return f"up {short_span(now - service.started)}"
    if service.since is None:
        return _NOTHING
    passed = now - service.since
    return f"{short_span(passed)} ago" if passed >= 1 else "now"


def _about(service: Service, now: float) -> list[str]:
    if service.hook_stage:
        return [f"{service.hook_stage} hook {service.hook_index + 1}"]
    if service.state == "RUNNING":
        return _about_running(service)
    if service.state == "BACKOFF":
        due = "" if service.next is None else f"next {until(service.next, now)}"
        return [f"restart {service.restarts}", *([due] if due else [])]
    if service.state == "STOPPING":
        return [] if service.next is None else [f"SIGKILL {until(service.next, now)}"]
    if service.state == "STOPPED" and service.restart_pending:
        return ["restarts"]
    if service.state == "STOPPED" and service.up and service.conditions:
        return [f"waits for {listed([need.service for need in service.conditions], 3)}"]
    if service.state == "FATAL":
        given_up = service.attempts is not None and service.restarts >= service.attempts > 0
        return [f"gave up after {ordinary(service.restarts, 'restart')}" if given_up else "cannot start"]
    return []


def _about_running(service: Service) -> list[str]:
    if service.restart_pending:
        return ["to be restarted"]
    if not service.up:
        return ["to be stopped"]
    if service.health:
        return [service.health]
    return [] if service.ready else ["not ready"]


def _closing(whole: Container, services: Sequence[Service]) -> tuple[str, str]:
    """What is up with the container, and the state whose colour fits; ("", "") when nothing is."""
    if whole.phase == "loading":
        began = "" if whole.started is None else f", for {span(whole.now - whole.started)}"
        return f"starting: the file is being read{began}", WAITING
    if whole.phase == "stopping":
        left = [service.name for service in services if not service.at_rest]
        word = f": {whole.exit_reason}" if whole.exit_reason else ""
        return f"stopping{word} (still there: {listed(left) or 'nobody'})", FAILED if whole.code else WAITING
    if whole.phase == "sweeping":
        word = f": {whole.exit_reason}" if whole.exit_reason else ""
        return f"stopping{word} (ending processes that no service owns)", FAILED if whole.code else WAITING
    if not whole.ready and whole.phase == "up":
        return "not everything is ready (`cohabit why` tells the reason)", WAITING
    return ("reload: the file is being read", WAITING) if whole.reading else ("", "")


# --- top ----------------------------------------------------------------------------------------------


def _usage(sample: Sample, memory_bytes: int | None) -> list[Cell]:
    share = 100.0 * sample.rss_bytes / memory_bytes if memory_bytes else None
    look = "" if share is None or share < _SHARE_RISING else FAILED if share >= _SHARE_HIGH else WAITING
    return [
        Cell(safe(sample.name), sample.state),
        Cell(_NOTHING if sample.cpu_percent is None else f"{sample.cpu_percent:.1f}"),
        Cell(size(sample.rss_bytes)),
        Cell(_NOTHING if share is None else f"{share:.1f}", look),
        Cell(_NOTHING if sample.fds is None else str(sample.fds)),
        Cell(str(sample.processes)),
        Cell(str(sample.threads)),
    ]


def _sum(samples: Sequence[Sample]) -> Sample:
    """All together; a sum of which a part is not known is not known."""
    cpu = [sample.cpu_percent for sample in samples if sample.cpu_percent is not None]
    fds = [sample.fds for sample in samples if sample.fds is not None]
    return Sample(
        "all together",
        sum(sample.processes for sample in samples),
        sum(cpu) if len(cpu) == len(samples) else None,
        sum(sample.rss_bytes for sample in samples),
        sum(fds) if len(fds) == len(samples) else None,
        sum(sample.threads for sample in samples),
    )


# --- layout -------------------------------------------------------------------------------------------


def _fit(header: Sequence[Column], widths: Sequence[int], width: int) -> list[tuple[int, int]]:
    """Which columns are shown, and how wide each is then: in order of their places, (index, columns)."""
    kept = list(range(len(header)))
    if not width:
        return [(index, widths[index]) for index in kept]
    last = len(header) - 1
    least = [min(width, column.least or width) for width, column in zip(widths, header, strict=True)]
    needed = [*least[:last], min(least[last], _LAST_MIN)]
    while sum(needed[index] for index in kept) + len(_GAP) * (len(kept) - 1) > width:
        droppable = [index for index in kept if header[index].drop]
        if not droppable:
            break
        kept.remove(min(droppable, key=lambda index: header[index].drop))
    spare = width - sum(needed[index] for index in kept) - len(_GAP) * (len(kept) - 1)
    for index in kept:  # what is left lets those breathe that were shortened; the first of them first
        more = max(min(widths[index] - needed[index], spare), 0)
        needed[index] += more
        spare -= more
    fitting: list[tuple[int, int]] = []
    left = width
    for index in kept:
        if left >= _WORTH_MIN or not fitting:
            fitting.append((index, min(needed[index], left)))
            left -= fitting[-1][1] + len(_GAP)
    return fitting


def _cut(text: str, room: int) -> str:
    """Shortened inside its parenthesis, where it ends with one."""
    head = columns(text.partition("(")[0])
    if text.endswith(")") and columns(text) > room >= head + _WORTH_MIN:
        return shorten(text[:-1], room - 1) + ")"
    return shorten(text, room)


def _line(header: Sequence[Column], row: Sequence[Cell], fitting: Sequence[tuple[int, int]], *, colour: bool) -> str:
    parts = []
    for index, room in fitting:
        text = _cut(row[index].text, room)
        padding = " " * (room - columns(text))
        shown = paint(text, row[index].state, colour=colour) if row[index].state else text
        parts.append(padding + shown if header[index].right else shown + padding)
    return _GAP.join(parts).rstrip()
