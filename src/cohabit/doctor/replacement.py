"""What to write instead of a script: a line of `cohabit run`, or a cohabit.yaml, made of its own commands. Pure.

A command is taken as it is written. What depends on values that the script computes, or on a condition, is not
replaced: the text says so, with its lines.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from cohabit.doctor import known, script, sh
from cohabit.doctor.services import known_name, program
from cohabit.doctor.sh import Simple
from cohabit.doctor.sh_tokens import UnparsedError
from cohabit.doctor.shellwords import needs_shell
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cohabit.doctor.script import Conduct, Step

# The recommended start of an image, as in README.md. Every proposal of the doctor has it from here.
ENTRYPOINT = ("cohabit", "up", "--")
START_INTERVAL = "with Docker 25 or newer add --start-interval=1s"  # an older one refuses the option
HEALTHCHECK = 'HEALTHCHECK --interval=10s --start-period=5m CMD ["cohabit", "health"]'

_COMPLETED = "service_completed_successfully"
_AMBIGUOUS = re.compile(r" or |,|without|itself|VERSION")
_KINDS = {sh.IF: "a condition", sh.CASE: "a condition", sh.LOOP: "a loop"}
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*|[0-9@*#?$!-])", re.ASCII)
_STARTING = ("-k start", "start")  # arguments of apachectl
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_PLAIN = re.compile(r"[\w./@%+=, '-]+", re.ASCII)
_INTERPRETERS = re.compile(r"(?:python[0-9.]*|node|ruby|php|perl|java|sh|bash|dash)$")


class Left(Record):
    """What is not replaced, and why."""

    line: int
    why: str


class Part(Record):
    """A command that is taken over. text: as for a shell; job: it ends before the others start."""

    text: str
    line: int
    job: bool = False


def recommended() -> str:
    """Return the recommended instruction."""
    return instruction("ENTRYPOINT", ENTRYPOINT)


def instruction(name: str, argv: Sequence[str]) -> str:
    """Return an instruction in its JSON form."""
    return f"{name} {json.dumps(list(argv), ensure_ascii=False)}"


def of(conduct: Conduct, arguments: tuple[str, ...], at: Callable[[int], int]) -> str:
    """Return the line of `cohabit run` or the cohabit.yaml that replaces a script.

    arguments: those of the script; at: converts a line of the script to a line of its file.
    """
    taken = [_take(step, conduct, arguments) for step in conduct.steps]
    parts = [one for one in taken if isinstance(one, Part)]
    lines = ", ".join(f"line {at(one.line)} ({one.why})" for one in taken if isinstance(one, Left))
    notes = [f"not replaced, since it cannot be judged: {lines}"] if lines else []
    if files := script.followed_files(conduct.last):
        notes.append(f"instead of tail: {log_files(files)}")
    missing = "; ".join(notes)
    more = f"; {missing}" if missing else ""
    if all(one.job for one in parts):
        return f"one service for each program in a cohabit.yaml, and {recommended()}{more}"
    if not any(one.job for one in parts):
        return instruction("CMD", ("cohabit", "run", *(one.text for one in parts))) + more
    if conduct.end in (script.WAIT_ONE, script.WAIT_ALL) and not parts[0].job and all(one.job for one in parts[1:]):
        helpers = [word for one in parts[1:] for word in ("--helper", one.text)]
        return instruction("CMD", ("cohabit", "run", "--main", parts[0].text, *helpers)) + more
    return f"{recommended()}, with this cohabit.yaml{f' ({missing})' if missing else ''}:\n{_yaml(parts)}"


def log_files(files: Sequence[str]) -> str:
    """Return the key that replaces `tail -f` of these files."""
    return f"log_files: [{', '.join(files)}] of the service that writes {'it' if len(files) == 1 else 'them'}"


def _take(step: Step, conduct: Conduct, arguments: tuple[str, ...]) -> Part | Left | None:
    """The part that replaces a step, or why there is none; None if nothing is needed."""
    node = step.node
    job = next((one for one in conduct.jobs if any(part is node for part in one.nodes)), None)
    if job is not None and job.nodes[0] is not node:
        return None  # the rest of a pipe
    if job is None and isinstance(node, Simple) and (not node.argv or node.program in script.MINOR):
        changes = node.argv[:1] in (("cd",), ("ulimit",), ("umask",)) or (
            node.argv[:1] == ("export",) and node.argv[1:]
        )
        return Left(node.line, node.source) if changes else None
    if step.conditional or (job and job.conditional):
        return Left(node.line, "a condition")
    if not isinstance(node, Simple):
        if node is conduct.last or not any(one.argv and one.program not in script.MINOR for one in sh.walk([node])):
            return None if job is None else Left(node.line, "a block")
        return Left(node.line, _KINDS.get(node.kind, "a block"))
    if node.argv and node.program in known.RESTARTING_WRAPPERS and len(node.argv) == 1:
        text, why = known.RESTARTING_WRAPPERS[node.program], ""
    elif script.becomes_daemon(node.argv, conduct.foreground):
        text, why = in_foreground(node)
    else:
        text, why = job.source if job else node.source, ""
    if not why:
        text, why = _command(text, conduct, arguments)
    if why:
        return Left(node.line, why)
    return Part(text, node.line, job=job is None and node is not conduct.last)


def _command(source: str, conduct: Conduct, arguments: tuple[str, ...]) -> tuple[str, str]:
    """(The command as a service has it, why it cannot be taken over)."""
    text = re.sub(r"^exec\s+", "", source.strip())
    if arguments and not conduct.other_arguments:
        text = re.sub(r'"\$@"|\$@|"\$\*"|\$\*', lambda _: " ".join(map(_quoted, arguments)), text)
    for name in _VARIABLE.findall(text):
        if name in conduct.assigned:
            return "", f"${name} is set in the script"
        if not name[0].isalpha() and name[0] != "_":
            return "", f"${name}"
    return text, ""


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w./@%+=,:-]+", word, re.ASCII) else "'" + word.replace("'", "'\\''") + "'"


def in_foreground(node: Simple) -> tuple[str, str]:
    """Return (the command that keeps a daemon in the foreground, why it is not known)."""
    name, arguments = program(node.argv)
    if found := re.fullmatch(r"php([0-9.]+)-fpm", arguments[0] if name == "service" and arguments else ""):
        return f"php-fpm{found[1]} -F", ""
    if name == "service" and len(arguments) > 1:
        name = {"ssh": "sshd", "dbus": ""}.get(arguments[0], arguments[0])
    row = known.DAEMONS.get(known_name(name))
    text = row.foreground_command if row else ""
    unknown = f"what `{node.source}` starts"
    if known_name(name) == "php-fpm" and name == node.program:
        return f"{_without(node.source, ('-D', '--daemonize'))} -F", ""
    if row is None or name in ("service", "systemctl"):
        return "", unknown
    own = node.program != name or node.assigns or _without(" ".join(arguments), (*_STARTING, *row.background_flags))
    if own and node.program != "service":
        text = _with_its_arguments(node.source, name, row)
    elif _AMBIGUOUS.search(text):
        text = ""
    return text, "" if text else unknown


def _with_its_arguments(source: str, name: str, row: known.Daemon) -> str:
    """The command with its own arguments, in the foreground; "" if that is not known."""
    first, _, flags = row.foreground_command.partition(" ")
    if flags.startswith("without "):
        flags = ""
    clear = all(flag.startswith("-") and not flag.endswith("…") for flag in row.background_flags)
    if first.rpartition("/")[2] != name or not clear or _AMBIGUOUS.search(flags) or flags[:2] in source.split():
        return ""
    return f"{_without(source, (*_STARTING, *row.background_flags))} {flags}".rstrip()


def _without(command: str, flags: Sequence[str]) -> str:
    """A command without these flags."""
    for flag in flags:
        pattern = re.escape(flag).replace(r"\ ", "[ =]")
        command = re.sub(rf"(?:^|\s+){pattern}(?!\S)", "", command)
    return command.strip()


# --- the file --------------------------------------------------------------------------------------------


def _yaml(parts: Sequence[Part]) -> str:
    """Each job ends before what follows it, and starts after the services before it."""
    lines = ["services:"]
    before: dict[str, str] = {}
    names: set[str] = set()
    for part in parts:
        name = _name(part.text, names)
        lines += [f"  {name}:", f"    command: {_value(part.text)}"]
        needed = [one for one in before.items() if part.job or one[1] == _COMPLETED]
        if needed:
            lines += ["    depends_on:", *(f"      {one}: {{condition: {condition}}}" for one, condition in needed)]
        if part.job:
            before = {}
        before[name] = _COMPLETED if part.job else "service_started"
    return "\n".join(lines)


def _name(text: str, names: set[str]) -> str:
    """A name for the service of a command that no other has: that of its program or script."""
    found = _parsed(text)
    name, arguments = program(found[0].argv) if found else ("", ())
    if _INTERPRETERS.match(name):
        name = next((one.rpartition("/")[2] for one in arguments if not one.startswith("-")), name)
    plain = _NAME.sub("-", name.removesuffix(".sh").removesuffix(".py")).strip("-.") or "service"
    name, count = plain, 1
    while name in names:
        count += 1
        name = f"{plain}-{count}"
    names.add(name)
    return name


def _parsed(text: str) -> list[Simple]:
    try:
        return [one for one in sh.walk(sh.parse(text)) if one.argv]
    except UnparsedError:
        return []


def _value(text: str) -> str:
    """A command as a value of the file, which is split into words and run without a shell."""
    if not needs_shell(text)[0] and "$" not in text:
        plain = (_PLAIN.fullmatch(text) and text[0].isalnum()) or text.startswith(("/", "./"))
        return text if plain and _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
    found = _parsed(text)
    simple = (
        len(found) == 1 and found[0].source == text and not found[0].assigns and found[0].program not in script.MINOR
    )
    script_text = f"exec {text}" if simple else text
    return json.dumps(["sh", "-c", script_text.replace("$", "$$")], ensure_ascii=False)
