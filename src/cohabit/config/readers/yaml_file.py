"""A YAML file -> Draft: a cohabit file or a Compose file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.config.readers import compose
from cohabit.config.text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.config.readers.find import Source
    from cohabit.plan.draft import Draft


def read(source: Source, environ: Mapping[str, str]) -> Draft:
    """The Draft of a text. Raises SyntaxProblemError."""
    tree, problems = yaml_text.parse(source.text, source.name)
    return compose.read(tree, problems, source, environ)
