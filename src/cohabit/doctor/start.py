"""The start command of an image, and the scripts that it runs before the program that stays. Pure.

ENTRYPOINT and CMD are combined as Docker does. Scripts are opened through `find`, which the caller gives
(context.py: Context.find), and followed as long as they end with `exec`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cohabit.doctor import known, script, sh
from cohabit.doctor.context import File, Unknown
from cohabit.doctor.sh_tokens import UnparsedError
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cohabit.doctor.dockerfile import Image, Instruction
    from cohabit.doctor.script import Conduct

LIST = re.compile(r"\[(?!\[).*\]$|\[[\"'“]", re.DOTALL)
RELAY, GROUP = "relay", "group"  # process 1 above a script: it signals its child only, or the whole process group
_SHEBANG = re.compile(r"#![ \t]*(\S.*)")
_SHELL_NAMES = known.SHELLS | {"mksh"}
_SINGLE_CHILD = frozenset({"-c", "--single-child"})
_OPTIONS_WITH_VALUE = frozenset({"-n", "-e", "-p", "-s", "-c", "-u", "--user"})
_LAUNCHERS = (
    ("bundle", "exec"), ("npx",), ("npm", "exec"), ("yarn",), ("yarn", "run"), ("pnpm", "exec"), ("poetry", "run"),
    ("pipenv", "run"), ("uv", "run"), ("pdm", "run"),
)  # fmt: skip
_FOLLOWED = 8


class StartCommand(Record):
    """The start command of a container of the image.

    instruction: the one that decides; None for that of the base image. argv: the exec form, ENTRYPOINT followed by CMD.
    shell: the script of a shell that is process 1, "" if there is none. cohabit: the arguments of cohabit; None if
    cohabit is not started. prefix: the arguments before it. scripts, final, foreground: of follow.
    """

    instruction: Instruction | None = None
    argv: tuple[str, ...] = ()
    shell: str = ""
    cohabit: tuple[str, ...] | None = None
    prefix: tuple[str, ...] = ()
    scripts: tuple[Script, ...] = ()
    final: tuple[str, ...] = ()
    foreground: frozenset[str] = frozenset()

    @property
    def supervises(self) -> bool:
        """Whether it is cohabit with several services, not `cohabit init`."""
        return self.cohabit is not None and self.cohabit[:1] != ("init",)


def start_command(image: Image) -> StartCommand:
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
    text = shell_text(argv)
    if text:
        return _through_shell(instruction, argv, text)
    if first and first.argv and image.cmd and place_of_cohabit(first.argv) is None:
        text = image.cmd.text if image.cmd.argv is None else shell_text(image.cmd.argv)
        if text and not (image.cmd.argv is None and LIST.match(text)):
            start = _through_shell(image.cmd, argv, text)
            return start.replace(prefix=(*first.argv, *start.prefix)) if start.cohabit is not None else start
    at = place_of_cohabit(argv)
    if at is None:
        return StartCommand(instruction, argv)
    return StartCommand(instruction, argv, "", argv[at[1] :], argv[: at[0]])


def _through_shell(instruction: Instruction, argv: tuple[str, ...], text: str) -> StartCommand:
    found = shell_commands(text)
    if len(found) == 1 and not found[0].operator and (inner := shell_text(found[0].argv)):
        text, found = inner, shell_commands(inner)  # CMD bash -c "…"
    for command in found:
        at = place_of_cohabit(command.argv)
        if at is not None:
            return StartCommand(instruction, argv, text, command.argv[at[1] :], command.argv[: at[0]])
    return StartCommand(instruction, argv, text)


def shell_text(argv: Sequence[str]) -> str:
    """TEXT of `sh -c TEXT`, also with other options; "" for other commands."""
    if argv and base_name(argv[0]) in known.SHELLS:
        for at, word in enumerate(argv[1:], 1):
            if not word.startswith("-"):
                return ""
            if word.endswith("c") and not word.startswith("--"):
                return argv[at + 1] if at + 1 < len(argv) else ""
    return ""


def place_of_cohabit(argv: Sequence[str]) -> tuple[int, int] | None:
    """The indexes of `cohabit` (or of python3 in `python3 -m cohabit`) and of its first argument."""
    for at, word in enumerate(argv):
        if base_name(word) == "cohabit":
            module = at >= 2 and argv[at - 1] == "-m"  # noqa: PLR2004 - python3 -m cohabit
            begin = (
                next((i for i in range(at - 1, -1, -1) if base_name(argv[i]).startswith("python")), at)
                if module
                else at
            )
            return begin, at + 1
    return None


def base_name(word: str) -> str:
    """Return the name of a program without its directory."""
    return word.rpartition("/")[2]


def shell_commands(text: str) -> list[sh.Simple]:
    """Return all simple commands of a script; [] if it is not understood."""
    try:
        return list(sh.walk(sh.parse(text)))
    except UnparsedError:
        return []


# --- scripts ---------------------------------------------------------------------------------------------


class Script(Record):
    """A script that runs before the program that stays.

    name: its path in the image, "" for the text of an instruction. file, line: its place. conduct: what it does, None
    if it could not be judged: problem says why. arguments: those it gets. above: "" if it is process 1, RELAY or GROUP.
    source: the file, None for the text of an instruction. direct: it is executed as a program, not by a named shell.
    """

    name: str
    file: str
    line: int
    conduct: Conduct | None
    arguments: tuple[str, ...]
    above: str = ""
    problem: str = ""
    source: File | None = None
    direct: bool = False

    def at(self, line: int) -> int:
        """Return the line in `file` of a line of the script; the text of an instruction has one line."""
        return self.line + line - 1 if self.name else self.line


def follow(
    image: Image, start: StartCommand, file: str, find: Callable[[str], File | Unknown], foreground: frozenset[str]
) -> tuple[tuple[Script, ...], tuple[str, ...]]:
    """Return the scripts of a start command, and the command line that stays; () if that is not known.

    file: the name of the Dockerfile. foreground: as of script.conduct.
    """
    scripts: list[Script] = []
    argv = start.argv or (("/bin/sh", "-c", start.shell) if start.shell else ())
    line = start.instruction.line if start.instruction else image.line
    if image.cmd and start.shell and start.argv:
        line = image.cmd.line if start.shell in (image.cmd.text, *(image.cmd.argv or ())) else line
    above, seen, through_shell = "", set[tuple[str, ...]](), False
    while argv and argv not in seen and len(seen) < _FOLLOWED:
        seen.add(argv)
        relay, argv = unwrapped(argv)
        above = relay or above
        if image.environment.get("TINI_KILL_PROCESS_GROUP") and above == RELAY:
            above = GROUP
        found = _script(argv, Script("", file, line, None, (), above), find, foreground) if argv else None
        if found is None:
            return tuple(scripts), argv
        scripts.append(found.replace(direct=found.direct and not through_shell))
        if found.conduct is None:
            rest = found.arguments
            argv = rest if shell_text(rest) or place_of_cohabit(rest) else ()
        elif found.conduct.end == script.EXEC and isinstance(found.conduct.last, sh.Simple):
            argv = _replaced_arguments(found.conduct, found.conduct.last.argv, found.arguments)
        elif found.conduct.end == script.PROGRAM and isinstance(found.conduct.last, sh.Simple):
            argv = _replaced_arguments(found.conduct, found.conduct.last.argv, found.arguments)
            if found.name:
                return tuple(scripts), argv
            through_shell = True
        else:
            return tuple(scripts), ()
    return tuple(scripts), ()


def unwrapped(argv: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return (the kind of init among the programs that only run another one, the command line below them)."""
    above = ""
    for _ in range(len(argv)):
        name = base_name(argv[0])
        init = known.INITS.get(name)
        is_relay = init is not None and init.kind == known.RELAY
        if len(argv) < 2 or not (is_relay or name in known.EXEC_WRAPPERS or _launcher(argv)):  # noqa: PLR2004
            break
        options, rest = _options(argv[_launcher(argv) or 1 :], gosu=name in known.SWITCHES_USER)
        if is_relay:
            single = name != "dumb-init" if not _SINGLE_CHILD.intersection(options) else True
            above = GROUP if not single or (name.startswith("tini") and "-g" in options) else RELAY
        argv = rest
        if not argv:
            break
    return above, argv


def supervisor(argv: tuple[str, ...]) -> known.Init | None:
    """Return the row of another supervisor that a command line starts."""
    if not argv:
        return None
    if argv[0] == known.S6_PATH:
        return known.INITS["s6-svscan"]
    if argv[0] in known.SYSTEM_INITS:
        return known.INITS["systemd"]
    init = known.INITS.get(base_name(argv[0]))
    return init if init is not None and init.kind == known.SUPERVISOR else None


def _launcher(argv: tuple[str, ...]) -> int:
    """The number of words that run a program of a project: `bundle exec`; 0 if there are none."""
    sizes = [len(words) for words in _LAUNCHERS if (base_name(argv[0]), *argv[1 : len(words)]) == words]
    if sizes:
        return max(sizes)
    return 2 if base_name(argv[0]).startswith("python") and argv[1:2] == ("-m",) and argv[2:3] != ("cohabit",) else 0


def _options(argv: tuple[str, ...], *, gosu: bool) -> tuple[list[str], tuple[str, ...]]:
    """(Options and assignments at the beginning, the rest)."""
    left, options = list(argv), []
    while left and (left[0].startswith("-") or "=" in left[0].partition("/")[0]):
        option = left.pop(0)
        options.append(option)
        if option == "--":
            break
        if option in _OPTIONS_WITH_VALUE and left and not left[0].startswith(("-", "/")):
            left.pop(0)
    if gosu and left:
        del left[0]
    return options, tuple(left)


def _script(
    argv: tuple[str, ...], here: Script, find: Callable[[str], File | Unknown], foreground: frozenset[str]
) -> Script | None:
    """The script that a command line runs; None if it is a program. here: its place, and what is above it."""
    if text := shell_text(argv):
        return _judged(here.replace(arguments=argv[argv.index(text) + 1 :]), text, foreground)
    shell = base_name(argv[0]) in known.SHELLS
    at = next((at for at, word in enumerate(argv) if at and not word.startswith("-")), 0) if shell else 0
    if (shell and not at) or "$" in argv[at] or place_of_cohabit(argv[: at + 1]):
        return None
    name, arguments = argv[at], argv[at + 1 :]
    found = find(name)
    if isinstance(found, Unknown):
        if found.provided and (shell or name.endswith((".sh", ".bash"))):
            line = found.line or here.line
            return here.replace(name=name, line=line, arguments=arguments, problem=found.why)
        return here.replace(name=name, arguments=arguments) if name.endswith(".sh") else None
    interpreter = _interpreter(found.text)
    if interpreter:
        relay, inner = unwrapped(tuple(interpreter))
        here = here.replace(above=relay or here.above)
        if base_name((inner or ("",))[0]) not in _SHELL_NAMES and not shell:
            return None
    elif not shell and not name.endswith((".sh", ".bash")):
        return None
    one = here.replace(name=name, file=found.shown, line=found.line, source=found, direct=not shell)
    return _judged(one.replace(arguments=arguments), found.text.replace("\r\n", "\n"), foreground)


def _interpreter(text: str) -> list[str]:
    """The words of the first line `#!…`; [] if there is none."""
    found = _SHEBANG.match(text)
    words = found[1].split() if found else []
    return [word for word in words if base_name(word) not in ("with-contenv", "env") and not word.startswith("-")]


def _judged(one: Script, text: str, foreground: frozenset[str]) -> Script:
    """The script with its conduct, or with the reason why that is not known."""
    try:
        return one.replace(conduct=script.conduct(sh.parse(text), foreground))
    except UnparsedError as error:
        return one.replace(line=one.at(error.line), problem=error.why)


def _replaced_arguments(conduct: Conduct, argv: tuple[str, ...], arguments: tuple[str, ...]) -> tuple[str, ...]:
    """A command line with `$@` replaced; () if its program is not known."""
    if conduct.other_arguments:
        return () if {"$@", "$*", "${@}"}.intersection(argv) or "$" in argv[0] else argv
    done: list[str] = []
    for word in argv:
        if word in ("$@", "$*", "${@}"):
            done += arguments
        else:
            done.append(word)
    return () if not done or "$" in done[0] or "`" in done[0] else tuple(done)
