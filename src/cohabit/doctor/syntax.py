"""What is no Dockerfile: lines of which `docker build` makes nothing, so that nothing else here can be believed. Pure.

Only what is certain: a word that is no instruction, and a FROM without an image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.doctor.dockerfile import INSTRUCTIONS
from cohabit.doctor.findings import ERROR, Finding
from cohabit.plan.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.doctor.dockerfile import Dockerfile

_FAILS = "`docker build` ends with an error here"


def examine(dockerfile: Dockerfile, file: str) -> list[Finding]:
    """Everything that is none; `file` is how its places are named."""
    return [*_odd(dockerfile, file), *_without_image(dockerfile, file)]


def _odd(dockerfile: Dockerfile, file: str) -> Iterator[Finding]:
    for item in dockerfile.odd:
        near = nearest(item.name, INSTRUCTIONS)
        do = (
            f"{near} {item.text}".rstrip()
            if near
            else "remove it, or end the line above it with \\ if it belongs there"
        )
        yield Finding(ERROR, f"{file}:{item.line}", f"{item.name} is no instruction", _FAILS, do)


def _without_image(dockerfile: Dockerfile, file: str) -> Iterator[Finding]:
    for stage in dockerfile.stages:
        if not stage.base:
            yield Finding(ERROR, f"{file}:{stage.line}", "FROM names no image", _FAILS, "FROM debian:stable-slim")
