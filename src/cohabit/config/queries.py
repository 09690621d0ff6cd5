"""`cohabit config --services` and its other questions, also those about variables before interpolation."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cohabit.config.text.dump import dump
from cohabit.config.values.interpolate import InterpolationError, uses
from cohabit.nearest import did_you_mean
from cohabit.plan.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cohabit.plan.draft import Draft
    from cohabit.plan.model import Plan

ALL = "*"  # in place of the name of a service


class UnknownServiceError(ValueError):
    """--hash names a service that is not there."""


def services(plan: Plan) -> list[str]:
    """The names of the services that take part, in the order of the file."""
    return list(dict.fromkeys(service.service for service in plan.services.values()))


def profiles(draft: Draft) -> list[str]:
    """All profiles of the file."""
    return sorted({profile for item in draft.services.values() for profile in item.profiles})


def hashes(content: Mapping[str, Any], wanted: str) -> list[str]:
    """NAME HASH of services, "*" for all. content: that of the printed file, so a change of it changes the hash.

    Raises UnknownServiceError.
    """
    known = content.get("services", {})
    names = list(known) if wanted == ALL else wanted.split(",")
    for name in names:
        if name not in known:
            raise UnknownServiceError(f"cannot config: there is no service {name!r}{did_you_mean(name, known)}")
    return [f"{name} {_hash(known[name])}" for name in names]


def _hash(service: object) -> str:
    text = json.dumps(service, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def about_variables(question: str, plan: Plan | None, draft: Draft) -> Any:
    """What `config --no-interpolate`, `--environment` or `--variables` prints, as a plain value."""
    if question == "environment":
        return dict(sorted(draft.variables.items()))
    written = _used(plan, draft)
    return _variables(written) if question == "variables" else _plain(Node(written, 0))


def as_text(question: str, content: Any) -> str:
    """The lines for people: YAML, NAME=VALUE, or a table. content: that of about_variables()."""
    if question == "no_interpolate":
        return dump(content)
    if question == "environment":
        return "".join(f"{name}={value}\n" for name, value in content.items())
    rows = [("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE")]
    rows += [(name, str(one["required"]).lower(), one["default"], one["alternate"]) for name, one in content.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(3)] + [0]
    return "".join(
        "   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def _used(plan: Plan | None, draft: Draft) -> dict[str, Node]:
    """The merged files as they are written, without services that do not take part."""
    written = dict(draft.written)
    every = written.get("services")
    if plan is not None and every and isinstance(every.value, dict):
        names = services(plan)
        written["services"] = every.with_value({name: one for name, one in every.value.items() if name in names})
    return written


def _variables(written: dict[str, Node]) -> dict[str, dict[str, Any]]:
    """The variables of a file in their order. It is required if one place requires it; the first default is shown."""
    found: dict[str, dict[str, Any]] = {}
    for text in _texts(Node(written, 0)):
        try:
            each = list(uses(text))
        except InterpolationError:
            continue  # an error if the key is read, otherwise it has no meaning here
        for name, kind, alternative in each:
            one = found.setdefault(name, {"required": False, "default": "", "alternate": ""})
            one["required"] = one["required"] or kind == "?"
            for operator, key in (("-", "default"), ("+", "alternate")):
                if kind == operator:
                    one[key] = one[key] or alternative
    return found


def _texts(node: Node) -> Iterator[str]:
    if isinstance(node.value, dict):
        for child in node.value.values():
            yield from _texts(child)
    elif isinstance(node.value, list):
        for child in node.value:
            yield from _texts(child)
    elif isinstance(node.value, str):
        yield node.value


def _plain(node: Node) -> Any:
    """A Node as dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: _plain(child) for key, child in node.value.items()}
    return [_plain(child) for child in node.value] if isinstance(node.value, list) else node.value
