"""The measures, their targets, and the Markdown tables.

A figure is measure -> tool -> samples; its value is their median. This module knows nothing of processes.
"""

import statistics
from collections import defaultdict
from dataclasses import dataclass, field

US = "cohabit"


@dataclass(frozen=True)
class Measure:
    """One table: title, unit of its numbers, decimals."""

    title: str
    unit: str
    decimals: int = 1


@dataclass(frozen=True)
class Target:
    """The target for cohabit's median.

    Without `versus` the limit is absolute, in the measure's unit. With it, the limit is the ratio of cohabit to the
    best of these peers, in the same measure or in that named by `of`. `at_least`: more is better.
    """

    measure: str
    limit: float
    versus: tuple[str, ...] = ()
    of: str = ""
    at_least: bool = False


MEASURES = {
    "start": Measure("Start of 50 services: exec of the tool to the 50th exec", "ms"),
    "start500": Measure("Start of 500 services", "ms"),
    "rss": Measure("Resident memory of the tool's own processes, 50 services, after 3 s (RSS)", "MiB"),
    "pss": Measure("The same, with shared pages counted in part (PSS)", "MiB"),
    "idle": Measure("Context switches of the tool's own processes in 20 s without activity", "switches", 0),
    "restart": Measure("SIGKILL of a service to the exec of its next run", "ms"),
    "stop": Measure("Stop signal to the end of the tool and all of its 50 services", "ms"),
    "raw": Measure("Output copied unchanged: one service, 1 GiB in writes of 64 KiB", "MB/s", 0),
    "raw-bad": Measure("The same with every line checked: lost, torn or reordered lines", "lines", 0),
    "prefix": Measure("Output with a prefix per line: 100-byte lines in large writes", "MB/s", 0),
    "prefix-bad": Measure("The same with two services, every line checked: lost, torn or reordered lines", "lines", 0),
    "json": Measure("Output as JSON objects: 100-byte lines in large writes", "MB/s", 0),
    "json-access": Measure("The same with access log lines of a web server, with many quotes", "MB/s", 0),
    "json-levels": Measure("The same with lines that begin with a time and a level", "MB/s", 0),
    "json-objects": Measure("The same with lines that are JSON objects, to which keys are added", "MB/s", 0),
    "json-bad": Measure("JSON of two services, every line checked: lost, torn or reordered lines", "lines", 0),
    "json-objects-bad": Measure("JSON of JSON objects, every line checked: lost, torn or reordered lines", "lines", 0),
    "logfmt": Measure("Output as logfmt: 100-byte lines in large writes", "MB/s", 0),
    "file": Measure("Output into 10 rotated files of 50 MiB: 1 GiB in writes of 64 KiB", "MB/s", 0),
    "file-bad": Measure(
        "The same with 20 files of 5 MiB, every line checked: lost, torn or reordered lines", "lines", 0
    ),
    "lines50": Measure("50 services that each write 1,000 lines per second: CPU time", "% of a core"),
    "latency": Measure("One service with little output: from its write to the tool's stdout", "ms", 3),
    "stalled-restart": Measure("The tool's stdout is full: crash of another service to its next exec", "ms"),
    "stalled-stop": Measure("The tool's stdout is full: SIGTERM to the end of the tool", "ms"),
    "orphans": Measure("20,000 orphans killed at once: until all are reaped", "ms", 0),
    "init": Measure("Run `true`: exec to exit", "ms", 2),
    "probes": Measure("500 services, each probed over TCP once a second: CPU time of process 1", "% of a core"),
    "link": Measure("One service that waits for READY=1 of another: exec to exec", "ms", 2),
    "chain": Measure("A chain of a hundred such links", "ms"),
    "start-few": Measure("Start of 100 services, per service", "ms", 2),
    "start-many": Measure("Start of 1,000 services, per service", "ms", 2),
    "health": Measure("`cohabit health`, the installed command: exec to exit", "ms", 2),
    "ps-few": Measure("Status of 5 services, `cohabit ps` or `supervisorctl status`: exec to exit", "ms"),
    "ps": Measure("The same with 500 services", "ms"),
    "ps-raw": Measure("Status request for 50 services, 1,000 in a row: round trip of each", "ms", 2),
    "ps1000": Measure("Growth of process 1 during these, after 200 others (RSS)", "KiB", 0),
    "followers": Measure("A service that writes in bursts, 50 `logs -f`, half without a reader", "lines/s", 0),
    "followers-flood": Measure("The same without pauses", "MB/s", 1),
    "conf-start": Measure("A supervisord.conf with 50 programs: exec of the tool to the 50th exec", "ms"),
    "conf-pss": Measure("The same: memory of the tool's own processes, the gateway included (PSS)", "MiB"),
    "conf-idle": Measure("The same: context switches of these processes in 20 s without activity", "switches", 0),
    "conf-restart": Measure("The same: SIGKILL of a program to the exec of its next run", "ms"),
    "conf-stop": Measure("The same: SIGTERM to the end of the tool", "ms"),
    "conf-rpc": Measure("The same: XML-RPC getAllProcessInfo, on one connection", "ms", 2),
    "conf-ctl": Measure("The same: `supervisorctl status`, exec to exit", "ms"),
    "followers-memory": Measure("Largest growth of process 1 during that flood", "MiB"),
}
TARGETS = (
    Target("start", 1 / 8, ("supervisord",)),
    Target("start", 1, ("circus", "honcho", "pm2")),
    Target("start500", 11, (US,), of="start"),
    Target("pss", 1 / 2, ("supervisord",)),
    Target("idle", 0),
    Target("restart", 10),
    Target("stop", 100),
    Target("raw", 1.5, ("supervisord",), at_least=True),
    Target("raw", 0.5, ("cat",), at_least=True),
    Target("raw-bad", 0),
    Target("prefix", 300, at_least=True),
    Target("prefix", 1, ("honcho", "s6-log"), at_least=True),
    Target("prefix-bad", 0),
    Target("json", 60, at_least=True),
    Target("json", 1, ("circus", "honcho"), at_least=True),
    Target("json-bad", 0),
    Target("json-objects-bad", 0),
    Target("file", 1, ("supervisord",), at_least=True),
    Target("file-bad", 0),
    Target("lines50", 15),
    Target("latency", 1),
    Target("stalled-restart", 1000),
    Target("stalled-stop", 10000),
    Target("orphans", 1.5, ("tini",)),
    Target("init", 1.6, ("python3 -I -S -c pass",)),
    Target("probes", 10),
    Target("chain", 110, (US,), of="link"),
    Target("start-many", 1.3, (US,), of="start-few"),
    Target("health", 1.5, ("python3 -I -S, one round trip",)),
    Target("ps", 150),
    Target("ps1000", 0),
    Target("followers", 0.95, ("no followers",), at_least=True),
    Target("followers-memory", 16),
    Target("conf-start", 1 / 10, ("supervisord",)),
    Target("conf-restart", 1 / 10, ("supervisord",)),
    Target("conf-stop", 1 / 10, ("supervisord",)),
    Target("conf-pss", 1, ("supervisord",)),
    Target("conf-idle", 0),
    Target("conf-rpc", 1, ("supervisord",)),
    Target("conf-ctl", 1, ("supervisord",)),
)


@dataclass
class Figures:
    """All samples and remarks of one run."""

    samples: defaultdict[str, defaultdict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    notes: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, measure: str, tool: str, value: float) -> None:
        """Add one sample."""
        self.samples[measure][tool].append(value)

    def note(self, measure: str, tool: str, text: str) -> None:
        """Set the remark in the tool's row of a table."""
        self.notes[measure][tool] = text

    def median(self, measure: str, tool: str) -> float | None:
        """Return the median of the samples, None without any."""
        values = self.samples[measure][tool]
        return statistics.median(values) if values else None


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '¦') for cell in cells)} |"


def table(figures: Figures, key: str) -> str:
    """Return one measure as a Markdown table: cohabit, then the peers in the order of measurement."""
    measure = MEASURES[key]
    rows = [
        f"### {measure.title}\n",
        _row(f"`{key}`", f"median {measure.unit}", "least", "most", "samples", "cohabit / peer", "remarks"),
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    tools = list(dict.fromkeys([*figures.samples[key], *figures.notes[key]]))
    tools.sort(key=lambda tool: tool != US)
    ours = figures.median(key, US)
    for tool in tools:
        remark = figures.notes[key].get(tool, "")
        name = f"**{tool}**" if tool == US else tool
        values = figures.samples[key][tool]
        if not values:
            rows.append(_row(name, "-", "", "", "0", "", remark))
            continue
        median = statistics.median(values)
        cells = [_number(value, measure.decimals) for value in (median, min(values), max(values))]
        ratio = "" if tool == US or ours is None or not median else f"{ours / median:.3g}"
        rows.append(_row(name, *cells, str(len(values)), ratio, remark))
    return "\n".join(rows) + "\n"


def _verdict(figures: Figures, target: Target) -> str | None:
    """Return one row of the summary, None without any sample or remark."""
    measure = MEASURES[target.measure]
    ours = figures.median(target.measure, US)
    title = f"{measure.title} (`{target.measure}`)"
    if ours is None:
        failed = US in figures.notes[target.measure]
        return _row(title, "-", "", "", "", "**missed**") if failed else None
    shown = f"{_number(ours, measure.decimals)} {measure.unit}"
    value, theirs, ratio, unit = ours, "", "", f" {measure.unit}"
    if target.versus:
        of = target.of or target.measure
        known = [(median, peer) for peer in target.versus if (median := figures.median(of, peer))]
        if not known:
            return _row(title, shown, f"not measured: {', '.join(target.versus)}", "", "", "")
        median, peer = max(known) if target.at_least else min(known)
        theirs = f"{peer} {_number(median, measure.decimals)}" + (f" (`{of}`)" if target.of else "")
        value, unit = ours / median, ""
        ratio = f"{value:.3g}"
    met = value >= target.limit if target.at_least else value <= target.limit
    limit = f"{'≥' if target.at_least else '≤'} {target.limit:g}{unit}"
    return _row(title, shown, theirs, ratio, limit, "met" if met else "**missed**")


def summary(figures: Figures) -> str:
    """Return all measured targets as one Markdown table."""
    rows = [row for row in (_verdict(figures, target) for target in TARGETS) if row]
    top = [
        "### Targets\n",
        _row("measure", "cohabit", "peer", "ratio", "target", ""),
        "|---|---:|---:|---:|---:|---|",
    ]
    return "\n".join([*top, *rows]) + "\n"
