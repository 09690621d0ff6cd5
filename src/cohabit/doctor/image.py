"""Check the image of a Dockerfile for problems with several services. Pure.

Each check is a function of the Image and its start command. What cannot be decided leads to no finding. known.py has
the tables of images and programs.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor import known
from cohabit.doctor.findings import ERROR, HINT, WARNING, Finding
from cohabit.doctor.shellwords import IDLE, commands
from cohabit.plan.draft import SourceLocation
from cohabit.plan.record import Record
from cohabit.units import parse_signal, signal_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.doctor.dockerfile import Image, Instruction
    from cohabit.doctor.shellwords import Command

FindingFields: TypeAlias = tuple[str, int, str, str, str]  # level, line, what, why, do
_ENTRYPOINT = 'ENTRYPOINT ["cohabit", "up", "--"]'
_HEALTHCHECK = 'HEALTHCHECK CMD ["cohabit", "health"]'
_STOPS_US = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGPWR", "SIGRTMIN+3"})
_NO_STOP = {
    "SIGHUP": "it makes cohabit reload its file, so `docker stop` ends with SIGKILL",
    "SIGKILL": "it kills all processes at once: no service is stopped gracefully",
}
_FOREVER_ARGUMENTS = frozenset({"infinity", "inf", "/dev/null"})
_RUN_DIRECTORIES = ("/run", "/var/run")
_FETCHERS = re.compile(r"(?:^|[\s;&|(/'\"])(curl|wget)(?=\s)")
_LIST = re.compile(r"\[(?!\[).*\]$|\[[\"'“]", re.DOTALL)
_OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<"})


class StartCommand(Record):
    """The start command of a container of the image.

    instruction: the one that decides; None for that of the base image. argv: the exec form, ENTRYPOINT followed by CMD.
    shell: the script of a shell that is process 1, "" if there is none. cohabit: the arguments of cohabit; None if
    cohabit is not started. prefix: the arguments before it.
    """

    instruction: Instruction | None = None
    argv: tuple[str, ...] = ()
    shell: str = ""
    cohabit: tuple[str, ...] | None = None
    prefix: tuple[str, ...] = ()

    @property
    def supervises(self) -> bool:
        """Whether it is cohabit with several services, not `cohabit init`."""
        return self.cohabit is not None and self.cohabit[:1] != ("init",)


def examine(image: Image, file: str) -> list[Finding]:
    """Return the findings; `file` is its name in places."""
    start = _start(image)
    found: list[Finding] = []
    for check in _CHECKS:
        found += [Finding(level, SourceLocation(file, line), *texts) for level, line, *texts in check(image, start)]
    return found


def _start(image: Image) -> StartCommand:
    """Combine ENTRYPOINT and CMD as Docker does."""
    first = image.entrypoint if image.entrypoint and (image.entrypoint.argv or image.entrypoint.text) else None
    if first and first.argv == ():
        first = None
    instruction = first or image.cmd
    if instruction is None or (instruction.argv is None and not instruction.text):
        return StartCommand()
    if instruction.argv is None:
        return _through_shell(instruction, (), instruction.text)
    argv = instruction.argv
    if first and image.cmd:
        argv += ("/bin/sh", "-c", image.cmd.text) if image.cmd.argv is None else image.cmd.argv
    text = _shell_text(argv)
    if text:
        return _through_shell(instruction, argv, text)
    if first and first.argv and image.cmd and _place_of_cohabit(first.argv) is None:
        text = image.cmd.text if image.cmd.argv is None else _shell_text(image.cmd.argv)
        if text and not (image.cmd.argv is None and _LIST.match(text)):
            start = _through_shell(image.cmd, argv, text)
            return start.replace(prefix=(*first.argv, *start.prefix)) if start.cohabit is not None else start
    at = _place_of_cohabit(argv)
    if at is None:
        return StartCommand(instruction, argv)
    return StartCommand(instruction, argv, "", argv[at[1] :], argv[: at[0]])


def _through_shell(instruction: Instruction, argv: tuple[str, ...], text: str) -> StartCommand:
    for command in commands(text):
        at = _place_of_cohabit(command.argv)
        if at is not None:
            return StartCommand(instruction, argv, text, command.argv[at[1] :], command.argv[: at[0]])
    return StartCommand(instruction, argv, text)


def _shell_text(argv: Sequence[str]) -> str:
    """TEXT of `sh -c TEXT`, also with other options; "" for other commands."""
    if argv and _name(argv[0]) in known.SHELLS:
        for at, word in enumerate(argv[1:], 1):
            if not word.startswith("-"):
                return ""
            if word.endswith("c") and not word.startswith("--"):
                return argv[at + 1] if at + 1 < len(argv) else ""
    return ""


def _place_of_cohabit(argv: Sequence[str]) -> tuple[int, int] | None:
    """The indexes of `cohabit` (or of python3 in `python3 -m cohabit`) and of its first argument."""
    for at, word in enumerate(argv):
        if _name(word) == "cohabit":
            module = at >= 2 and argv[at - 1] == "-m"  # noqa: PLR2004 - python3 -m cohabit
            begin = (
                next((i for i in range(at - 1, -1, -1) if _name(argv[i]).startswith("python")), at) if module else at
            )
            return begin, at + 1
    return None


def _name(word: str) -> str:
    return word.rpartition("/")[2]


def _json_form(name: str, argv: Sequence[str]) -> str:
    """An instruction in its JSON form."""
    return f"{name} {json.dumps(list(argv), ensure_ascii=False)}"


# --- the command -----------------------------------------------------------------------------------------


def _almost_json(image: Image, _start: StartCommand) -> Iterator[FindingFields]:
    """A [...] that is not JSON: Docker runs it as a shell command."""
    for item in (image.entrypoint, image.cmd):
        if item and item.argv is None and _LIST.match(item.text):
            argv = re.findall(r"""["'“”]([^"'“”]*)["'“”]""", item.text) or re.findall(r"[^\[\],\s]+", item.text)
            why = "it is not JSON (use double quotes, no trailing comma), so a shell runs it and does not find `[…`"
            yield ERROR, item.line, f"{item.name} looks like a list but is not JSON", why, _json_form(item.name, argv)


def _shell_form(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    item = start.instruction
    if not item or not start.shell or (item.argv is None and _LIST.match(item.text)):
        return
    found = commands(start.shell)
    services = [command for command in found if command.argv and command.program not in IDLE]
    if any(command.operator == "&" for command in found):
        why = "they do not receive TERM from `docker stop` and get SIGKILL; if one fails, nothing notices"
        yield (
            ERROR,
            item.line,
            f"the shell of {item.name} starts services in the background",
            why,
            _run_command(services),
        )
    elif start.cohabit is None and found and _waits_forever(found[-1]) and services:
        why = "nothing supervises the programs started before, and `docker stop` ends with SIGKILL"
        yield (
            ERROR,
            item.line,
            f"{item.name} keeps the container alive with {found[-1].program}",
            why,
            _run_command(services),
        )
    elif start.cohabit is not None:
        yield from _shell_before_cohabit(item, start, found)
    if item is image.entrypoint and item.argv is None and start.cohabit is not None:
        why = "CMD and the arguments after IMAGE in `docker run IMAGE …` are ignored"
        yield HINT, item.line, "ENTRYPOINT is in shell form", why, _exec_form("ENTRYPOINT", start.shell)


def _shell_before_cohabit(item: Instruction, start: StartCommand, found: list[Command]) -> Iterator[FindingFields]:
    ours = next(command for command in found if _place_of_cohabit(command.argv) is not None)
    if ours.execs and not ours.operator:
        return
    where = f"runs between {start.prefix[0]} and cohabit" if start.prefix else "is process 1, and cohabit is its child"
    what = f"a shell {where} ({item.name})"
    if len(found) == 1:
        why = "some shells (busybox, older dash) do not exec it and ignore TERM: `docker stop` then ends with SIGKILL"
        yield WARNING, item.line, what, why, _exec_form(item.name, start.shell)
    else:
        why = "the shell does not forward TERM: `docker stop` ends with SIGKILL for all processes"
        text = f"{start.shell[: ours.words[0].start]}exec {start.shell[ours.words[0].start :]}"
        do = _json_form(item.name, ("sh", "-c", text)) if not ours.operator else _json_form(item.name, ours.argv)
        yield ERROR, item.line, what, why, f"{do}, or use a pre_start hook for the commands before it"


def _exec_form(name: str, text: str) -> str:
    """The JSON form of a simple command; with `sh -c exec` if it requires a shell."""
    (command, *_) = commands(text)
    plain = not any(letter in word.bare for word in command.words for letter in "$`*?<>~") and not command.execs
    if plain and len(command.argv) == len(command.words):
        return _json_form(name, command.argv)
    return _json_form(name, ("sh", "-c", text if command.execs else f"exec {text}"))


def _waits_forever(command: Command) -> bool:
    return command.program in ("sleep", "tail") and bool(_FOREVER_ARGUMENTS.intersection(command.argv))


def _run_command(services: list[Command]) -> str:
    argv = [
        " ".join(word.text if "\0" not in word.bare else json.dumps(word.text) for word in one.words)
        for one in services
    ]
    return _json_form("CMD", ("cohabit", "run", *argv))


def _not_isolated(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    """`python3 -m cohabit` without -I imports a cohabit.py from the working directory."""
    del image
    for argv in [command.argv for command in commands(start.shell)] if start.shell else [start.argv]:
        at = _place_of_cohabit(argv)
        if start.instruction and at and at[1] - at[0] > 1 and "-I" not in argv[at[0] : at[1]]:
            why = "Python imports from the working directory first: a cohabit.py there would run as process 1"
            do = _json_form(start.instruction.name, (*argv[: at[0] + 1], "-I", *argv[at[0] + 1 : at[1]], "…"))
            yield WARNING, start.instruction.line, "python -m cohabit without -I", why, do
            return


def _shell_form_cmd(image: Image, _start: StartCommand) -> Iterator[FindingFields]:
    """CMD in shell form with an ENTRYPOINT in exec form adds the arguments /bin/sh, -c and the text."""
    if image.entrypoint and image.entrypoint.argv and image.cmd and image.cmd.argv is None and image.cmd.text:
        if _place_of_cohabit(image.entrypoint.argv) is None or _LIST.match(image.cmd.text):
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
            _json_form("CMD", image.cmd.text.split()),
        )


def _exec_form_text(_image: Image, start: StartCommand) -> Iterator[FindingFields]:
    """Shell syntax in the exec form, and a whole command in one string."""
    item = start.instruction
    if not item or start.shell or not item.argv:
        return
    first = item.argv[0]
    if " " in first and "/" not in first.split()[0] and len(item.argv) == 1:
        why = f"it is the name of a program, {json.dumps(first)}: write each argument as a string of its own"
        yield ERROR, item.line, f"{item.name} is a single string", why, _json_form(item.name, first.split())
    elif start.cohabit is not None and start.cohabit[:1] == ("up",):
        for word in start.cohabit:
            if word in _OPERATORS or re.match(r"\$\{?[A-Za-z_]", word):
                why = "the exec form is run without a shell: it is passed literally"
                do = _json_form(item.name, ("sh", "-c", f"exec {' '.join(start.argv)}"))
                yield ERROR, item.line, f"{word!r} is an argument of cohabit", why, do


def _other_process_1(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    """Another init or a script is process 1 instead of cohabit."""
    item = start.instruction
    if not item or start.cohabit is None:
        return
    line = image.entrypoint.line if image.entrypoint and image.entrypoint.argv else item.line
    fix = _json_form(item.name, item.argv[len(start.prefix) :]) if item.argv and not start.shell else _ENTRYPOINT
    if item.argv and not start.shell and len(start.prefix) >= len(item.argv):
        fix = _json_form("ENTRYPOINT", start.argv[len(start.prefix) :])
    argv = list(start.prefix)
    while argv and _name(argv[0]) in known.EXEC_WRAPPERS:
        argv = _after_wrapper(argv)
    if argv:
        name = _name(argv[0])
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
        else:
            why = "cohabit receives TERM only if the script execs it"
            do = f'end {argv[0]} with: exec "$@" (or make it a pre_start hook)'
            yield HINT, line, f"the script {argv[0]} starts cohabit", why, do
    inherited = [base.init for base in _bases(image.base) if base.init]
    if inherited and image.entrypoint is None:
        init = known.INITS["s6-svscan"] if inherited[0] == known.S6_PATH else known.INITS[inherited[0]]
        what = f"process 1 is {inherited[0]}, the ENTRYPOINT of {image.base}, not cohabit"
        yield (
            WARNING,
            item.line,
            what,
            f"it {init.behaviour}; cohabit is an init itself",
            _json_form("ENTRYPOINT", start.argv),
        )


def _after_wrapper(argv: list[str]) -> list[str]:
    """The init or script that a program of EXEC_WRAPPERS runs; [] if none is recognised."""
    rest = argv[1:]
    for at, word in enumerate(rest):
        if _name(word) in known.INITS or word == known.S6_PATH or word.endswith(".sh"):
            return rest[at:]
    return []


def _other_supervisor(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if start.cohabit is not None or (start.instruction and _is_reported_elsewhere(start)):
        return
    item = start.instruction
    line = item.line if item else image.line
    argv = [*start.argv]
    if start.shell:
        found = commands(start.shell)
        argv = list(found[-1].argv) if found else []
    while argv and (_name(argv[0]) in known.EXEC_WRAPPERS or _is_relay(argv[0])) and len(argv) > 1:
        argv = [word for word in argv[1:] if not word.startswith("-")]
    init = known.INITS.get(_name(argv[0])) if argv else None
    if argv and argv[0] == known.S6_PATH:
        init = known.INITS["s6-svscan"]
    if init and init.kind == known.SUPERVISOR:
        yield WARNING, line, f"{argv[0]} runs the services", f"it {init.behaviour}", _ENTRYPOINT
        return
    what = f"{argv[0]} is what the container runs" if argv else "what the container runs is the base image's own"
    yield HINT, line, f"{what}, not cohabit", "no supervisor manages the services", _ENTRYPOINT


def _is_relay(word: str) -> bool:
    return _name(word) in known.INITS and known.INITS[_name(word)].kind == known.RELAY


def _is_reported_elsewhere(start: StartCommand) -> bool:
    """Whether _shell_form, _almost_json or _exec_form_text reports it."""
    item = start.instruction
    if item and item.argv is None and _LIST.match(item.text):
        return True
    found = commands(start.shell)
    if any(one.operator == "&" for one in found) or (found and _waits_forever(found[-1]) and len(found) > 1):
        return True
    return bool(item and item.argv and len(item.argv) == 1 and " " in item.argv[0])


def _nothing_to_do(_image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if start.instruction and start.cohabit == () and not start.shell:
        why = "`docker run IMAGE` prints the help and exits with 64"
        yield WARNING, start.instruction.line, "cohabit is started without a command", why, 'CMD ["up"]'


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
    if image.cmd and alone and start.cohabit and start.cohabit[0] == "up":
        why = "`docker run IMAGE bash` runs bash instead of the services; after `up --` it is one more service"
        do = _json_form("ENTRYPOINT", (*start.argv, "--"))
        yield HINT, image.cmd.line, "cohabit is in CMD, without ENTRYPOINT", why, do


# --- the rest --------------------------------------------------------------------------------------------


def _bases(image: str) -> list[known.Base]:
    """The rows of known.BASES for an image."""
    name, tag = _split(image)
    rows = [
        row
        for key, rows in known.BASES.items()
        if name == key or (key[-1] in "/-" and name.startswith(key))
        for row in rows
    ]
    return [
        row
        for row in rows
        if (not row.tags or any(word in tag for word in row.tags)) and not any(word in tag for word in row.not_tags)
    ]


def _split(image: str) -> tuple[str, str]:
    """The name of an image without registry and library/, and its tag."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    name, _, tag = name.partition(":")
    return name.removeprefix("library/"), tag


def _stop_signal(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if not start.supervises:
        return
    inherited = next((row.stop_signal for row in _bases(image.base) if row.stop_signal), "")
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


def _healthcheck(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if image.healthcheck is None:
        official = image.base and "/" not in image.base.removeprefix("docker.io/").removeprefix("library/")
        if start.supervises and start.instruction:
            why = "an unhealthy service is not visible outside the container (HEALTHCHECK NONE disables this finding)"
            do = f"{_HEALTHCHECK} (podman and buildah keep it only with --format docker)"
            yield (WARNING if official else HINT), start.instruction.line, "there is no HEALTHCHECK", why, do
        return
    found = _FETCHERS.search(
        " ".join(image.healthcheck.argv or ()) if image.healthcheck.argv else image.healthcheck.text
    )
    if found and not re.search(rf"\b{found[1]}\b", image.installed):
        without = known.WITHOUT_CURL if found[1] == "curl" else known.WITHOUT_WGET
        name, tag = _split(image.base)
        if name in without and (not without[name] or any(word in tag for word in without[name])):
            what = f"HEALTHCHECK needs {found[1]}, which {image.base} does not contain"
            why = "no instruction installs it by that name; a check that cannot run is unhealthy"
            yield HINT, image.healthcheck.line, what, why, _HEALTHCHECK if start.supervises else f"install {found[1]}"


def _directories(image: Image, start: StartCommand) -> Iterator[FindingFields]:
    if not start.supervises:
        return
    for volume in image.volumes:
        if volume.value.rstrip("/") in _RUN_DIRECTORIES:
            why = "sockets and pid files in a volume outlive the processes that created them"
            yield WARNING, volume.line, f"VOLUME {volume.value}", why, "remove it, or docker run --tmpfs /run"
    user = image.user.value.partition(":")[0] if image.user else ""
    if not image.user or not user or user in ("0", "root") or "$" in user:
        return
    if "/run/cohabit" not in image.installed and "COHABIT_RUNTIME_DIR" not in image.environment:
        why = "if only root can write to /run, the control socket is in /tmp, or in /dev/shm if /tmp is read-only"
        do = f"to have it in /run: RUN install -d -o {user} /run/cohabit, before this line"
        yield HINT, image.user.line, f"the container runs as {user}", why, do


_CHECKS = (
    _almost_json,
    _shell_form,
    _not_isolated,
    _shell_form_cmd,
    _exec_form_text,
    _other_process_1,
    _other_supervisor,
    _nothing_to_do,
    _overridden,
    _replaced,
    _stop_signal,
    _healthcheck,
    _directories,
)
