"""What is wrong with the image that a Dockerfile makes, for several services. Pure.

Each check is a function of the Image and of how it starts; silence is the answer to everything that it cannot tell.
What is known of other images and programs is in known.py.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor import known
from cohabit.doctor.findings import ERROR, HINT, WARNING, Finding
from cohabit.doctor.shellwords import IDLE, commands
from cohabit.plan.record import Record
from cohabit.units import parse_signal, signal_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.doctor.dockerfile import Image, Instruction
    from cohabit.doctor.shellwords import Command

Verdict: TypeAlias = tuple[str, int, str, str, str]  # level, line, what, why, do
_ENTRYPOINT = 'ENTRYPOINT ["cohabit", "up", "--"]'
_HEALTHCHECK = 'HEALTHCHECK CMD ["cohabit", "health"]'
_STOPS_US = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGPWR", "SIGRTMIN+3"})
_NO_STOP = {
    "SIGHUP": "that makes cohabit read its file again, so `docker stop` ends in SIGKILL",
    "SIGKILL": "that kills everybody at once: no service is asked to stop",
}
_FOR_EVER = frozenset({"infinity", "inf", "/dev/null"})
_RUN_DIRECTORIES = ("/run", "/var/run")
_FETCHERS = re.compile(r"(?:^|[\s;&|(/'\"])(curl|wget)(?=\s)")
_LIST = re.compile(r"\[(?!\[).*\]$|\[[\"'“]", re.DOTALL)
_OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<"})


class StartCommand(Record):
    """How a container of the image starts.

    instruction: the one that decides, None when the base image's own is left. words: of the exec form, CMD's behind
    ENTRYPOINT's. shell: the text that a shell reads first of all, "" when none does. cohabit: the words behind
    "cohabit", None when it is not what is started. before: the words in front of it.
    """

    instruction: Instruction | None = None
    words: tuple[str, ...] = ()
    shell: str = ""
    cohabit: tuple[str, ...] | None = None
    before: tuple[str, ...] = ()

    @property
    def supervises(self) -> bool:
        """Whether it is cohabit with several services, not as an init for one."""
        return self.cohabit is not None and self.cohabit[:1] != ("init",)


def examine(image: Image, file: str) -> list[Finding]:
    """Everything that is wrong; `file` is how its places are named."""
    start = _start(image)
    found: list[Finding] = []
    for check in _CHECKS:
        found += [Finding(level, f"{file}:{line}", *texts) for level, line, *texts in check(image, start)]
    return found


def _start(image: Image) -> StartCommand:
    """ENTRYPOINT and CMD, put together as Docker does."""
    first = image.entrypoint if image.entrypoint and (image.entrypoint.words or image.entrypoint.text) else None
    if first and first.words == ():
        first = None
    instruction = first or image.cmd
    if instruction is None or (instruction.words is None and not instruction.text):
        return StartCommand()
    if instruction.words is None:
        return _through_shell(instruction, (), instruction.text)
    words = instruction.words
    if first and image.cmd:
        words += ("/bin/sh", "-c", image.cmd.text) if image.cmd.words is None else image.cmd.words
    text = _shell_text(words)
    if text:
        return _through_shell(instruction, words, text)
    if first and first.words and image.cmd and _place_of_cohabit(first.words) is None:
        text = image.cmd.text if image.cmd.words is None else _shell_text(image.cmd.words)
        if text and not (image.cmd.words is None and _LIST.match(text)):
            start = _through_shell(image.cmd, words, text)
            return start.replace(before=(*first.words, *start.before)) if start.cohabit is not None else start
    at = _place_of_cohabit(words)
    if at is None:
        return StartCommand(instruction, words)
    return StartCommand(instruction, words, "", words[at[1] :], words[: at[0]])


def _through_shell(instruction: Instruction, words: tuple[str, ...], text: str) -> StartCommand:
    for command in commands(text):
        at = _place_of_cohabit(command.argv)
        if at is not None:
            return StartCommand(instruction, words, text, command.argv[at[1] :], command.argv[: at[0]])
    return StartCommand(instruction, words, text)


def _shell_text(words: Sequence[str]) -> str:
    """TEXT of `sh -c TEXT`, also with other options; "" if these words are none of that."""
    if words and _name(words[0]) in known.SHELLS:
        for at, word in enumerate(words[1:], 1):
            if not word.startswith("-"):
                return ""
            if word.endswith("c") and not word.startswith("--"):
                return words[at + 1] if at + 1 < len(words) else ""
    return ""


def _place_of_cohabit(words: Sequence[str]) -> tuple[int, int] | None:
    """Where `cohabit` (or `python3 -m cohabit`) begins and where its own words do."""
    for at, word in enumerate(words):
        if _name(word) == "cohabit":
            module = at >= 2 and words[at - 1] == "-m"  # noqa: PLR2004 - python3 -m cohabit
            begin = (
                next((i for i in range(at - 1, -1, -1) if _name(words[i]).startswith("python")), at) if module else at
            )
            return begin, at + 1
    return None


def _name(word: str) -> str:
    return word.rpartition("/")[2]


def _listed(name: str, words: Sequence[str]) -> str:
    """An instruction in its JSON form."""
    return f"{name} {json.dumps(list(words), ensure_ascii=False)}"


# --- the command -----------------------------------------------------------------------------------------


def _almost_json(image: Image, _start: StartCommand) -> Iterator[Verdict]:
    """[...] that is no JSON: Docker takes it for a shell command, without a word."""
    for item in (image.entrypoint, image.cmd):
        if item and item.words is None and _LIST.match(item.text):
            words = re.findall(r"""["'“”]([^"'“”]*)["'“”]""", item.text) or re.findall(r"[^\[\],\s]+", item.text)
            why = "it is no JSON (double quotes, no comma at the end), so a shell gets it all and cannot find `[…`"
            yield ERROR, item.line, f"{item.name} looks like a list but is none", why, _listed(item.name, words)


def _shell_form(image: Image, start: StartCommand) -> Iterator[Verdict]:
    """A shell as process 1."""
    item = start.instruction
    if not item or not start.shell or (item.words is None and _LIST.match(item.text)):
        return
    found = commands(start.shell)
    services = [command for command in found if command.argv and command.program not in IDLE]
    if any(command.operator == "&" for command in found):
        why = "`docker stop` never reaches them: they get SIGKILL, and one that dies is not noticed"
        yield ERROR, item.line, f"the shell of {item.name} starts services in the background", why, _run(services)
    elif start.cohabit is None and found and _idles_for_ever(found[-1]) and services:
        why = "nothing watches what was started before, and `docker stop` ends in SIGKILL"
        yield ERROR, item.line, f"{item.name} keeps the container alive with {found[-1].program}", why, _run(services)
    elif start.cohabit is not None:
        yield from _shell_before_cohabit(item, start, found)
    if item is image.entrypoint and item.words is None and start.cohabit is not None:
        why = "CMD, and what stands behind IMAGE in `docker run IMAGE …`, is ignored"
        yield HINT, item.line, "ENTRYPOINT is in shell form", why, _exec_form("ENTRYPOINT", start.shell)


def _shell_before_cohabit(item: Instruction, start: StartCommand, found: list[Command]) -> Iterator[Verdict]:
    ours = next(command for command in found if _place_of_cohabit(command.argv) is not None)
    if ours.execs and not ours.operator:
        return
    where = f"stands between {start.before[0]} and cohabit" if start.before else "is process 1, and cohabit its child"
    what = f"a shell {where} ({item.name})"
    if len(found) == 1:
        why = "some shells (busybox, older dash) stay in front and swallow TERM: `docker stop` then ends in SIGKILL"
        yield WARNING, item.line, what, why, _exec_form(item.name, start.shell)
    else:
        why = "the shell does not pass TERM on: `docker stop` ends in SIGKILL for everybody"
        text = f"{start.shell[: ours.words[0].start]}exec {start.shell[ours.words[0].start :]}"
        do = _listed(item.name, ("sh", "-c", text)) if not ours.operator else _listed(item.name, ours.argv)
        yield ERROR, item.line, what, why, f"{do}, or what comes before it as a pre_start hook"


def _exec_form(name: str, text: str) -> str:
    """The JSON form of a simple command; through a shell that execs when it needs one."""
    (command, *_) = commands(text)
    plain = not any(letter in word.bare for word in command.words for letter in "$`*?<>~") and not command.execs
    if plain and len(command.argv) == len(command.words):
        return _listed(name, command.argv)
    return _listed(name, ("sh", "-c", text if command.execs else f"exec {text}"))


def _idles_for_ever(command: Command) -> bool:
    return command.program in ("sleep", "tail") and bool(_FOR_EVER.intersection(command.argv))


def _run(services: list[Command]) -> str:
    words = [
        " ".join(word.text if "\0" not in word.bare else json.dumps(word.text) for word in one.words)
        for one in services
    ]
    return _listed("CMD", ("cohabit", "run", *words))


def _not_isolated(image: Image, start: StartCommand) -> Iterator[Verdict]:
    """`python3 -m cohabit` without -I: a cohabit.py in the working directory would be process 1."""
    del image
    for words in [command.argv for command in commands(start.shell)] if start.shell else [start.words]:
        at = _place_of_cohabit(words)
        if start.instruction and at and at[1] - at[0] > 1 and "-I" not in words[at[0] : at[1]]:
            why = "Python imports from the working directory first: a cohabit.py there would run as process 1"
            do = _listed(start.instruction.name, (*words[: at[0] + 1], "-I", *words[at[0] + 1 : at[1]], "…"))
            yield WARNING, start.instruction.line, "python -m cohabit without -I", why, do
            return


def _shell_behind_entrypoint(image: Image, _start: StartCommand) -> Iterator[Verdict]:
    """CMD in shell form behind an ENTRYPOINT in exec form: its words are /bin/sh, -c and the text."""
    if image.entrypoint and image.entrypoint.words and image.cmd and image.cmd.words is None and image.cmd.text:
        if _place_of_cohabit(image.entrypoint.words) is None or _LIST.match(image.cmd.text):
            return
        last = image.entrypoint.words[-1]
        if last == "--":
            return  # one service more, by way of a shell
        why = f"{last} gets the words /bin/sh, -c and {json.dumps(image.cmd.text)} as its arguments"
        yield (
            ERROR,
            image.cmd.line,
            "CMD is in shell form, behind an ENTRYPOINT",
            why,
            _listed("CMD", image.cmd.text.split()),
        )


def _words(_image: Image, start: StartCommand) -> Iterator[Verdict]:
    """Words of the exec form that only a shell would understand, and a command in one word."""
    item = start.instruction
    if not item or start.shell or not item.words:
        return
    first = item.words[0]
    if " " in first and "/" not in first.split()[0] and len(item.words) == 1:
        why = f"there is no program with the name {json.dumps(first)}: each word is a string of its own"
        yield ERROR, item.line, f"{item.name} is one single word", why, _listed(item.name, first.split())
    elif start.cohabit is not None and start.cohabit[:1] == ("up",):
        for word in start.cohabit:
            if word in _OPERATORS or re.match(r"\$\{?[A-Za-z_]", word):
                why = "no shell reads the exec form: it is passed as it stands"
                do = _listed(item.name, ("sh", "-c", f"exec {' '.join(start.words)}"))
                yield ERROR, item.line, f"{word!r} is an argument of cohabit", why, do


def _in_front(image: Image, start: StartCommand) -> Iterator[Verdict]:
    """Another init, or a script, that is process 1 in place of cohabit."""
    item = start.instruction
    if not item or start.cohabit is None:
        return
    line = image.entrypoint.line if image.entrypoint and image.entrypoint.words else item.line
    mend = _listed(item.name, item.words[len(start.before) :]) if item.words and not start.shell else _ENTRYPOINT
    if item.words and not start.shell and len(start.before) >= len(item.words):
        mend = _listed("ENTRYPOINT", start.words[len(start.before) :])
    words = list(start.before)
    while words and _name(words[0]) in known.BECOMES_ITS_COMMAND:
        words = _behind(words)
    if words:
        name = _name(words[0])
        init = known.INITS["s6-svscan"] if words[0] == known.S6_PATH else known.INITS.get(name)
        if init and init.kind != known.SHELL:
            what = f"{words[0]} is process 1, in front of cohabit"
            yield WARNING, line, what, f"it {init.does}; cohabit is an init itself", mend
        elif name in known.STAYS_IN_FRONT:
            why = "it stays there as cohabit's parent, and signals may end with it"
            yield (
                WARNING,
                line,
                f"{words[0]} is process 1, in front of cohabit",
                why,
                f"{mend}, with user: in the file",
            )
        else:
            why = "TERM reaches cohabit only if the script becomes it"
            do = f'let {words[0]} end with: exec "$@" (or make it a pre_start hook)'
            yield HINT, line, f"the script {words[0]} is process 1, in front of cohabit", why, do
    inherited = [base.init for base in _bases(image.base) if base.init]
    if inherited and image.entrypoint is None:
        init = known.INITS["s6-svscan"] if inherited[0] == known.S6_PATH else known.INITS[inherited[0]]
        what = f"{image.base} has {inherited[0]} as its ENTRYPOINT, in front of cohabit"
        yield WARNING, item.line, what, f"it {init.does}; cohabit is an init itself", _listed("ENTRYPOINT", start.words)


def _behind(words: list[str]) -> list[str]:
    """What follows a program of BECOMES_ITS_COMMAND and its arguments, as far as names tell."""
    rest = words[1:]
    for at, word in enumerate(rest):
        if _name(word) in known.INITS or word == known.S6_PATH or word.endswith(".sh"):
            return rest[at:]
    return []


def _other_supervisor(image: Image, start: StartCommand) -> Iterator[Verdict]:
    """It is not cohabit that is started."""
    if start.cohabit is not None or (start.instruction and _is_told_elsewhere(start)):
        return
    item = start.instruction
    line = item.line if item else image.line
    words = [*start.words]
    if start.shell:
        found = commands(start.shell)
        words = list(found[-1].argv) if found else []
    while words and (_name(words[0]) in known.BECOMES_ITS_COMMAND or _is_relay(words[0])) and len(words) > 1:
        words = [word for word in words[1:] if not word.startswith("-")]
    init = known.INITS.get(_name(words[0])) if words else None
    if words and words[0] == known.S6_PATH:
        init = known.INITS["s6-svscan"]
    if init and init.kind == known.SUPERVISOR:
        yield WARNING, line, f"{words[0]} runs the services", f"it {init.does}", _ENTRYPOINT
        return
    what = f"{words[0]} is what the container runs" if words else "what the container runs is the base image's own"
    yield HINT, line, f"{what}, not cohabit", "nothing here looks after several services", _ENTRYPOINT


def _is_relay(word: str) -> bool:
    return _name(word) in known.INITS and known.INITS[_name(word)].kind == known.RELAY


def _is_told_elsewhere(start: StartCommand) -> bool:
    """_shell_form or _almost_json or _words has told what is wrong with it."""
    item = start.instruction
    if item and item.words is None and _LIST.match(item.text):
        return True
    found = commands(start.shell)
    if any(one.operator == "&" for one in found) or (found and _idles_for_ever(found[-1]) and len(found) > 1):
        return True
    return bool(item and item.words and len(item.words) == 1 and " " in item.words[0])


def _nothing_to_do(_image: Image, start: StartCommand) -> Iterator[Verdict]:
    """`cohabit` alone."""
    if start.instruction and start.cohabit == () and not start.shell:
        why = "`docker run IMAGE` prints the help and ends with 64"
        yield WARNING, start.instruction.line, "cohabit is started without a verb", why, 'CMD ["up"]'


def _overridden(image: Image, _start: StartCommand) -> Iterator[Verdict]:
    for earlier, later in image.overridden:
        what = f"this {earlier.name} is not used: line {later.line} has another one"
        what_it_does = f"only the last {earlier.name} counts"
        services = earlier.name == "CMD"
        do = (
            "one service for each in cohabit.yaml, and one CMD"
            if services
            else f"remove this line, or line {later.line}"
        )
        yield (ERROR if services else WARNING), earlier.line, what, what_it_does, do


def _replaced(image: Image, start: StartCommand) -> Iterator[Verdict]:
    """CMD alone: what people type behind the image's name comes in its place."""
    alone = image.entrypoint is None and not start.shell and start.cohabit and "--" not in start.cohabit
    if image.cmd and alone and start.cohabit and start.cohabit[0] == "up":
        why = "`docker run IMAGE bash` starts bash instead, and no service; behind `up --` it is one service more"
        do = _listed("ENTRYPOINT", (*start.words, "--"))
        yield HINT, image.cmd.line, "cohabit is in CMD, and there is no ENTRYPOINT", why, do


# --- the rest --------------------------------------------------------------------------------------------


def _bases(image: str) -> list[known.Base]:
    """What is known of an image that others are FROM."""
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
    """(name without registry and library/, tag) of an image."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    name, _, tag = name.partition(":")
    return name.removeprefix("library/"), tag


def _stop_signal(image: Image, start: StartCommand) -> Iterator[Verdict]:
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
        yield ERROR, line, f"{whose} {written}", "there is no such signal", "STOPSIGNAL SIGTERM"
        return
    if name not in _STOPS_US:
        why = _NO_STOP.get(name, "that does not stop cohabit, so `docker stop` ends in SIGKILL")
        yield ERROR, line, f"{whose} {name}", why, "STOPSIGNAL SIGTERM"
    elif not image.stop_signal:
        why = "cohabit takes it as TERM, but it was meant for the one server of that image"
        yield HINT, line, f"{whose} {name}", why, "STOPSIGNAL SIGTERM"


def _healthcheck(image: Image, start: StartCommand) -> Iterator[Verdict]:
    if image.healthcheck is None:
        official = image.base and "/" not in image.base.removeprefix("docker.io/").removeprefix("library/")
        if start.supervises and start.instruction:
            why = "nobody outside learns that a service is unhealthy (HEALTHCHECK NONE says that none is wanted)"
            do = f"{_HEALTHCHECK} (podman and buildah keep it with --format docker only)"
            yield (WARNING if official else HINT), start.instruction.line, "there is no HEALTHCHECK", why, do
        return
    found = _FETCHERS.search(
        " ".join(image.healthcheck.words or ()) if image.healthcheck.words else image.healthcheck.text
    )
    if found and not re.search(rf"\b{found[1]}\b", image.installed):
        without = known.WITHOUT_CURL if found[1] == "curl" else known.WITHOUT_WGET
        name, tag = _split(image.base)
        if name in without and (not without[name] or any(word in tag for word in without[name])):
            what = f"HEALTHCHECK needs {found[1]}, which {image.base} has not"
            why = "no line here installs it by that name; a check that cannot run is unhealthy"
            yield HINT, image.healthcheck.line, what, why, _HEALTHCHECK if start.supervises else f"install {found[1]}"


def _directories(image: Image, start: StartCommand) -> Iterator[Verdict]:
    if not start.supervises:
        return
    for volume in image.volumes:
        if volume.value.rstrip("/") in _RUN_DIRECTORIES:
            why = "each container gets a volume of its own for it; sockets and pid files outlive who made them"
            yield WARNING, volume.line, f"VOLUME {volume.value}", why, "remove it, or docker run --tmpfs /run"
    user = image.user.value.partition(":")[0] if image.user else ""
    if not image.user or not user or user in ("0", "root") or "$" in user:
        return
    if "/run/cohabit" not in image.installed and "COHABIT_RUNTIME_DIR" not in image.environment:
        why = "where only root may write to /run, the control socket is in /tmp, or in /dev/shm if that is read-only"
        do = f"if it is to be found in /run: RUN install -d -o {user} /run/cohabit, above this line"
        yield HINT, image.user.line, f"the container runs as {user}", why, do


_CHECKS = (
    _almost_json,
    _shell_form,
    _not_isolated,
    _shell_behind_entrypoint,
    _words,
    _in_front,
    _other_supervisor,
    _nothing_to_do,
    _overridden,
    _replaced,
    _stop_signal,
    _healthcheck,
    _directories,
)
