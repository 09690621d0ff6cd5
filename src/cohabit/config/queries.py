"""`cohabit config --services` and its other questions: one line for each answer."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cohabit.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

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
