"""Check the image of a Dockerfile for problems with several services. Pure.

Each check is a function of the Image and its start command. What cannot be decided leads to no finding. known.py has
the tables of images and programs.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor import known, process_checks, supervisord, wrapper
from cohabit.doctor.context import Unknown
from cohabit.doctor.findings import ERROR, HINT, WARNING, Finding
from cohabit.doctor.process_checks import base_rows, split
from cohabit.doctor.replacement import HEALTHCHECK, START_INTERVAL, instruction, recommended
from cohabit.doctor.start import LIST, base_name, follow, place_of_cohabit, shell_commands, start_command
from cohabit.plan.draft import SourceLocation
from cohabit.units import parse_signal, signal_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cohabit.doctor.context import File
    from cohabit.doctor.dockerfile import Image
    from cohabit.doctor.sh import Simple
    from cohabit.doctor.start import StartCommand

FindingFields: TypeAlias = tuple[str, int, str, str, str]  # level, line, what, why, do
_STOPS_US = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGPWR", "SIGRTMIN+3"})
_NO_STOP = {
    "SIGHUP": "it makes cohabit reload its file, so `docker stop` ends with SIGKILL",
    "SIGKILL": "it kills all processes at once: no service is stopped gracefully",
}
_RUN_DIRECTORIES = ("/run", "/var/run")
_FETCHERS = re.compile(r"(?:^|[\s;&|(/'\"])(curl|wget)(?=\s)")
_OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<"})


def _no_context(path: str) -> Unknown:
    return Unknown(path, "the build context is not known", provided=False)


def examine(image: Image, file: str, find: Callable[[str], File | Unknown] = _no_context) -> list[Finding]:
    """Return the findings. file: its name in places; find: finds a program of the image (context.py: Context.find)."""
    start = start_command(image)
    foreground = process_checks.kept_in_foreground(image, find)
    scripts, final = follow(image, start, file, find, foreground)
    start = start.replace(scripts=scripts, final=final, foreground=foreground)
    at = place_of_cohabit(final)
    if start.cohabit is None and at is not None:
        start = start.replace(cohabit=final[at[1] :], prefix=(*(one.name for one in scripts), *final[: at[0]]))
    found: list[Finding] = []
    name = start.instruction.name if start.instruction else "CMD"
    if start.shell and image.cmd and start.shell in (image.cmd.text, *(image.cmd.argv or ())):
        name = "CMD"
    for one in scripts:
        if one.name or not _looks_like_list(start):
            found += [
                Finding(rule, level, SourceLocation(one.file, line), *texts)
                for rule, level, line, *texts in wrapper.examine(one, name)
            ]
    for rule, check in (*CHECKS, *process_checks.CHECKS):
        found += [
            Finding(rule, level, SourceLocation(file, line), *texts) for level, line, *texts in check(image, start)
        ]
    if start.cohabit is None:
        found += supervisord.examine(image, process_checks.staying(start), file, find)
    said = any(one.rule in _SAYS_WHAT_RUNS for one in found)
    return [one for one in found if not (said and one.rule == "not-cohabit")]


def _looks_like_list(start: StartCommand) -> bool:
    return bool(start.instruction and start.instruction.argv is None and LIST.match(start.instruction.text))


# Rules that say what is wrong with what the container runs.
_SAYS_WHAT_RUNS = frozenset(
    {
        "background-process", "keep-alive", "polling-loop", "missing-exec", "other-supervisor", "daemonizes",
        "json-form", "single-string", "quotes-in-exec-form",
    }
)  # fmt: skip


# --- the command -----------------------------------------------------------------------------------------


def _almost_json(image: Image, _start: StartCommand) -> Iterator[FindingFields]:
    """A [...] that is not JSON: Docker runs it as a shell command."""
    for item in (image.entrypoint, image.cmd):
        if item and item.argv is None and LIST.match(item.text):
            argv = re.findall(r"""["'“”]([^"'“”]*)["'“”]""", item.text) or re.findall(r"[^\[\],\s]+", item.text)
            why = "it is not JSON (use double quotes, no trailing comma), so a shell runs it and does not find `[…`"
            yield ERROR, item.line, f"{item.name} looks like a list but is not JSON", why, instruction(item.name, argv)


def _shell_entrypoint(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    item = start.instruction
    if item and item is image.entrypoint and item.argv is None and start.cohabit is not None and start.shell:
        why = "CMD and the arguments after IMAGE in `docker run IMAGE …` are ignored"
        yield HINT, item.line, "ENTRYPOINT is in shell form", why, _exec_form("ENTRYPOINT", start.shell)


def _shell_before_cohabit(_image: Image, start: StartCommand) -> Iterator[FindingFields]:
    item = start.instruction
    found = shell_commands(start.shell)
    ours = next((command for command in found if place_of_cohabit(command.argv) is not None), None)
    if item is None or start.cohabit is None or ours is None or any(one.background for one in found):
        return
    if ours.execs and not ours.operator:
        return
    where = f"runs between {start.prefix[0]} and cohabit" if start.prefix else "is process 1, and cohabit is its child"
    what = f"a shell {where} ({item.name})"
    if len(found) == 1:
        why = "some shells (busybox, older dash) do not exec it and ignore TERM: `docker stop` then ends with SIGKILL"
        yield WARNING, item.line, what, why, _exec_form(item.name, start.shell)
    else:
        why = "the shell does not forward TERM: `docker stop` ends with SIGKILL for all processes"
        text = start.shell.replace(ours.source, f"exec {ours.source}", 1)
        do = instruction(item.name, ("sh", "-c", text)) if not ours.operator else instruction(item.name, ours.argv)
        yield ERROR, item.line, what, why, f"{do}, or use a pre_start hook for the commands before it"


def _exec_form(name: str, text: str) -> str:
    """The JSON form of a simple command; with `sh -c exec` if it requires a shell."""
    found = shell_commands(text)
    if len(found) != 1 or found[0].source != text.strip():
        return instruction(name, ("sh", "-c", text))
    command: Simple = found[0]
    if command.execs or command.assigns or not all(word.plain for word in command.words) or ">" in text or "<" in text:
        return instruction(name, ("sh", "-c", text if command.execs else f"exec {text}"))
    return instruction(name, command.argv)


def _not_isolated(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    """`python3 -m cohabit` without -I imports a cohabit.py from the working directory."""
    del image
    for argv in [command.argv for command in shell_commands(start.shell)] if start.shell else [start.argv]:
        at = place_of_cohabit(argv)
        if start.instruction and at and at[1] - at[0] > 1 and "-I" not in argv[at[0] : at[1]]:
            why = "Python imports from the working directory first: a cohabit.py there would run as process 1"
            do = instruction(start.instruction.name, (*argv[: at[0] + 1], "-I", *argv[at[0] + 1 : at[1]], "…"))
            yield WARNING, start.instruction.line, "python -m cohabit without -I", why, do
            return


def _shell_form_cmd(image: Image, _start: StartCommand) -> Iterator[FindingFields]:
    """CMD in shell form with an ENTRYPOINT in exec form adds the arguments /bin/sh, -c and the text."""
    if image.entrypoint and image.entrypoint.argv and image.cmd and image.cmd.argv is None and image.cmd.text:
        if place_of_cohabit(image.entrypoint.argv) is None or LIST.match(image.cmd.text):
            return
        last = image.entrypoint.argv[-1]
        if last == "--":
            return  # one more service, run by a shell
        why = f"{last} gets the arguments /bin/sh, -c and {json.dumps(image.cmd.text)}"
        yield (
            ERROR,
            image.cmd.line,
            "CMD is in shell form, with an ENTRYPOINT in exec form",
            why,
            instruction("CMD", image.cmd.text.split()),
        )


def _single_string(_image: Image, start: StartCommand) -> Iterator[FindingFields]:
    item = start.instruction
    if item and not start.shell and item.argv and len(item.argv) == 1:
        first = item.argv[0]
        if " " in first and "/" not in first.split()[0]:
            why = f"it is the name of a program, {json.dumps(first)}: write each argument as a string of its own"
            yield ERROR, item.line, f"{item.name} is a single string", why, instruction(item.name, first.split())


def _shell_syntax(_image: Image, start: StartCommand) -> Iterator[FindingFields]:
    """Shell syntax in the exec form of cohabit."""
    item = start.instruction
    if not item or start.shell or not item.argv or not start.cohabit or start.cohabit[0] != "up":
        return
    for word in start.cohabit:
        if word in start.argv and (word in _OPERATORS or re.match(r"\$\{?[A-Za-z_]", word)):
            why = "the exec form is run without a shell: it is passed literally"
            do = instruction(item.name, ("sh", "-c", f"exec {' '.join(start.argv)}"))
            yield ERROR, item.line, f"{word!r} is an argument of cohabit", why, do


def _other_process_1(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    """Another init or a script is process 1 instead of cohabit."""
    item = start.instruction
    if not item or start.cohabit is None:
        return
    line = image.entrypoint.line if image.entrypoint and image.entrypoint.argv else item.line
    fix = instruction(item.name, item.argv[len(start.prefix) :]) if item.argv and not start.shell else recommended()
    if item.argv and not start.shell and len(start.prefix) >= len(item.argv):
        fix = instruction("ENTRYPOINT", start.argv[len(start.prefix) :])
    argv = list(start.prefix)
    while argv and base_name(argv[0]) in known.EXEC_WRAPPERS:
        argv = _after_wrapper(argv)
    if argv:
        name = base_name(argv[0])
        init = known.INITS["s6-svscan"] if argv[0] == known.S6_PATH else known.INITS.get(name)
        if init and init.kind != known.SHELL:
            what = f"{argv[0]} is process 1, not cohabit"
            yield WARNING, line, what, f"it {init.behaviour}; cohabit is an init itself", fix
        elif name in known.FORKING_WRAPPERS:
            why = "it remains as the parent of cohabit, and may not forward signals"
            yield (
                WARNING,
                line,
                f"{argv[0]} is process 1, not cohabit",
                why,
                f"{fix}, and user: in the file",
            )
        elif not any(one.name == argv[0] and one.conduct for one in start.scripts):
            why = "cohabit receives TERM only if the script execs it"
            do = f'end {argv[0]} with: exec "$@" (or make it a pre_start hook)'
            yield HINT, line, f"the script {argv[0]} starts cohabit", why, do
    inherited = [base.init for base in base_rows(image.base) if base.init]
    if inherited and image.entrypoint is None:
        init = known.INITS["s6-svscan"] if inherited[0] == known.S6_PATH else known.INITS[inherited[0]]
        what = f"process 1 is {inherited[0]}, the ENTRYPOINT of {image.base}, not cohabit"
        yield (
            WARNING,
            item.line,
            what,
            f"it {init.behaviour}; cohabit is an init itself",
            instruction("ENTRYPOINT", start.argv),
        )


def _after_wrapper(argv: list[str]) -> list[str]:
    """The init or script that a program of EXEC_WRAPPERS runs; [] if none is recognised."""
    rest = argv[1:]
    for at, word in enumerate(rest):
        if base_name(word) in known.INITS or word == known.S6_PATH or word.endswith(".sh"):
            return rest[at:]
    return []


def _nothing_to_do(_image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if start.instruction and start.cohabit == () and not start.shell:
        why = "`docker run IMAGE` prints the help and exits with 64"
        yield WARNING, start.instruction.line, "cohabit is started without a command", why, recommended()


def _overridden(image: Image, _start: StartCommand) -> Iterator[FindingFields]:
    for earlier, later in image.overridden:
        what = f"this {earlier.name} is not used: line {later.line} replaces it"
        why = f"only the last {earlier.name} counts"
        services = earlier.name == "CMD"
        do = (
            "one service for each command in cohabit.yaml, and one CMD"
            if services
            else f"remove this line, or line {later.line}"
        )
        yield (ERROR if services else WARNING), earlier.line, what, why, do


def _replaced(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    """CMD without ENTRYPOINT: the arguments of `docker run IMAGE` replace it."""
    alone = image.entrypoint is None and not start.shell and start.cohabit and "--" not in start.cohabit
    alone = alone and not start.scripts
    if image.cmd and alone and start.cohabit and start.cohabit[0] == "up":
        why = "`docker run IMAGE bash` runs bash instead of the services"
        yield HINT, image.cmd.line, "cohabit is in CMD, without ENTRYPOINT", why, recommended()


# --- the rest --------------------------------------------------------------------------------------------


def _stop_signal(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if not start.supervises:
        return
    inherited = next((row.stop_signal for row in base_rows(image.base) if row.stop_signal), "")
    written, line = (image.stop_signal.value, image.stop_signal.line) if image.stop_signal else (inherited, image.line)
    if not written or "$" in written:
        return
    whose = "STOPSIGNAL is" if image.stop_signal else f"{image.base} has STOPSIGNAL"
    try:
        name = signal_name(parse_signal(written))
    except ValueError:
        yield ERROR, line, f"{whose} {written}", "this signal does not exist", "STOPSIGNAL SIGTERM"
        return
    if name not in _STOPS_US:
        why = _NO_STOP.get(name, "it does not stop cohabit, so `docker stop` ends with SIGKILL")
        yield ERROR, line, f"{whose} {name}", why, "STOPSIGNAL SIGTERM"
    elif not image.stop_signal:
        why = "cohabit treats it as TERM, but it was set for the server of that image"
        yield HINT, line, f"{whose} {name}", why, "STOPSIGNAL SIGTERM"


def _healthcheck_missing(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if image.healthcheck is None and start.supervises and start.instruction:
        official = image.base and "/" not in image.base.removeprefix("docker.io/").removeprefix("library/")
        why = "an unhealthy service is not visible outside the container (HEALTHCHECK NONE disables this finding)"
        do = f"{HEALTHCHECK} (podman and buildah keep it only with --format docker)"
        yield (WARNING if official else HINT), start.instruction.line, "there is no HEALTHCHECK", why, do


def _healthcheck_interval(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    """Docker's defaults: every 30 s, the first one after 30 s, unhealthy after 3, no start period."""
    item = image.healthcheck
    if item is None or not start.supervises or "cohabit" not in item.text:
        return
    flags = dict(item.flags)
    late = not {"interval", "start-interval"} & flags.keys()
    if not late and "start-period" in flags:
        return
    reasons = ["the first check runs after 30 s: the container is not healthy before that"] if late else []
    if "start-period" not in flags:
        retries = f"{flags['retries']} checks" if "retries" in flags else "three checks"
        reasons.append(f"a start that takes longer than {retries}, such as a migration, makes the container unhealthy")
    what = f"HEALTHCHECK has Docker's default {'interval' if late else 'start period'}"
    do = f"{HEALTHCHECK} ({START_INTERVAL})"
    yield HINT, item.line, what, "; ".join(reasons), do


def _healthcheck_program(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if image.healthcheck is None:
        return
    text = " ".join(image.healthcheck.argv) if image.healthcheck.argv else image.healthcheck.text
    found = _FETCHERS.search(text)
    if found and not re.search(rf"\b{found[1]}\b", image.installed):
        without = known.WITHOUT_CURL if found[1] == "curl" else known.WITHOUT_WGET
        name, tag = split(image.base)
        if name in without and (not without[name] or any(word in tag for word in without[name])):
            what = f"HEALTHCHECK needs {found[1]}, which {image.base} does not contain"
            why = "no instruction installs it by that name; a check that cannot run is unhealthy"
            yield HINT, image.healthcheck.line, what, why, HEALTHCHECK if start.supervises else f"install {found[1]}"


def _volume(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    for volume in image.volumes if start.supervises else ():
        if volume.value.rstrip("/") in _RUN_DIRECTORIES:
            why = "sockets and pid files in a volume outlive the processes that created them"
            yield WARNING, volume.line, f"VOLUME {volume.value}", why, "remove it, or docker run --tmpfs /run"


def _directories(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if not start.supervises:
        return
    user = image.user.value.partition(":")[0] if image.user else ""
    if not image.user or not user or user in ("0", "root") or "$" in user:
        return
    if "/run/cohabit" not in image.installed and "COHABIT_RUNTIME_DIR" not in image.environment:
        why = "if only root can write to /run, the control socket is in /tmp, or in /dev/shm if /tmp is read-only"
        do = f"to have it in /run: RUN install -d -o {user} /run/cohabit, before this line"
        yield HINT, image.user.line, f"the container runs as {user}", why, do


CHECKS: tuple[tuple[str, Callable[[Image, StartCommand], Iterator[FindingFields]]], ...] = (
    ("json-form", _almost_json),
    ("shell-form-entrypoint", _shell_entrypoint),
    ("shell-before-cohabit", _shell_before_cohabit),
    ("python-not-isolated", _not_isolated),
    ("shell-form-cmd", _shell_form_cmd),
    ("single-string", _single_string),
    ("shell-syntax-in-exec-form", _shell_syntax),
    ("other-init", _other_process_1),
    ("no-command", _nothing_to_do),
    ("instruction-not-used", _overridden),
    ("no-entrypoint", _replaced),
    ("stop-signal", _stop_signal),
    ("healthcheck-missing", _healthcheck_missing),
    ("healthcheck-interval", _healthcheck_interval),
    ("healthcheck-program", _healthcheck_program),
    ("volume-run", _volume),
    ("runtime-directory", _directories),
)
