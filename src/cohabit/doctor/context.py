"""Find the files of an image in the build context; no other module reads it.

A path of the image is followed back along the COPY and ADD lines, through other stages and here-documents. A file that
a RUN line writes or changes is not known. Nothing outside the context is read: `docker build` does not see it either.
What cannot be read is an Unknown with the reason.
"""

from __future__ import annotations

import glob
import os
import posixpath
import re
import stat
from itertools import islice
from typing import TYPE_CHECKING

from cohabit.config.text.source import UnreadableError, read_text
from cohabit.doctor import sh
from cohabit.doctor.dockerfile import Dockerfile, Image, image_of
from cohabit.doctor.sh_tokens import UnparsedError
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.doctor.dockerfile import Layer

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STAGES_DEEP = 5
_MATCHES_MAX = 1000
_WILDCARDS = re.compile(r"[*?\[]")
_CLEANS = re.compile(r"dos2unix|\\r|\\015|fromdos")
# Commands that leave the content of a file as it is.
_HARMLESS = frozenset(
    {
        "chmod",
        "chown",
        "chgrp",
        "ln",
        "dos2unix",
        "test",
        "[",
        "[[",
        "ls",
        "cat",
        "stat",
        "mkdir",
        "echo",
        "install",
        "setcap",
        "file",
    }
)


class File(Record):
    """A file of the image. shown: its name for people; line: its first line in that file; mode: 0 if not known.

    cleaned: a RUN line removes carriage returns. marked: a RUN line or a flag may set its mode.
    """

    path: str
    shown: str
    text: str
    line: int = 1
    mode: int = 0
    cleaned: bool = False
    marked: bool = False


class Unknown(Record):
    """A file of the image whose content is not known. provided: an instruction of the Dockerfile is to provide it."""

    path: str
    why: str
    line: int = 0
    provided: bool = True


class Context:
    """A build context and a Dockerfile. directory: "" if there is no context, as for a Dockerfile on standard input."""

    def __init__(self, dockerfile: Dockerfile, directory: str, shown: str = "Dockerfile") -> None:
        self._dockerfile = dockerfile
        self._directory = directory
        self._shown = shown

    def find(self, image: Image, name: str) -> File | Unknown:
        """Return the file that a container of the image executes under this name, looked up as a shell does."""
        if "/" in name:
            return self._find(image, posixpath.normpath(posixpath.join(image.directory, name)))
        path = image.environment.get("PATH", "").replace("${PATH}", _PATH).replace("$PATH", _PATH) or _PATH
        for directory in path.split(":"):
            found = self._find(image, posixpath.join(directory or image.directory, name))
            if isinstance(found, File) or found.provided:
                return found
        return Unknown(name, "no COPY of the Dockerfile provides it", provided=False)

    def _find(self, image: Image, path: str, depth: int = 0) -> File | Unknown:
        cleaned = marked = False
        for layer in reversed(image.layers):
            item = layer.instruction
            if item.name == "RUN":
                text = "\n".join([item.text, *(body for _, body in item.documents)])
                document = _written(layer, path)
                if isinstance(document, Unknown):
                    return document
                if document is not None:
                    line = item.line + item.text.count("\n") + 1
                    return File(path, self._shown, document, line, 0, cleaned, marked=True)
                marked = marked or "chmod" in text or "install" in text
                cleaned = cleaned or bool(_CLEANS.search(text))
                if _changes(text, path):
                    return Unknown(path, f"the RUN in line {item.line} may change it", item.line)
                continue
            found = self._copied(layer, path, depth)
            if isinstance(found, File):
                by_flag = any(flag == "chmod" for flag, _ in item.flags)
                return found.replace(
                    path=path, cleaned=cleaned or found.cleaned, marked=marked or by_flag or found.marked
                )
            if found is not None:
                return found
        return Unknown(path, "no COPY of the Dockerfile provides it", provided=False)

    def _copied(self, layer: Layer, path: str, depth: int) -> File | Unknown | None:
        """What a COPY or ADD provides under this path; None if that is another file."""
        item = layer.instruction
        if "$" in layer.target:
            return None
        for mark, body in item.documents:
            if path in (layer.target, posixpath.join(layer.target, mark)):
                return File(path, self._shown, body, item.line + 1, 0, marked=True)
        flags = dict(item.flags)
        if "parents" in flags or "exclude" in flags:
            below = path.startswith(layer.target.rstrip("/") + "/")
            return Unknown(path, f"line {item.line} uses --parents or --exclude", item.line) if below else None
        for source in layer.sources:
            if "$" in source or "://" in source or source.startswith("git@"):
                if path in _targets(layer, source):
                    return Unknown(path, f"line {item.line} gets it from {source}", item.line)
            elif "from" in flags:
                found = self._of_stage(layer, source, path, flags["from"], depth)
                if found is not None:
                    return found
            elif self._directory and (found := self._of_context(layer, source, path)) is not None:
                return found
            elif not self._directory and path in _targets(layer, source):
                return Unknown(path, "the build context is not known (name its directory with --context)", item.line)
        return None

    def _of_stage(self, layer: Layer, source: str, path: str, stage: str, depth: int) -> File | Unknown | None:
        image = image_of(self._dockerfile, stage) if stage else None
        names = [_absolute(source)] if path in _targets(layer, source) else []
        below = posixpath.relpath(path, layer.target)
        if not below.startswith(".."):
            names.append(_absolute(f"{source}/{below}"))
        for name in names:
            if image is not None and depth < _STAGES_DEEP:
                found = self._find(image, name, depth + 1)
                if isinstance(found, File) or found.provided:
                    return found
        if path in _targets(layer, source):
            return Unknown(path, f"line {layer.instruction.line} copies it from {stage}", layer.instruction.line)
        return None

    def _of_context(self, layer: Layer, source: str, path: str) -> File | Unknown | None:
        line = layer.instruction.line
        for name in self._matches(source):
            real = self._real(name)
            if real is None:
                if path in _targets(layer, name):
                    return Unknown(path, f"{name} is outside the build context", line)
                continue
            if os.path.isdir(real):
                below = posixpath.relpath(path, layer.target)
                if below.startswith("..") or not os.path.lexists(os.path.join(real, below)):
                    continue
                return self._read(path, os.path.join(name, below), line)
            if path in _targets(layer, name):
                return self._read(path, name, line)
        return None

    def _matches(self, source: str) -> Iterator[str]:
        """The paths that a source names, relative to the context."""
        plain = _absolute(source).lstrip("/") or "."
        if not _WILDCARDS.search(plain):
            yield plain
            return
        yield from islice(glob.iglob(plain, root_dir=self._directory), _MATCHES_MAX)

    def _real(self, name: str) -> str | None:
        """The path of a file of the context without links; None if it is outside."""
        top = os.path.realpath(self._directory)
        real = os.path.realpath(os.path.join(top, name))
        return real if real == top or real.startswith(top.rstrip("/") + "/") else None

    def _read(self, path: str, name: str, line: int) -> File | Unknown:
        real = self._real(name)
        shown = os.path.normpath(os.path.join(self._directory, name))
        if real is None:
            return Unknown(path, f"{shown} is outside the build context", line)
        try:
            text = read_text(real)
            mode = stat.S_IMODE(os.stat(real).st_mode)
        except FileNotFoundError:
            return Unknown(path, f"there is no {shown} (name the build context with --context)", line)
        except (UnreadableError, OSError) as error:
            why = str(error).removeprefix(f"cannot read {real}: ")
            return Unknown(path, f"{shown}: {why}", line)
        return File(path, shown, text, 1, mode)


def _absolute(path: str) -> str:
    """A path below the root, whatever it begins with; `..` does not leave the root."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _targets(layer: Layer, source: str) -> tuple[str, ...]:
    """The paths at which a source that is a file may be in the image."""
    inside = posixpath.join(layer.target, posixpath.basename(source.rstrip("/")))
    return (inside,) if layer.target.endswith("/") else (layer.target, inside)


def _changes(text: str, path: str) -> bool:
    """Whether a RUN line may change the file of this path: a command that is not known to be harmless names it."""
    name = re.escape(posixpath.basename(path))
    named = re.compile(rf"(?:^|[\s/'\"=>]){name}(?=$|[\s'\";&|)])")
    if not named.search(text):
        return False
    try:
        commands = list(sh.walk(sh.parse(text), functions=True))
    except UnparsedError:
        return True
    for command in commands:
        if not named.search(command.source):
            continue
        cleans = command.program == "sed" and _CLEANS.search(command.source)
        runs = posixpath.basename(command.program) == posixpath.basename(path)
        writes = re.search(rf">\s*\S*{name}", command.source)
        if writes or not (command.program in _HARMLESS or cleans or runs):
            return True
    return False


def _written(layer: Layer, path: str) -> str | Unknown | None:
    """The here-document that a RUN line writes to this path; None if it writes none."""
    item = layer.instruction
    for mark, body in item.documents:
        found = re.search(rf"<<-?(['\"]?){re.escape(mark)}\1", item.text)
        target = re.search(r"(?<![0-9&>])>\s*([^\s;&|<]+)|\btee\s+([^\s;&|<-]\S*)", item.text)
        if not found or not target or not re.match(r"\s*(?:cat|tee)\b", item.text):
            continue
        if posixpath.normpath(posixpath.join(layer.directory, target[1] or target[2])) != path:
            continue
        if not found[1] and re.search(r"(?<!\\)[$`]", body):
            return Unknown(
                path, f"the build expands variables in it (line {item.line}; quote the delimiter)", item.line
            )
        return body
    return None
