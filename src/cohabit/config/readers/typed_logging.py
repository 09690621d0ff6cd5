"""`--log-driver` and `--log-opt` of `cohabit run`, named as in `docker run`; read like `logging` of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.config.keys.convert import Converter
from cohabit.config.keys.logging import LoggingReader
from cohabit.plan.node import Node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cohabit.plan.draft import Diagnostic
    from cohabit.plan.model import Logging


def read_logging(
    driver: str | None, options: Sequence[str], environ: Mapping[str, str]
) -> tuple[tuple[Logging, ...], str, list[str]]:
    """The entries, the multiline pattern, and the texts of the errors. options: NAME=VALUE each."""
    errors = [f"--log-opt {option!r}: expected NAME=VALUE" for option in options if "=" not in option[1:]]
    values = dict(option.split("=", 1) for option in options if "=" in option[1:])
    written = {} if driver is None else {"driver": Node(driver.replace("$", "$$"), 0, driver)}
    if values:
        written["options"] = Node({name: Node(text.replace("$", "$$"), 0, text) for name, text in values.items()}, 0)
    diagnostics: list[Diagnostic] = []
    reader = LoggingReader(Converter("", environ.get, diagnostics))
    entries, pattern = reader.read(Node(dict(written), 0), "--log-driver")
    for diagnostic in diagnostics:
        text = diagnostic.text.replace("--log-driver.options.", "--log-opt ").replace(
            "--log-driver.options", "--log-opt"
        )
        errors.append(text.replace("--log-driver.driver", "--log-driver"))
    return entries, pattern, errors
