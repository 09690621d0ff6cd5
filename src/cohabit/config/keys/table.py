"""The form of the tables of keys: a class for each map of the file, with an annotated attribute for each key.

    interval: Annotated[Seconds | None, "Time between probes. Default `30s`."] = None

The annotation is the type and the description. A type is one of these, or several with `|`: str, bool, a Literal of
texts, a class with `parse(text)` and `expected` (its name in messages), list[…], dict[str, …], another table, None for
an empty value, or Node, which its reader converts later. convert.py converts a file along the types.

The modules of the tables do not import annotations from __future__: the evaluation of annotations that are texts takes
three times as long.
"""

from __future__ import annotations

from types import UnionType
from typing import Any, ClassVar, NamedTuple, Union, dataclass_transform, get_args, get_origin


class Field(NamedTuple):
    """A key of a table. attribute: its name in the class; choices: the alternatives of its type."""

    attribute: str
    choices: tuple[Any, ...]
    description: str
    required: bool


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Keys:
    """The values of a map of the file. A key that is not written has its default.

    ignored: keys for the container engine, accepted without effect. kebab: the names of its keys have - where the
    attributes have _.
    """

    ignored: ClassVar[frozenset[str]] = frozenset()
    kebab: ClassVar[bool] = False

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


_FIELDS: dict[type[Keys], dict[str, Field]] = {}


def fields_of(table: type[Keys]) -> dict[str, Field]:
    """The keys of a table in their order; those of its base class first."""
    if table not in _FIELDS:  # made once, and only for the tables that a file needs
        _FIELDS[table] = {
            name.replace("_", "-") if table.kebab else name: _field(table, name, hint)
            for base in reversed(table.__mro__[: table.__mro__.index(Keys)])
            for name, hint in base.__annotations__.items()
            if hasattr(hint, "__metadata__")  # Annotated
        }
    return _FIELDS[table]


def _field(table: type[Keys], name: str, hint: Any) -> Field:
    return Field(name, choices(hint.__origin__), hint.__metadata__[0], not hasattr(table, name))


def choices(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a type."""
    return get_args(kind) if isinstance(kind, UnionType) or get_origin(kind) is Union else (kind,)
