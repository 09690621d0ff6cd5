"""Parse a Dockerfile into instructions, stages, and the final image. Pure.

It follows BuildKit's parser: directives, comments, line continuations, here-documents, flags, JSON form or shell form,
variables. Only the last stage and the stages in its FROM chain make the image. Any text can be parsed: unknown
instructions are kept separately (syntax.py), and invalid arguments are ignored, since `docker build` reports them.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING

from cohabit.doctor.variables import expand
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_ESCAPES = ("\\", "`")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|$)")
_WITH_FLAGS = frozenset({"FROM", "RUN", "COPY", "ADD", "HEALTHCHECK"})
_WITH_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})
_HEREDOC = re.compile(r"""(?:^|\s)\d*<<(-?)(['"]?)([A-Za-z_][A-Za-z0-9_.-]*)\2(?=\s|$|[;&|>)])""")
_PAIR = re.compile(r"""([A-Za-z_][A-Za-z0-9_.-]*)=((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])*)""", re.DOTALL)
# docs.docker.com/reference/dockerfile; MAINTAINER is deprecated but valid.
INSTRUCTIONS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_CONTAINER_DEFAULTS = frozenset({"CMD", "ENTRYPOINT", "HEALTHCHECK"})


class Instruction(Record):
    """One instruction: its name in capitals, and the line in which it begins.

    text: its arguments without flags, continuation lines joined. argv: the strings of the JSON form; None for the
    shell form. documents: its here-documents, as (delimiter, text).
    """

    name: str
    text: str
    line: int
    argv: tuple[str, ...] | None = None
    flags: tuple[tuple[str, str], ...] = ()
    documents: tuple[tuple[str, str], ...] = ()


class Stage(Record):
    """A FROM and the instructions up to the next one. base: as written; name: after AS, in lower case."""

    base: str
    name: str
    line: int
    instructions: tuple[Instruction, ...] = ()


class Dockerfile(Record):
    """All stages; arguments: the ARG lines before the first one; escape: the escape character.

    unknown: lines whose first word is not an instruction.
    """

    stages: tuple[Stage, ...]
    arguments: tuple[Instruction, ...] = ()
    escape: str = "\\"
    unknown: tuple[Instruction, ...] = ()


class Layer(Record):
    """A COPY, ADD or RUN of the image.

    sources, target: of COPY and ADD, with variables expanded; the target is absolute, and ends with / for a directory.
    directory: the working directory at this instruction.
    """

    instruction: Instruction
    directory: str
    sources: tuple[str, ...] = ()
    target: str = ""


class Setting(Record):
    """A value with its variables expanded, and its line."""

    value: str
    line: int


class Image(Record):
    """The image of the last stage and its FROM chain; None for instructions that are absent.

    base: the external base image, "" if not known; line: of the last FROM. overridden: instructions that a later one of
    the same stage replaces, each with that one. layers: all instructions that may install programs, in order.
    directory: the working directory.
    """

    base: str
    line: int
    entrypoint: Instruction | None = None
    cmd: Instruction | None = None
    healthcheck: Instruction | None = None
    stop_signal: Setting | None = None
    user: Setting | None = None
    volumes: tuple[Setting, ...] = ()
    environment: dict[str, str] = {}  # noqa: RUF012 - a record's default is never changed
    overridden: tuple[tuple[Instruction, Instruction], ...] = ()
    layers: tuple[Layer, ...] = ()
    directory: str = "/"

    @property
    def installed(self) -> str:
        """The text of all instructions that may install programs."""
        texts = [one.instruction for one in self.layers]
        return "\n".join(part for one in texts for part in (one.text, *(body for _, body in one.documents)))


# --- lines ------------------------------------------------------------------------------------------------


def parse(text: str) -> Dockerfile:
    """Parse the text of a Dockerfile."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    escape = _escape(lines)
    arguments: list[Instruction] = []
    stages: list[Stage] = []
    unknown: list[Instruction] = []
    for instruction in _instructions(lines, escape):
        if instruction.name not in INSTRUCTIONS:
            unknown.append(instruction)
        elif instruction.name == "FROM":
            argv = instruction.text.split()
            named = len(argv) > 2 and argv[1].upper() == "AS"  # noqa: PLR2004 - FROM image AS name
            stages.append(Stage(argv[0] if argv else "", argv[2].lower() if named else "", instruction.line))
        elif stages:
            stages[-1] = stages[-1].replace(instructions=(*stages[-1].instructions, instruction))
        elif instruction.name == "ARG":
            arguments.append(instruction)
    return Dockerfile(tuple(stages), tuple(arguments), escape, tuple(unknown))


def _escape(lines: list[str]) -> str:
    """The escape character; a parser directive in the first lines may change it."""
    for line in lines:
        found = _DIRECTIVE.match(line.strip())
        if not found or found[1].lower() not in _DIRECTIVES:
            break
        if found[1].lower() == "escape":
            return found[2] if found[2] in _ESCAPES else _ESCAPES[0]
    return _ESCAPES[0]


def _instructions(lines: list[str], escape: str) -> Iterator[Instruction]:
    continued = re.compile(rf"(?:^|(?<=[^{re.escape(escape)}])){re.escape(escape)}[ \t]*$")
    at = 0
    while at < len(lines):
        start = at
        if _is_blank(lines[at]):
            at += 1
            continue
        pieces: list[str] = []
        while at < len(lines):
            line = lines[at]
            at += 1
            if pieces and _is_blank(line):
                continue
            end = continued.search(line)
            pieces.append(line[: end.start()] if end else line)
            if not end:
                break
        instruction = _instruction("".join(pieces).strip(), start + 1)
        documents, at = _heredocs(instruction, lines, at)
        if instruction.name:
            yield instruction.replace(documents=documents)


def _is_blank(line: str) -> bool:
    line = line.strip()
    return not line or line.startswith("#")


def _instruction(text: str, line: int) -> Instruction:
    name, rest = (*text.split(None, 1), "", "")[:2]
    name = name.upper()
    flags: list[tuple[str, str]] = []
    while name in _WITH_FLAGS and (found := _FLAG.match(rest)):
        flags.append((found[1], found[2] or ""))
        rest = rest[found.end() :]
    form = rest
    if name == "HEALTHCHECK":
        kind, form = (*rest.split(None, 1), "", "")[:2]
        form = form if kind.upper() == "CMD" else ""
    return Instruction(name, rest, line, _json_argv(form), tuple(flags))


def _json_argv(text: str) -> tuple[str, ...] | None:
    """The strings of the JSON form; None if the text is in shell form."""
    if not text.startswith("["):
        return None
    try:
        argv = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        return None
    return tuple(argv)


def _heredocs(instruction: Instruction, lines: list[str], at: int) -> tuple[tuple[tuple[str, str], ...], int]:
    """The here-documents of an instruction, and the line after them; an unterminated one is ignored."""
    name, text = instruction.name, instruction.text
    if name == "ONBUILD":
        name, _, text = text.partition(" ")
    if name.upper() not in _WITH_HEREDOCS or "<<" not in text:
        return (), at
    documents: list[tuple[str, str]] = []
    for dash, _, mark in _HEREDOC.findall(text):
        ends = (
            number
            for number in range(at, len(lines))
            if (lines[number].lstrip("\t") if dash else lines[number]) == mark
        )
        end = next(ends, None)
        if end is None:
            break
        body = [line.lstrip("\t") if dash else line for line in lines[at:end]]
        documents.append((mark, "\n".join([*body, ""])))
        at = end + 1
    return tuple(documents), at


# --- the image --------------------------------------------------------------------------------------------


def image_of(dockerfile: Dockerfile, wanted: str = "") -> Image | None:
    """Return the image of the last stage, or of the wanted one (its name or number); None if there is none."""
    stages = dockerfile.stages
    last = stages[-1:]
    if wanted:
        last = tuple(one for at, one in enumerate(stages) if wanted.lower() in (one.name, str(at)))
    if not last:
        return None
    global_arguments: dict[str, str] = {}
    for item in dockerfile.arguments:
        global_arguments.update(_pairs(item, global_arguments, dockerfile.escape))
    chain = [last[-1]]
    base = expand(chain[0].base, global_arguments, dockerfile.escape)
    while earlier := _stage_before(dockerfile.stages, base, chain[-1]):
        chain.append(earlier)
        base = expand(earlier.base, global_arguments, dockerfile.escape)
    image = Image("" if "$" in base else base, chain[0].line)
    for stage in reversed(chain):
        image = _add(image, stage, global_arguments, dockerfile.escape)
    return image


def _stage_before(stages: tuple[Stage, ...], base: str, stage: Stage) -> Stage | None:
    """The nearest earlier stage of that name."""
    above = [other for other in stages if other.line < stage.line and other.name == base.lower() and other.name]
    return above[-1] if above else None


def _add(image: Image, stage: Stage, global_arguments: dict[str, str], escape: str) -> Image:
    """Add the instructions of one stage to the image."""
    latest: dict[str, Instruction] = {}
    found: dict[str, object] = {}
    arguments: dict[str, str] = {}
    environment = dict(image.environment)
    volumes, layers, directory = list(image.volumes), list(image.layers), image.directory
    overridden = list(image.overridden)
    for item in stage.instructions:
        variables = {**arguments, **environment}
        if item.name in _CONTAINER_DEFAULTS:
            if item.name in latest:
                overridden.append((latest[item.name], item))
            latest[item.name] = item
        elif item.name == "ENV":
            environment.update(_pairs(item, variables, escape))
        elif item.name == "ARG":
            arguments.update(_pairs(item, variables, escape, global_arguments))
        elif item.name == "STOPSIGNAL":
            found["stop_signal"] = Setting(expand(item.text, variables, escape), item.line)
        elif item.name == "USER":
            found["user"] = Setting(expand(item.text, variables, escape), item.line)
        elif item.name == "VOLUME":
            paths = item.text.split() if item.argv is None else item.argv
            volumes += [Setting(expand(path, variables, escape), item.line) for path in paths]
        elif item.name == "WORKDIR":
            directory = posixpath.join(directory, expand(item.text, variables, escape))
        elif item.name in _WITH_HEREDOCS:
            layers.append(_layer(item, directory, variables, escape))
    found.update({name.lower(): item for name, item in latest.items()})
    if "ENTRYPOINT" in latest:
        found.setdefault("cmd", None)  # an ENTRYPOINT resets the CMD of the base
    return image.replace(
        **found,
        volumes=tuple(volumes),
        environment=environment,
        overridden=tuple(overridden),
        layers=tuple(layers),
        directory=directory,
    )


def _layer(item: Instruction, directory: str, variables: dict[str, str], escape: str) -> Layer:
    if item.name == "RUN":
        return Layer(item, directory)
    words = [expand(word, variables, escape) for word in (item.text.split() if item.argv is None else item.argv)]
    if not words:
        return Layer(item, directory)
    target = posixpath.join(directory, words[-1])
    whole = words[-1].endswith("/") or words[-1] in (".", "..") or len(words) > 2  # noqa: PLR2004 - two sources
    return Layer(item, directory, tuple(words[:-1]), posixpath.normpath(target).rstrip("/") + ("/" if whole else ""))


def _pairs(
    item: Instruction, variables: dict[str, str], escape: str, global_arguments: dict[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """The pairs of `NAME=value ...`, `ENV NAME value`, or `ARG NAME` with the value of the ARG before FROM."""
    found = _PAIR.findall(item.text)
    first = item.text.split(None, 1)
    if first and "=" in first[0]:
        yield from ((name, expand(value, variables, escape)) for name, value in found)
        return
    if item.name == "ENV" and len(first) > 1:
        yield first[0], expand(first[1], variables, escape)
    elif item.name == "ARG":
        for name in item.text.split():
            if global_arguments and name in global_arguments:
                yield name, global_arguments[name]
