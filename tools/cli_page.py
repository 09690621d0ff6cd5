"""Write docs/reference/cli.md from the very strings that `cohabit VERB --help` shows."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "cli.md"
sys.path.insert(0, str(ROOT / "src"))

main = importlib.import_module("cohabit.cli.main")


def page() -> str:
    """The whole page as Markdown."""
    lines = ["# Commands", "", "Made by `make docs` from the text of `cohabit VERB --help`.", ""]
    lines += ["| verb | what it does |", "|---|---|"]
    lines += [f"| [`{verb}`](#cohabit-{verb}) | {summary} |" for verb, (_, summary) in main.VERBS.items()]
    for verb, (module, _) in main.VERBS.items():
        lines += ["", f"## cohabit {verb}", "", "```text", importlib.import_module(module).VERB.help(), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
