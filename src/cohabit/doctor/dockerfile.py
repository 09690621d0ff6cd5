"""The text of a Dockerfile -> its instructions, its stages, and what the last image is made of. Pure.

Follows BuildKit's parser: directives, comments, line continuations, here-documents, flags, JSON form or shell form,
variables. Only the last stage and the stages that it is FROM make the image. Whatever the text is, it is parsed: what
is no instruction is kept apart (syntax.py), and arguments that make no sense are passed over, since `docker build`
tells that better. What it means is image.py's.
"""

from __future__ import annotations

import json
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
# docs.docker.com/reference/dockerfile; MAINTAINER is deprecated, and still one.
INSTRUCTIONS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_CONTAINER_DEFAULTS = frozenset({"CMD", "ENTRYPOINT", "HEALTHCHECK"})


class Instruction(Record):
    """One instruction: its name in capitals, and the line in which it begins.

    text: its arguments, without flags, continuation lines joined. words: those of the JSON form; None for the
    shell form. body: the text of its here-documents.
    """

    name: str
    text: str
    line: int
    words: tuple[str, ...] | None = None
    flags: tuple[tuple[str, str], ...] = ()
    body: str = ""


class Stage(Record):
    """FROM and all up to the next one. base: as written; name: behind AS, in small letters."""

    base: str
    name: str
    line: int
    instructions: tuple[Instruction, ...] = ()


class Dockerfile(Record):
    """All stages; arguments: the ARG lines in front of the first; escape: the escape character.

    odd: what is no instruction.
    """

    stages: tuple[Stage, ...]
    arguments: tuple[Instruction, ...] = ()
    escape: str = "\\"
    odd: tuple[Instruction, ...] = ()


class Setting(Record):
    """A value, variables put in, and its line."""

    value: str
    line: int


class Image(Record):
    """What the last stage and those that it is FROM add up to; None for what nobody wrote.

    base: the image that is not made here, "" if it cannot be told; line: of the last FROM. overridden: instructions
    that a later one of the same stage makes void, with that one. installed: all text that may have brought programs.
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
    installed: str = ""


# --- lines ------------------------------------------------------------------------------------------------


def parse(text: str) -> Dockerfile:
    """All that is in the text."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    escape = _escape(lines)
    arguments: list[Instruction] = []
    stages: list[Stage] = []
    odd: list[Instruction] = []
    for instruction in _instructions(lines, escape):
        if instruction.name not in INSTRUCTIONS:
            odd.append(instruction)
        elif instruction.name == "FROM":
            words = instruction.text.split()
            named = len(words) > 2 and words[1].upper() == "AS"  # noqa: PLR2004 - FROM image AS name
            stages.append(Stage(words[0] if words else "", words[2].lower() if named else "", instruction.line))
        elif stages:
            stages[-1] = stages[-1].replace(instructions=(*stages[-1].instructions, instruction))
        elif instruction.name == "ARG":
            arguments.append(instruction)
    return Dockerfile(tuple(stages), tuple(arguments), escape, tuple(odd))


def _escape(lines: list[str]) -> str:
    """The escape character: a directive of the first lines may choose another."""
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
        if _is_nothing(lines[at]):
            at += 1
            continue
        pieces: list[str] = []
        while at < len(lines):
            line = lines[at]
            at += 1
            if pieces and _is_nothing(line):
                continue
            end = continued.search(line)
            pieces.append(line[: end.start()] if end else line)
            if not end:
                break
        instruction = _instruction("".join(pieces).strip(), start + 1)
        body, at = _heredocs(instruction, lines, at)
        if instruction.name:
            yield instruction.replace(body=body)


def _is_nothing(line: str) -> bool:
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
    return Instruction(name, rest, line, _json_words(form), tuple(flags))


def _json_words(text: str) -> tuple[str, ...] | None:
    """Words of the JSON form; None if the text is none, which makes it the shell form."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return tuple(words)


def _heredocs(instruction: Instruction, lines: list[str], at: int) -> tuple[str, int]:
    """The here-documents that begin in an instruction, and the line behind them; one that never ends is none."""
    name, text = instruction.name, instruction.text
    if name == "ONBUILD":
        name, _, text = text.partition(" ")
    if name.upper() not in _WITH_HEREDOCS or "<<" not in text:
        return "", at
    body: list[str] = []
    for dash, _, mark in _HEREDOC.findall(text):
        ends = (
            number
            for number in range(at, len(lines))
            if (lines[number].lstrip("\t") if dash else lines[number]) == mark
        )
        end = next(ends, None)
        if end is None:
            break
        body += lines[at:end]
        at = end + 1
    return "\n".join(body), at


# --- the image --------------------------------------------------------------------------------------------


def image_of(dockerfile: Dockerfile) -> Image | None:
    """What the last stage makes; None if there is no stage."""
    if not dockerfile.stages:
        return None
    outer: dict[str, str] = {}
    for item in dockerfile.arguments:
        outer.update(_pairs(item, outer, dockerfile.escape))
    chain = [dockerfile.stages[-1]]
    base = expand(chain[0].base, outer, dockerfile.escape)
    while earlier := _stage_before(dockerfile.stages, base, chain[-1]):
        chain.append(earlier)
        base = expand(earlier.base, outer, dockerfile.escape)
    image = Image("" if "$" in base else base, chain[0].line)
    for stage in reversed(chain):
        image = _add(image, stage, outer, dockerfile.escape)
    return image


def _stage_before(stages: tuple[Stage, ...], base: str, stage: Stage) -> Stage | None:
    """The stage of that name above this one, the nearest if there are several."""
    above = [other for other in stages if other.line < stage.line and other.name == base.lower() and other.name]
    return above[-1] if above else None


def _add(image: Image, stage: Stage, outer: dict[str, str], escape: str) -> Image:
    """The image with the instructions of one stage."""
    latest: dict[str, Instruction] = {}
    found: dict[str, object] = {}
    arguments: dict[str, str] = {}
    environment = dict(image.environment)
    volumes, installed = list(image.volumes), [image.installed]
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
            arguments.update(_pairs(item, variables, escape, outer))
        elif item.name == "STOPSIGNAL":
            found["stop_signal"] = Setting(expand(item.text, variables, escape), item.line)
        elif item.name == "USER":
            found["user"] = Setting(expand(item.text, variables, escape), item.line)
        elif item.name == "VOLUME":
            paths = item.text.split() if item.words is None else item.words
            volumes += [Setting(expand(path, variables, escape), item.line) for path in paths]
        elif item.name in _WITH_HEREDOCS:
            installed.append(f"{item.text}\n{item.body}")
    found.update({name.lower(): item for name, item in latest.items()})
    if "ENTRYPOINT" in latest:
        found.setdefault("cmd", None)  # that of the base was for the base's ENTRYPOINT
    return image.replace(
        **found,
        volumes=tuple(volumes),
        environment=environment,
        overridden=tuple(overridden),
        installed="\n".join(installed),
    )


def _pairs(
    item: Instruction, variables: dict[str, str], escape: str, outer: dict[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """NAME=value, several of them; ENV NAME value; ARG NAME, which takes the value from in front of FROM."""
    found = _PAIR.findall(item.text)
    first = item.text.split(None, 1)
    if first and "=" in first[0]:
        yield from ((name, expand(value, variables, escape)) for name, value in found)
        return
    if item.name == "ENV" and len(first) > 1:
        yield first[0], expand(first[1], variables, escape)
    elif item.name == "ARG":
        for name in item.text.split():
            if outer and name in outer:
                yield name, outer[name]
