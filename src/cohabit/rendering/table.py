"""The tables of `cohabit ps` and `cohabit top`.

`table` fits any rows into a given width: it drops the least important columns, then shortens the others, so that no
line is wider. Colours are added last and have no width. Pure: rows come from `status`, samples from cli/top.py, which
reads /proc.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from cohabit.errors import EXIT_KILLED
from cohabit.plan import file_words
from cohabit.plan.reason import SIGNAL_REFUSED
from cohabit.rendering.colours import FAILED, WAITING, paint, state_of
from cohabit.rendering.ending import is_unhealthy
from cohabit.rendering.formatting import clock, counted, duration, name_list, short_duration, size, until
from cohabit.rendering.status import shown_container, shown_service
from cohabit.rendering.text import columns, safe, shorten
from cohabit.units import describe_exit, signal_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.api.status import ContainerStatus, ServiceStatus

_GAP = "  "
_LAST_MIN = 12  # the last column is dropped if it would be narrower
_WORTH_MIN = 5  # a narrower column is not readable
_NOTHING = "-"
SIGKILL = 9
_SHARE_HIGH, _SHARE_RISING = 90.0, 75.0  # per cent of the memory limit


class Cell(NamedTuple):
    """A safe text, and the display state (colours.py) that gives its colour; "" for none."""

    text: str
    state: str = ""


class Column(NamedTuple):
    """A column: its title, whether it is aligned right, and its order of dropping (0: never, 1: first).

    least: width to which its cells are shortened before any column is dropped; 0: they are not shortened.
    """

    title: str
    right: bool = False
    drop: int = 0
    least: int = 0


class Sample(NamedTuple):
    """The resource use of a service's process tree.

    cpu_percent: of one CPU, since the previous sample; None in the first one. rss_bytes: resident memory, with shared
    pages counted in each process. fds: open descriptors; None without permission to read them. state: a display state
    of colours.py, or "".
    """

    name: str
    processes: int
    cpu_percent: float | None
    rss_bytes: int
    fds: int | None
    threads: int
    state: str = ""


def table(header: Sequence[Column], rows: Sequence[Sequence[Cell]], *, width: int, colour: bool) -> list[str]:
    """Return the header line and one line for each row, at most `width` columns wide (0: no limit).

    The last column takes the remaining width, and is dropped if that is too narrow.
    """
    titles = [Cell(column.title) for column in header]
    widths = [max(columns(row[index].text) for row in (titles, *rows)) for index in range(len(header))]
    fitting = _fit(header, widths, width)
    return [_line(header, row, fitting, colour=colour) for row in (titles, *rows)]


def ps(container: ContainerStatus, services: Sequence[ServiceStatus], *, width: int, colour: bool) -> list[str]:
    """Return the table of services, and a last line if the container is not in its normal state.

    container, services: from the answer to `status`. width: columns of the terminal; 0: no limit.
    """
    parsed = shown_container(container)
    rows = [shown_service(service) for service in services]
    header = (
        Column("NAME"),
        Column("STATE", least=20),
        Column("PID", right=True, drop=2),
        Column("SINCE", drop=5),
        Column("RESTARTS", right=True, drop=3),
        Column("LAST EXIT", drop=4, least=13),
        Column("COMMAND", drop=1),
    )
    lines = table(header, [_row(service, parsed.now) for service in rows], width=width, colour=colour)
    text, state = _container_line(parsed, rows)
    if text:
        lines += ["", paint(shorten(text, width) if width else text, state, colour=colour)]
    return lines


def top(samples: Sequence[Sample], *, memory_bytes: int | None, width: int, colour: bool) -> list[str]:
    """Return the table of resource use in the order given, with a total if there are several services.

    memory_bytes: 100 % of the column MEM %: the container's limit, or the machine's memory if there is none.
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


def state_text(service: ServiceStatus, now: float) -> str:
    """Format a state with its details: "RUNNING (healthy)", "BACKOFF (restart 3, next in 1.6s)"."""
    details = _details(service, now)
    if service.gone:
        details.append("removed from the file")
    elif service.schedule and service.next_run is not None:
        details.append(f"next {clock(service.next_run, now)}, {until(service.next_run, now)}")
    elif service.schedule:
        details.append(f"schedule {service.schedule}")
    elif service.job:
        details.append("job")
    elif service.dormant:
        details.append(file_words.word("no autostart", supervisord=service.of_supervisord))
    waits = service.state == "STOPPED" and service.schedule and not (service.gone or service.restart_pending)
    word = "SKIPPED" if service.skipped else "SCHEDULED" if waits else service.state or "?"
    return word + (f" ({', '.join(details)})" if details else "")


def last_exit(service: ServiceStatus) -> str:
    """Describe how its last run ended."""
    if service.code is None:
        return _NOTHING
    text = describe_exit(service.code)
    if is_unhealthy(service.last_reason):
        return "unhealthy"
    if not service.ran_out_of_memory:
        return text
    return f"{signal_name(SIGKILL)} (out of memory)" if service.code == EXIT_KILLED else f"{text} (out of memory)"


# --- one row ------------------------------------------------------------------------------------------


def _row(service: ServiceStatus, now: float) -> list[Cell]:
    done = max(service.restarts - (service.state == "BACKOFF"), 0)  # the last one has not happened yet
    restarts = str(done) + (f"/{service.attempts}" if service.attempts is not None else "")
    return [
        Cell(service.name),
        Cell(state_text(service, now), state_of(service)),
        Cell(str(service.pid) if service.pid and not service.at_rest else _NOTHING),
        Cell(_since(service, now)),
        Cell(restarts),
        Cell(last_exit(service)),
        Cell(shlex.join(service.command)),
    ]


def _since(service: ServiceStatus, now: float) -> str:
    if service.state == "RUNNING" and service.started is not None:
        return f"up {short_duration(now - service.started)}"
    if service.since is None:
        return _NOTHING
    passed = now - service.since
    return f"{short_duration(passed)} ago" if passed >= 1 else "now"


def _details(service: ServiceStatus, now: float) -> list[str]:
    if service.hook_stage:
        return [f"{service.hook_stage} hook {service.hook_index + 1}"]
    if service.state == "RUNNING":
        return _running_details(service, now)
    if service.command_runs:
        return [] if service.next is None else [f"RUNNING {until(service.next, now)}"]
    if service.state == "BACKOFF":
        due = "" if service.next is None else f"next {until(service.next, now)}"
        attempt = "restart" if service.start_retries is None else "start retry"
        return [f"{attempt} {service.restarts}" if service.restarts else "restart", *([due] if due else [])]
    if service.state == "STOPPING" and service.reason is not None and service.reason.kind == SIGNAL_REFUSED:
        return ["cannot be signalled"]
    if service.state == "STOPPING":
        last = [] if service.next is None else [f"SIGKILL {until(service.next, now)}"]
        return last + _blocked_details(service, now)
    if service.skipped and service.reason is not None:
        return [service.reason.detail]
    if service.state == "STOPPED" and service.restart_pending:
        return ["to be restarted"]
    if service.state == "STOPPED" and service.up and service.conditions:
        return [f"waits for {name_list([need.service for need in service.conditions], 3)}"]
    if service.state == "FATAL":
        given_up = service.attempts is not None and service.restarts >= service.attempts > 0
        return [f"gave up after {counted(service.restarts, 'restart')}" if given_up else "cannot start"]
    return []


def _running_details(service: ServiceStatus, now: float) -> list[str]:
    if service.restart_pending:
        return ["to be restarted"]
    if not service.up:
        return ["to be stopped"]
    if service.paused:
        return ["paused"]
    found = [service.health] if service.health else [] if service.ready else ["not ready"]
    return found + _blocked_details(service, now)


def _blocked_details(service: ServiceStatus, now: float) -> list[str]:
    since = [output.since for output in service.blocked_output if output.since is not None]
    if not service.blocked_output:
        return []
    return ["output blocked" + (f" {short_duration(now - min(since))}" if since else "")]


def _container_line(container: ContainerStatus, services: Sequence[ServiceStatus]) -> tuple[str, str]:
    """The line below the table and its display state; ("", "") if the container is up and ready."""
    if container.phase == "loading":
        elapsed = "" if container.started is None else f" for {duration(container.now - container.started)}"
        return f"starting: the file is being read{elapsed}", WAITING
    if container.phase == "stopping":
        left = [service.name for service in services if not service.at_rest]
        text = f": {container.exit_reason}" if container.exit_reason else ""
        return f"stopping{text} (still running: {name_list(left) or 'none'})", FAILED if container.code else WAITING
    if container.phase == "sweeping":
        text = f": {container.exit_reason}" if container.exit_reason else ""
        return f"stopping{text} (terminating unassigned processes)", FAILED if container.code else WAITING
    if not container.ready and container.phase == "up":
        return "the container is not ready (`cohabit why` shows the reason)", WAITING
    return ("reload: the file is being read", WAITING) if container.reading else ("", "")


# --- top ----------------------------------------------------------------------------------------------


def _usage(sample: Sample, memory_bytes: int | None) -> list[Cell]:
    if not sample.processes:
        return [Cell(safe(sample.name), sample.state), *[Cell(_NOTHING)] * 6]
    share = 100.0 * sample.rss_bytes / memory_bytes if memory_bytes else None
    state = "" if share is None or share < _SHARE_RISING else FAILED if share >= _SHARE_HIGH else WAITING
    return [
        Cell(safe(sample.name), sample.state),
        Cell(_NOTHING if sample.cpu_percent is None else f"{sample.cpu_percent:.1f}"),
        Cell(size(sample.rss_bytes)),
        Cell(_NOTHING if share is None else f"{share:.1f}", state),
        Cell(_NOTHING if sample.fds is None else str(sample.fds)),
        Cell(str(sample.processes)),
        Cell(str(sample.threads)),
    ]


def _sum(samples: Sequence[Sample]) -> Sample:
    """The total of those that run; a sum with an unknown part is unknown."""
    samples = [sample for sample in samples if sample.processes]
    cpu = [sample.cpu_percent for sample in samples if sample.cpu_percent is not None]
    fds = [sample.fds for sample in samples if sample.fds is not None]
    return Sample(
        "total",
        sum(sample.processes for sample in samples),
        sum(cpu) if len(cpu) == len(samples) else None,
        sum(sample.rss_bytes for sample in samples),
        sum(fds) if len(fds) == len(samples) else None,
        sum(sample.threads for sample in samples),
    )


# --- layout -------------------------------------------------------------------------------------------


def _fit(header: Sequence[Column], widths: Sequence[int], width: int) -> list[tuple[int, int]]:
    """The columns to show, from left to right, as (index, width)."""
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
    for index in kept:  # the remaining width goes to shortened columns, from left to right
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


def _cut(text: str, available: int) -> str:
    """Shorten a text; one that ends with a parenthesis is shortened inside it."""
    head = columns(text.partition("(")[0])
    if text.endswith(")") and columns(text) > available >= head + _WORTH_MIN:
        return shorten(text[:-1], available - 1) + ")"
    return shorten(text, available)


def _line(header: Sequence[Column], row: Sequence[Cell], fitting: Sequence[tuple[int, int]], *, colour: bool) -> str:
    parts = []
    for index, available in fitting:
        text = _cut(row[index].text, available)
        padding = " " * (available - columns(text))
        shown = paint(text, row[index].state, colour=colour) if row[index].state else text
        parts.append(padding + shown if header[index].right else shown + padding)
    return _GAP.join(parts).rstrip()
