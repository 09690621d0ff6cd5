"""Check for lines that `docker build` rejects: unknown instructions, and FROM without an image. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.doctor.dockerfile import INSTRUCTIONS
from cohabit.doctor.findings import ERROR, Finding
from cohabit.nearest import nearest
from cohabit.plan.draft import SourceLocation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.doctor.dockerfile import Dockerfile

_FAILS = "`docker build` fails with an error at this line"


def examine(dockerfile: Dockerfile, file: str) -> list[Finding]:
    """Return the findings; `file` is its name in places."""
    return [*_unknown(dockerfile, file), *_without_image(dockerfile, file)]


def _unknown(dockerfile: Dockerfile, file: str) -> Iterator[Finding]:
    for item in dockerfile.unknown:
        near = nearest(item.name, INSTRUCTIONS)
        do = (
            f"{near} {item.text}".rstrip()
            if near
            else "remove it, or end the previous line with \\ if this line continues it"
        )
        yield Finding(
            "unknown-instruction",
            ERROR,
            SourceLocation(file, item.line),
            f"{item.name} is not an instruction",
            _FAILS,
            do,
        )


def _without_image(dockerfile: Dockerfile, file: str) -> Iterator[Finding]:
    for stage in dockerfile.stages:
        if not stage.base:
            yield Finding(
                "from-without-image",
                ERROR,
                SourceLocation(file, stage.line),
                "FROM names no image",
                _FAILS,
                "FROM debian:stable-slim",
            )
