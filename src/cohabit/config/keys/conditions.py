"""`conditions` of a service: when it is started at all. The kinds are those of systemd.unit(5), Condition…=."""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, TypeAlias

from cohabit.config.keys.table import Keys, fields_of
from cohabit.lazy_pattern import lazy_pattern
from cohabit.plan.model import ENVIRONMENT, Condition

_NAME = lazy_pattern(r"[^=\s\0]+")
_NOT = "!"

Texts: TypeAlias = str | list[str]


class ConditionKeys(Keys):
    """A service's conditions. Each value is a text or a list of texts; `!` in front of one means the opposite."""

    environment: Annotated[
        Texts | None,
        "A variable of the container: `NAME` is set and not empty, or `NAME=value` has exactly this value.",
    ] = None
    path_exists: Annotated[Texts | None, "A file, a directory or anything else exists at this absolute path."] = None
    file_not_empty: Annotated[Texts | None, "A regular file with at least one byte."] = None
    directory_not_empty: Annotated[Texts | None, "A directory with at least one entry."] = None
    file_is_executable: Annotated[Texts | None, "A regular file that is executable for anybody."] = None


def read_conditions(keys: ConditionKeys | None, report: Callable[[str, str], None]) -> tuple[Condition, ...]:
    """The conditions in the order of the table. report(key, text): of an invalid one. An empty text says nothing."""
    return tuple(_read(keys, report)) if keys else ()


def _read(keys: ConditionKeys, report: Callable[[str, str], None]) -> Iterator[Condition]:
    for kind in fields_of(ConditionKeys):
        written: Texts | None = getattr(keys, kind)
        for text in _list(written):
            meant = text.removeprefix(_NOT).strip()
            if kind == ENVIRONMENT and not _NAME.fullmatch(meant.partition("=")[0]):
                report(kind, "a variable has no valid name (write NAME, NAME=value, or the same after !)")
            elif kind != ENVIRONMENT and not meant.startswith("/"):
                report(kind, f"expected an absolute path, got {meant[:60]!r}")
            else:
                yield Condition(kind, meant, negated=text.startswith(_NOT))


def _list(written: Texts | None) -> Iterable[str]:
    return filter(None, [written] if isinstance(written, str) else written or ())


def write_conditions(conditions: Iterable[Condition]) -> dict[str, list[str]]:
    """The inverse of read_conditions, without the doubling of `$`."""
    found: dict[str, list[str]] = {}
    for each in conditions:
        found.setdefault(each.kind, []).append(f"{_NOT if each.negated else ''}{each.text}")
    return found
