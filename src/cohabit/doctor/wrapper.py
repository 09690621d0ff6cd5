"""Check what the scripts of an image do: jobs in the background, waiting, traps, and how they end. Pure.

Each check yields RawFindings for one script (start.py: Script). Each text says what was seen in it; what cannot be
decided leads to no finding, or to script-not-examined.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor import known, replacement, script, sh, start
from cohabit.doctor.findings import ERROR, HINT, WARNING
from cohabit.doctor.sh import Block, Simple
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.doctor.script import Conduct
    from cohabit.doctor.start import Script

RawFinding: TypeAlias = tuple[str, str, int, str, str, str]  # rule, level, line, what, why, do
_MOST = 4  # names in one text
_TERM_LOST = {
    "": "do not receive TERM from `docker stop` and get SIGKILL",
    start.RELAY: "do not receive TERM from `docker stop` (only the script does), and get SIGKILL when it has ended",
}


def examine(one: Script, instruction: str) -> Iterator[RawFinding]:
    """Yield the findings on a script. instruction: ENTRYPOINT or CMD, for a script that is its text."""
    whose = f"the shell of {instruction}" if not one.name else one.name
    if one.source is not None:
        yield from _file(one, one.source.text)
    if one.conduct is None:
        if one.problem:
            why = f"{one.problem}; it may start programs in the background, or not exec the last one"
            do = "end it with `exec`, or replace it: one service for each of its programs in a cohabit.yaml"
            yield "script-not-examined", HINT, one.line, f"{whose} could not be judged", why, do
        return
    conduct = one.conduct
    if conduct.sourced and conduct.jobs:
        why = f"it reads another file (`{conduct.sourced[0]}`), which may set traps and start programs"
        do = f"one service for each of its programs{_names(one, conduct)} in a cohabit.yaml"
        yield "script-not-examined", HINT, one.line, f"{whose} could not be judged", why, do
    yield from _supervises(one, conduct)
    yield from _background(one, conduct, whose)
    yield from _keeps_alive(one, conduct, whose)
    yield from _polls(one, conduct, whose)
    yield from _not_exec(one, conduct, whose)
    yield from _follows(one, conduct, whose)
    yield from _traps(one, conduct)


# --- the file --------------------------------------------------------------------------------------------


def _file(one: Script, text: str) -> Iterator[RawFinding]:
    """It cannot be executed: carriage returns, no interpreter, no permission."""
    source = one.source
    first = text.partition("\n")[0]
    if first.endswith("\r") and source and not source.cleaned and (one.direct or "\r\n" in text):
        why = (
            f"{first.rstrip()!r} names an interpreter that ends with a carriage return: it is not found"
            if first.startswith("#!") and one.direct
            else "the shell takes the carriage return as a part of the argument before it"
        )
        do = f"save it with LF, or RUN sed -i 's/\\r$//' {one.name}"
        yield "script-carriage-returns", ERROR, one.line, "the lines end with CR LF", why, do
    if one.direct and not first.startswith("#!"):
        why = "Docker executes it without a shell: exec format error"
        yield "script-without-interpreter", ERROR, one.line, "the first line is not #!", why, "#!/bin/sh"
    if one.direct and source and source.mode and not source.mode & 0o111 and not source.marked:
        why = "COPY keeps its mode, and no RUN line or --chmod changes it: permission denied"
        do = f"chmod +x {source.shown}, or COPY --chmod=755"
        yield "script-not-executable", WARNING, one.line, f"its mode is {source.mode:o}", why, do


def _supervises(one: Script, conduct: Conduct) -> Iterator[RawFinding]:
    """It starts another supervisor by its name."""
    if one.name and isinstance(conduct.last, Simple) and conduct.end in (script.EXEC, script.PROGRAM):
        argv = start.unwrapped(conduct.last.argv)[1]
        init = start.supervisor(argv)
        if init is not None:
            do = f"one service for each of its programs in a cohabit.yaml, and {replacement.recommended()}"
            yield (
                "other-supervisor",
                WARNING,
                one.at(conduct.last.line),
                f"{argv[0]} runs the services",
                f"it {init.behaviour}",
                do,
            )


# --- in the background ------------------------------------------------------------------------------------


def _background(one: Script, conduct: Conduct, whose: str) -> Iterator[RawFinding]:
    if not conduct.jobs or conduct.end in (script.FOREVER, script.POLL):
        return  # keep-alive and polling-loop say it
    if conduct.end == script.UNKNOWN and _has_supervisor(conduct):
        return
    lost = "" if _passes_term(one, conduct) else _TERM_LOST.get(one.above, "")
    reasons = []
    main = _shown(conduct.last)
    if conduct.end == script.EXEC and isinstance(conduct.last, Simple) and start.place_of_cohabit(conduct.last.argv):
        what = f"{whose} starts programs beside cohabit{_names(one, conduct)}"
        why = "they are not services: they are not restarted, not shown by `cohabit ps`, and not waited for"
        yield (
            "background-process",
            WARNING,
            one.at(conduct.jobs[0].line),
            what,
            why,
            "a service for each in cohabit.yaml",
        )
        return
    if lost and conduct.end == script.EXEC:
        reasons.append(f"only {main} receives TERM from `docker stop`; they get SIGKILL when it has ended")
    elif lost:
        reasons.append(f"they {lost}")
    if not conduct.child_trap and not conduct.sourced:
        reasons += _unnoticed(conduct, main)
    if conduct.end == script.JOB and conduct.jobs and conduct.last is not None:
        reasons = ["the script ends after that, and with it the container: they are killed at once"]
    if not reasons:
        return
    level = ERROR if lost or conduct.end == script.JOB else WARNING
    do = replacement.of(conduct, one.arguments, one.at)
    what = f"{whose} starts programs in the background{_names(one, conduct)}"
    yield "background-process", level, one.at(conduct.jobs[0].line), what, "; ".join(reasons), do


def _unnoticed(conduct: Conduct, main: str) -> Iterator[str]:
    """What does not notice the end of a job."""
    if conduct.end == script.WAIT_ALL and len(conduct.jobs) > 1:
        yield "`wait` returns when all have ended: if one fails, the container continues without it"
    elif conduct.end == script.WAIT_ONE and len(conduct.jobs) > 1:
        yield f"`{main}` waits for one: if another fails, nothing notices"
    elif conduct.end in (script.EXEC, script.PROGRAM, script.FOREVER):
        yield "if one fails, nothing notices"
    elif conduct.end == script.WAIT_ANY and len(conduct.jobs) > 1 and not _ends_others(conduct):
        yield "when one ends, the script ends, and the others get SIGKILL"


def _ends_others(conduct: Conduct) -> bool:
    """Whether the script may signal the other jobs when one has ended."""
    kills = any(one.program in ("kill", "pkill", "killall") for one in conduct.after)
    return kills or bool(conduct.traps) or conduct.exit_trap


def _has_supervisor(conduct: Conduct) -> bool:
    """Whether a command of the script starts a supervisor: then the jobs are not all that runs."""
    return any(known.INITS.get(one.program) for one in sh.walk([step.node for step in conduct.steps]))


def _passes_term(one: Script, conduct: Conduct) -> bool:
    """Whether TERM may reach the jobs: by a trap, or since process 1 signals the process group."""
    if one.above == start.GROUP or conduct.sourced:
        return True
    trapped = any(script.reaches_children(trap) for trap in conduct.traps)
    return conduct.end != script.EXEC and (conduct.exit_trap or (trapped and conduct.end != script.PROGRAM))


def _names(one: Script, conduct: Conduct) -> str:
    """` (line 3: nginx, line 4: php-fpm)` for a file, "" for the text of an instruction."""
    if not one.name or not conduct.jobs:
        return ""
    names = [f"line {one.at(job.line)}: {_program(job.commands, job.source)}" for job in conduct.jobs]
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f" ({', '.join(names[:_MOST])}{more})"


def _program(commands: Sequence[Simple], source: str) -> str:
    for command in commands:
        if command.program == "service" and len(command.argv) > 1:
            return command.argv[1]
        if command.argv and command.program not in script.MINOR:
            name = start.unwrapped(command.argv)[1]
            return start.base_name(name[0]) if name else command.program
    return source.split(maxsplit=1)[0]


def _shown(node: object) -> str:
    """A command as a short text."""
    if isinstance(node, Simple):
        text = " ".join(node.source.removeprefix("exec ").split())
        return text if len(text) <= 60 else node.program  # noqa: PLR2004 - one line
    return "a loop"


# --- the end ----------------------------------------------------------------------------------------------


def _keeps_alive(one: Script, conduct: Conduct, whose: str) -> Iterator[RawFinding]:
    if conduct.end != script.FOREVER or conduct.last is None:
        return
    last = conduct.last
    shown = last.program if isinstance(last, Simple) else "a loop that sleeps"
    others = [step.node for step in conduct.steps if step.node is not last]
    started = bool(conduct.jobs) or any(c.argv and c.program not in (*script.MINOR, *_SHORT) for c in sh.walk(others))
    stop = "" if _passes_term(one, conduct) else ", and `docker stop` ends with SIGKILL"
    what = f"{whose if one.name else instruction_of(whose)} keeps the container alive with {shown}"
    if started:
        why = f"nothing supervises the programs started before{_names(one, conduct)}{stop}"
        yield "keep-alive", ERROR, one.at(last.line), what, why, replacement.of(conduct, one.arguments, one.at)
    else:
        yield "keep-alive", WARNING, one.at(last.line), what, f"it starts no service{stop}", only_waits()


def instruction_of(whose: str) -> str:
    """CMD for "the shell of CMD"."""
    return whose.removeprefix("the shell of ")


def only_waits() -> str:
    """Return the remedy for a container that only waits."""
    init = replacement.instruction("ENTRYPOINT", ("cohabit", "init", "--"))
    return f"one service for each program in a cohabit.yaml; for a container that is only to wait: {init}"


def _polls(one: Script, conduct: Conduct, whose: str) -> Iterator[RawFinding]:
    if conduct.end != script.POLL or not isinstance(conduct.last, Block):
        return
    pause = next((c.argv[1] for c in sh.walk([conduct.last]) if c.program == "sleep" and len(c.argv) > 1), "")
    why = f"an end is seen up to {format_duration(float(pause))} late" if pause.isdecimal() else "an end is seen late"
    lost = "" if _passes_term(one, conduct) or not conduct.jobs else _TERM_LOST.get(one.above, "")
    why += f"; its services{_names(one, conduct)} {lost}" if lost else ""
    do = replacement.of(conduct, one.arguments, one.at)
    what = f"{whose} looks for its processes in a loop"
    yield "polling-loop", ERROR if lost else WARNING, one.at(conduct.last.line), what, why, do


def _not_exec(one: Script, conduct: Conduct, whose: str) -> Iterator[RawFinding]:
    """The last program is a child of the script."""
    if not one.name or one.above == start.GROUP or conduct.exit_trap or (conduct.sourced and not _is_last(conduct)):
        return
    for node, conditional in _tails(conduct):
        if node.execs or node.background or not _stays(node, conduct.foreground):
            continue
        text = f"exec {node.source}"
        if conduct.traps and any(script.reaches_children(trap) for trap in conduct.traps):
            why = "the trap runs only when this command has ended: `docker stop` ends with SIGKILL"
        elif conduct.jobs:
            continue  # background-process says it
        elif one.above:
            why = "TERM ends the script only: the program gets SIGKILL when the script has ended"
        else:
            why = "the script does not forward TERM to it: `docker stop` ends with SIGKILL"
        level = HINT if conditional else ERROR
        yield "missing-exec", level, one.at(node.line), f"{whose} runs {_shown(node)} without exec", why, text


def _follows(one: Script, conduct: Conduct, whose: str) -> Iterator[RawFinding]:
    """A `tail -f` of log files beside the programs."""
    for node in sh.walk([step.node for step in conduct.steps]):
        files = script.followed_files(node)
        if files and node.background:
            why = "if it ends, the lines are missing, and nothing notices it"
            do = replacement.log_files(files)
            yield "followed-log", HINT, one.at(node.line), f"{whose} follows a log file with tail", why, do


def _is_last(conduct: Conduct) -> bool:
    return conduct.end == script.PROGRAM


def _stays(node: Simple, foreground: frozenset[str]) -> bool:
    """Whether a command may be what the container runs: not a builtin, and not a program that ends at once."""
    short = node.program in script.MINOR or node.program in _SHORT
    return bool(node.argv) and not short and not script.becomes_daemon(node.argv, foreground)


def _tails(conduct: Conduct) -> Iterator[tuple[Simple, bool]]:
    """The commands that may be the last one of the script, and whether they are in a branch."""
    if conduct.end not in (script.PROGRAM, script.UNKNOWN) or conduct.last is None:
        return
    if any(one.argv and one.program not in ("exit", "echo", "printf") for one in conduct.after):
        return
    yield from _tail(conduct.last, conditional=False)


def _tail(node: object, *, conditional: bool) -> Iterator[tuple[Simple, bool]]:
    if isinstance(node, Simple):
        yield node, conditional
    elif isinstance(node, Block) and node.kind in (sh.IF, sh.CASE):
        for branch in node.branches:
            if branch and isinstance(branch[-1], Simple) and branch[-1].program == "exit":
                continue  # a command that ends
            left = [
                one for one in branch if not (isinstance(one, Simple) and one.program in ("exit", "echo", "printf"))
            ]
            if left and not any(isinstance(one, Simple) and one.execs for one in left):
                yield from _tail(left[-1], conditional=True)


# Programs that do one thing and end.
_SHORT = frozenset(
    {
        "rm", "mkdir", "cp", "mv", "chmod", "chown", "chgrp", "touch", "ln", "cat", "sed", "grep", "awk", "env", "id",
        "date", "hostname", "ls", "install", "find", "tar", "gzip", "unzip", "sort", "head", "cut", "tr", "tee",
        "envsubst", "sync", "usermod", "groupmod", "useradd", "adduser", "addgroup", "groupadd", "apt-get", "apk",
        "pip", "git", "openssl", "jq", "ssh-keygen", "update-ca-certificates", "which", "command", "type", "wc",
        "sysctl", "modprobe", "iptables", "ip", "mount", "umount", "createdb", "mysqladmin", "mysql", "psql",
        "pg_isready", "redis-cli", "supervisorctl", "source", ".", "alembic", "flyway", "let", "getopts", "mapfile",
        "usage", "help", "basename", "dirname",
    }
)  # fmt: skip


# --- traps ------------------------------------------------------------------------------------------------


def _traps(one: Script, conduct: Conduct) -> Iterator[RawFinding]:
    if one.above == start.GROUP or not conduct.jobs or conduct.sourced or conduct.end == script.JOB:
        return
    reaching = [trap for trap in conduct.traps if script.reaches_children(trap)]
    if conduct.end == script.EXEC:
        for trap in reaching:
            why = "exec replaces the shell, and its traps with it"
            do = "one service for each program: cohabit stops them in order"
            yield "trap-too-late", ERROR, one.at(trap.line), "the trap on TERM never runs", why, do
        return
    for trap in conduct.traps:
        if not script.reaches_children(trap) and not reaching:
            why = "the processes in the background get no signal, and SIGKILL when the script has ended"
            if trap.ignores:
                why = "TERM is ignored: `docker stop` ends with SIGKILL"
            do = f"kill them and wait for them: trap {json.dumps('kill $(jobs -p); wait')} TERM"
            yield (
                "trap-without-kill",
                WARNING,
                one.at(trap.line),
                "the trap on TERM does not signal the services",
                why,
                do,
            )
    if reaching and conduct.end == script.FOREVER and isinstance(conduct.last, Simple):
        why = f"a trap runs only when the command in the foreground has ended, and {conduct.last.program} does not end"
        do = "wait for the services instead: `wait`"
        yield "trap-too-late", ERROR, one.at(reaching[0].line), "the trap on TERM never runs", why, do
    waits = conduct.end in (script.WAIT_ALL, script.WAIT_ANY, script.WAIT_ONE)
    waited = any(c.program in ("wait", "while") for c in conduct.after) or any(_waits(t.commands) for t in reaching)
    known_kill = reaching and all(t.known and _only_kills(t.commands) for t in reaching)
    if waits and known_kill and not waited and not any(c.argv and c.program not in script.MINOR for c in conduct.after):
        why = "the script ends right after the trap, and then the container: they get SIGKILL while they stop"
        do = "wait in the trap: `kill …; wait`"
        yield (
            "trap-without-wait",
            WARNING,
            one.at(reaching[0].line),
            "the trap on TERM does not wait for the services",
            why,
            do,
        )


def _waits(commands: Sequence[Simple]) -> bool:
    return any(one.program in ("wait", "sleep") for one in commands)


def _only_kills(commands: Sequence[Simple]) -> bool:
    return all(one.program in script.MINOR or not one.argv for one in commands)
