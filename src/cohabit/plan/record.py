"""A frozen record: the part of a dataclass that process 1 needs.

The import of dataclasses takes 13 to 18 ms and 2 MB (it imports inspect, re, ast and more), as much as the interpreter
itself. Type checkers see every record as a frozen dataclass (PEP 681). Records compare by value and convert to plain
values and back. The loader sends the Plan to process 1 in this form, and a re-execution passes its state in it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_options: object) -> object:
        """Only type checkers need the real one; the import of typing takes as long as that of dataclasses."""
        return lambda cls: cls


_TYPES: dict[str, type[Record]] = {}
_TAG = ""  # the key that marks a record among plain values; no field can have this name


@dataclass_transform(frozen_default=True)
class Record:
    """Base of all records: a subclass annotates its fields and gives defaults. Default dicts are copied."""

    _fields: ClassVar[tuple[str, ...]] = ()
    _names: ClassVar[frozenset[str]] = frozenset()
    _defaults: ClassVar[dict[str, Any]] = {}
    _copied: ClassVar[tuple[str, ...]] = ()  # the fields whose default is a dict

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(name for name in cls.__annotations__ if not name.startswith("_"))
        cls._names = frozenset(cls._fields)
        cls._defaults = {name: getattr(cls, name) for name in cls._fields if hasattr(cls, name)}
        cls._copied = tuple(name for name, default in cls._defaults.items() if type(default) is dict)
        setattr(cls, "__match_args__", cls._fields)  # noqa: B010 - type checkers make their own
        _TYPES[cls.__name__] = cls

    def __init__(self, *args: Any, **named: Any) -> None:
        if args:
            if len(args) > len(self._fields):
                raise TypeError(f"{type(self).__name__} has {len(self._fields)} fields, got {len(args)} values")
            by_place = dict(zip(self._fields, args, strict=False))
            for name in by_place.keys() & named:
                raise TypeError(f"{type(self).__name__} has no free field {name!r}")
            named.update(by_place)
        values = self.__dict__
        values.update(self._defaults)
        values.update(named)
        if len(values) != len(self._names) or not named.keys() <= self._names:
            for name in values.keys() - self._names:
                raise TypeError(f"{type(self).__name__} has no free field {name!r}")
            for name in self._names - values.keys():
                raise TypeError(f"{type(self).__name__} needs {name!r}")
        for name in self._copied:
            if name not in named:
                values[name] = values[name].copy()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name}: {type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        values = (self.__dict__[name] for name in self._fields)
        return hash((type(self).__name__, *(frozenset(v.items()) if type(v) is dict else v for v in values)))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._fields)
        return f"{type(self).__name__}({inner})"

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        if not changes.keys() <= self._names:
            raise TypeError(f"{type(self).__name__} has no free field {min(changes.keys() - self._names)!r}")
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.__dict__.update(changes)
        return copy


def to_plain(value: Any) -> Any:
    """The value as dicts, lists, strings, numbers, bytes and None only; a record becomes a tagged dict.

    Fields that have their default are left out: most of a Plan's.
    """
    if isinstance(value, Record):
        defaults = value._defaults
        plain = {
            name: to_plain(item)
            for name, item in value.__dict__.items()
            if name not in defaults or item is not defaults[name]
        }
        plain[_TAG] = type(value).__name__
        return plain
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def from_plain(plain: Any) -> Any:
    """The inverse of to_plain. A list becomes a tuple, since records have no lists."""
    if isinstance(plain, dict):
        values = {key: from_plain(item) for key, item in plain.items() if key != _TAG}
        return _TYPES[plain[_TAG]](**values) if _TAG in plain else values
    if isinstance(plain, list):
        return tuple(from_plain(item) for item in plain)
    return plain
