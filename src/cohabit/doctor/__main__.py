"""Start of the doctor: `python -I PACKAGE/doctor/__main__.py REQUEST`, a program of its own like the loader.

REQUEST is the repr of {"dockerfile": PATH or "", "file": PATH or "", "json": bool, "strict": bool}. With a Dockerfile
it examines that, and the cohabit file beside it; without one the container in which it runs, and the file of its
cohabit.
"""

from __future__ import annotations

import ast
import os
import sys

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _PACKAGE_PARENT not in sys.path:
    sys.path.append(_PACKAGE_PARENT)

from cohabit.config.text.source import STDIN, UnreadableError, read_text  # noqa: E402 - the package is found only now
from cohabit.doctor import container, image, services, syntax, verdicts  # noqa: E402 - same
from cohabit.doctor.dockerfile import image_of, parse  # noqa: E402 - same
from cohabit.doctor.findings import Finding, as_json, as_text, exit_code, in_order, summary  # noqa: E402 - same
from cohabit.doctor.reading import DIRECTORIES, NAMES, Reading, read  # noqa: E402 - same
from cohabit.errors import EXIT_USAGE  # noqa: E402 - same

_DOCKERFILES = ("Dockerfile", "Containerfile")


def main(request: dict[str, object]) -> int:
    """Examine, print, return the exit code."""
    dockerfile, file = str(request["dockerfile"]), str(request["file"])
    try:
        looked_at, found = _of_dockerfile(dockerfile, file) if dockerfile else _of_container(file)
    except UnreadableError as error:
        _write(2, f"cohabit: {error}\n")
        return EXIT_USAGE
    found = in_order(found)
    if request["json"]:
        _write(1, "".join(map(as_json, found)))
    else:
        _write(1, "".join(map(as_text, found)) + summary(looked_at, found))
    return exit_code(found, strict=bool(request["strict"]))


def _of_dockerfile(path: str, file: str) -> tuple[list[str], list[Finding]]:
    """What is wrong with a Dockerfile, and with the services of the cohabit file that lies beside it."""
    if os.path.isdir(path):
        places = [os.path.normpath(os.path.join(path, name)) for name in _DOCKERFILES]
        path = next((place for place in places if os.path.lexists(place)), places[0])
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise UnreadableError(path, "no such file", "name another Dockerfile") from error
    parsed = parse(text)
    made = image_of(parsed)
    if made is None:
        raise UnreadableError(path, "there is no FROM in it", "is it the right file?")
    shown = "standard input" if path == STDIN else path
    found = [*syntax.examine(parsed, shown), *image.examine(made, shown)]
    beside = file or ("" if path == STDIN else _first_file(os.path.dirname(path)))
    if not beside:
        return [shown], found
    what = read(beside, os.environ)
    # Users, programs and variables are those of the image, which is elsewhere: then only what is certain here.
    problems = () if what.written and not file else what.problems
    return [shown, what.file], [*found, *problems, *services.examine(what.written, what.total_seconds, what.file)]


def _of_container(file: str) -> tuple[list[str], list[Finding]]:
    """What is wrong with the container in which this runs, and with the services of its file."""
    facts = container.look(os.environ)
    file = file or facts.file or next(filter(None, map(_first_file, DIRECTORIES)), "")
    what = read(file, os.environ) if file else Reading("")
    found = [*verdicts.examine(facts, what), *what.problems]
    if not file:
        return [verdicts.PLACE], found
    return [verdicts.PLACE, what.file], [*found, *services.examine(what.written, what.total_seconds, what.file)]


def _first_file(directory: str) -> str:
    """The cohabit file in a directory, "" if there is none."""
    paths = (os.path.join(directory, name) for name in NAMES)
    return next((path for path in paths if os.path.lexists(path)), "")


def _write(fd: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return  # nobody listens any more


if __name__ == "__main__":
    for hidden in [name for name in os.environ if name.startswith("COHABIT_HIDDEN_")]:  # reactor/linux.py
        os.environ[hidden.removeprefix("COHABIT_HIDDEN_")] = os.environ.pop(hidden)
    os._exit(main(ast.literal_eval(sys.argv[1])))
