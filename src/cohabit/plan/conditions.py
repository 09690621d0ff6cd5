"""Whether the conditions of a service hold, as systemd's Condition… do (systemd.unit(5)). Pure.

Files are looked at by `holds`, because who calls this decides where it may wait for a file system: the loader, or the
child of a start.
"""

from __future__ import annotations

from cohabit.plan.model import DIRECTORY_NOT_EMPTY, ENVIRONMENT, FILE_IS_EXECUTABLE, FILE_NOT_EMPTY, PATH_EXISTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cohabit.plan.model import Condition

# Kind -> what is said of the path if the condition holds, and if it does not.
_OF_PATHS = {
    PATH_EXISTS: ("exists", "does not exist"),
    FILE_NOT_EMPTY: ("is a file that is not empty", "is not a file, or is empty"),
    DIRECTORY_NOT_EMPTY: ("is a directory that is not empty", "is not a directory, or is empty"),
    FILE_IS_EXECUTABLE: ("is an executable file", "is not an executable file"),
}


def unmet(conditions: Iterable[Condition], environ: Mapping[str, str], holds: Callable[[str, str], bool]) -> str | None:
    """What is the case instead of the first condition that does not hold; None if all hold. No value is quoted.

    environ: that of the container. holds(kind, path): for the kinds that are about a path; it may raise OSError.
    """
    for condition in conditions:
        if condition.kind == ENVIRONMENT:
            held, text = _variable(condition.text, environ)
        else:
            held = holds(condition.kind, condition.text)
            text = f"{condition.text} {_OF_PATHS[condition.kind][not held]}"
        if held == condition.negated:
            return text
    return None


def _variable(text: str, environ: Mapping[str, str]) -> tuple[bool, str]:
    """Whether the variable is set and not empty, or has the value of `NAME=value`; and that as text."""
    name, equals, wanted = text.partition("=")
    value = environ.get(name, "")
    state = "is empty" if name in environ else "is not set"
    if not equals:
        return bool(value), f"the variable {name} {'is set' if value else state}"
    if value == wanted:
        return True, f"the variable {name} has the value that is written there"
    return False, f"the variable {name} {'has another value' if value else state}"
