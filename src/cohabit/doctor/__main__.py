"""Entry of the doctor: `python -I PACKAGE/doctor/__main__.py REQUEST`, a separate program like the loader.

REQUEST is the repr of {"dockerfile": PATH or "", "file": PATH or "", "context": DIRECTORY or "", "format": one of
formats.FORMATS, "threshold": a level or "none", "ignore": [RULE, ...]}. With a Dockerfile it examines that, the
scripts that it starts, and the cohabit file beside it. Without one it examines the current container and the file of
the running cohabit.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
from typing import Any

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _PACKAGE_PARENT not in sys.path:
    sys.path.append(_PACKAGE_PARENT)

from cohabit.config.readers.find import first_file  # noqa: E402 - the package is found only now
from cohabit.config.text.source import STDIN, UnreadableError, read_text  # noqa: E402 - same
from cohabit.config.text.terminal import wrapped  # noqa: E402 - same
from cohabit.doctor import container, container_checks, image, services, syntax  # noqa: E402 - same
from cohabit.doctor.context import Context  # noqa: E402 - same
from cohabit.doctor.dockerfile import image_of, parse  # noqa: E402 - same
from cohabit.doctor.findings import Finding, exit_code, in_order  # noqa: E402 - same
from cohabit.doctor.formats import TEXT, printed  # noqa: E402 - same
from cohabit.doctor.reading import Reading, read  # noqa: E402 - same
from cohabit.errors import EXIT_USAGE  # noqa: E402 - same

_DOCKERFILES = ("Dockerfile", "Containerfile")


def main(request: dict[str, Any]) -> int:
    """Examine, print, return the exit code."""
    dockerfile, file = request["dockerfile"], request["file"]
    try:
        examined, findings = _of_dockerfile(dockerfile, file, request["context"]) if dockerfile else _of_container(file)
    except UnreadableError as error:
        _write(2, f"cohabit: {error}\n")
        return EXIT_USAGE
    findings = in_order(findings, request["ignore"])
    text = printed(findings, examined, request["format"])
    _write(1, wrapped(text, 1) if request["format"] == TEXT else text)
    return exit_code(findings, request["threshold"])


def _of_dockerfile(path: str, file: str, context: str) -> tuple[list[str], list[Finding]]:
    """Names of the examined files, and the findings on a Dockerfile, its scripts, and the cohabit file beside it."""
    if os.path.isdir(path):
        places = [os.path.normpath(os.path.join(path, name)) for name in _DOCKERFILES]
        path = next((place for place in places if os.path.lexists(place)), places[0])
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise UnreadableError(path, "no such file", "name another Dockerfile") from error
    parsed = parse(text)
    image_record = image_of(parsed)
    if image_record is None:
        raise UnreadableError(path, "it has no FROM", "check that it is a Dockerfile")
    shown = "standard input" if path == STDIN else path
    if context and not os.path.isdir(context):
        raise UnreadableError(context, "it is not a directory", "name the build context with --context")
    files = Context(parsed, context or ("" if path == STDIN else os.path.dirname(path) or "."), shown)
    found = image.examine(image_record, shown, functools.partial(files.find, image_record))
    findings = [*syntax.examine(parsed, shown), *found]
    cohabit_file = file or ("" if path == STDIN else first_file([os.path.dirname(path)]))
    if not cohabit_file:
        return [shown], findings
    reading = read(cohabit_file, os.environ)
    # Users, programs and variables of the image are not known here; report only what does not depend on them.
    problems = () if reading.written and not file else reading.problems
    return [shown, reading.file], [
        *findings,
        *problems,
        *services.examine(reading.written, reading.total_seconds, reading.file),
    ]


def _of_container(file: str) -> tuple[list[str], list[Finding]]:
    """Names of the examined objects, and the findings on the current container and its cohabit file."""
    facts = container.collect(os.environ)
    file = file or facts.file or first_file()
    reading = read(file, os.environ) if file else Reading("")
    findings = [*container_checks.examine(facts, reading), *reading.problems]
    if not file:
        return [str(container_checks.PLACE)], findings
    return [str(container_checks.PLACE), reading.file], [
        *findings,
        *services.examine(reading.written, reading.total_seconds, reading.file),
    ]


def _write(fd: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return  # the reader has closed its end


if __name__ == "__main__":
    for hidden in [name for name in os.environ if name.startswith("COHABIT_HIDDEN_")]:  # reactor/linux.py
        os.environ[hidden.removeprefix("COHABIT_HIDDEN_")] = os.environ.pop(hidden)
    os._exit(main(ast.literal_eval(sys.argv[1])))
