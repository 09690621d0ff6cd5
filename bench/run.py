"""Measure cohabit and its peers side by side, in one run, on this machine.

    python3 bench/run.py [--only NAME,…] [--peers NAME,…] [--rounds N] [--quick] [--install] [--cohabit PATH]

Installs missing tools, measures all tools in turn in each round, and prints Markdown: a table of medians per measure,
and the targets. docs/reference/benchmarks.md explains each row.
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import time
from types import FrameType

import control
import files
import inits
import logs
import low_rate
import scale
import services
import supervisord
from install import CACHE, PYTHON, InstallError, install_cohabit, install_peer, version
from processes import become_subreaper, sweep
from report import MEASURES, Figures, summary, table
from services import Scope
from supervisors import COHABIT, LOGGERS, PEERS

NAMES = (
    "start",
    "start500",
    "memory",
    "idle",
    "restart",
    "stop",
    "raw",
    "prefix",
    "stalled",
    "orphans",
    "init",
    "probes",
    "chain",
    "starts",
    "health",
    "ps",
    "ps1000",
    "followers",
    "json",
    "logfmt",
    "file",
    "lines50",
    "latency",
    "conf",
    "conf-rpc",
    "conf-ctl",
)
INITS = ("tini", "dumb-init")
ROUNDS = 5


def progress(text: str) -> None:
    """Print progress to stderr. Only the tables go to stdout."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure cohabit and its peers side by side.")
    parser.add_argument("--only", metavar="NAME,…", default=",".join(NAMES), help=f"only these: {', '.join(NAMES)}")
    peers = [tool.name for tool in PEERS] + list(INITS)
    parser.add_argument("--peers", metavar="NAME,…", default=",".join(peers), help=f"only these: {', '.join(peers)}")
    parser.add_argument("--rounds", metavar="N", type=int, default=0, help=f"number of rounds (default: {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="2 rounds and small volumes, as a trial")
    parser.add_argument("--install", action="store_true", help="install missing tools and exit")
    parser.add_argument("--cohabit", metavar="PATH", help="measure this command instead of a fresh wheel of this tree")
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name]
    options.peers = [name for name in options.peers.split(",") if name]
    for wrong in [name for name in options.only if name not in NAMES]:
        parser.error(f"--only: unknown name {wrong!r} (choose from {', '.join(NAMES)})")
    for wrong in [name for name in options.peers if name not in peers]:
        parser.error(f"--peers: unknown name {wrong!r} (choose from {', '.join(peers)})")
    if options.rounds < 0:
        parser.error("--rounds: must be at least 1")
    options.rounds = options.rounds or (2 if options.quick else ROUNDS)
    return options


def find_programs(options: argparse.Namespace) -> tuple[dict[str, str], list[str]]:
    """Return the paths of all programs that are available, and a line about each for the head of the report."""
    paths, rows = {"sh": shutil.which("sh") or "/bin/sh"}, []
    try:
        paths["cohabit"] = os.path.abspath(options.cohabit) if options.cohabit else install_cohabit()
    except InstallError as error:
        rows.append(f"- cohabit is not measured: {error}")
    wanted = {tool.program: tool.name for tool in reversed(PEERS) if tool.name in options.peers}
    wanted |= {name: name for name in INITS if name in options.peers}
    wanted |= {name: name for name, peer in LOGGERS.items() if peer in options.peers}
    for program, name in wanted.items():
        try:
            paths[program] = install_peer(program)
            rows.append(f"- {name} {version(paths[program], program)}".rstrip())
        except InstallError as error:
            rows.append(f"- {name} is not measured: {error}")
    return paths, rows


def head(options: argparse.Namespace, rows: list[str]) -> str:
    """Return the head of the report: machine, versions, load."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    processors = f"{os.cpu_count()} CPUs ({models[0] if models else platform.machine()})"
    lines = [
        f"## {time.strftime('%Y-%m-%d')}\n",
        f"{processors}, Linux {platform.release()}, Python {platform.python_version()}.",
        f"Medians of {options.rounds} rounds; load before the run {load}.\n",
        *rows,
    ]
    if options.quick:
        lines.append("\nA quick run: volumes are an eighth or a tenth, so that the targets do not apply.")
    return "\n".join(lines) + "\n"


def show(figures: Figures) -> None:
    """Print what has been measured, also after an interrupted run."""
    for measure in MEASURES:
        if figures.samples[measure] or figures.notes[measure]:
            print(table(figures, measure))
    print(summary(figures))


def end(signal_number: int, _frame: FrameType | None) -> None:
    """Exit on a signal. main() then kills all processes of the run."""
    sys.exit(128 + signal_number)


def main() -> None:
    """Install, measure, print."""
    options = arguments()
    become_subreaper()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    progress(f"programs in {CACHE}, Python from {PYTHON}")
    paths, rows = find_programs(options)
    print(head(options, rows))
    if options.install:
        return
    figures = Figures()
    scope = Scope(figures, paths, frozenset(options.only), options.rounds, options.quick)
    tools = [
        tool for tool in (COHABIT, *PEERS) if tool.program in paths and (tool is COHABIT or tool.name in options.peers)
    ]
    try:
        if scope.wants("init"):
            progress("init: repeated runs of one command")
            inits.overhead(scope)
        progress(f"start, memory, idle, restart and stop under: {', '.join(tool.name for tool in tools)}")
        services.measure(scope, tools)
        progress("output of services, and output without a reader")
        logs.measure(scope, tools)
        progress("log files, and output at low rates")
        files.measure(scope, tools)
        low_rate.measure(scope, tools)
        progress("probes, a chain of services, a thousand services")
        scale.measure(scope)
        progress("requests to a running cohabit")
        control.measure(scope)
        progress("one supervisord.conf with supervisord and with cohabit")
        supervisord.measure(scope)
        if scope.wants("orphans"):
            progress("bursts of orphans")
            inits.orphans(scope)
    finally:
        sweep()
        show(figures)


if __name__ == "__main__":
    main()
