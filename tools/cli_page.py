"""Write docs/reference/cli.md from the very strings that `cohabit help VERB` shows."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "cli.md"
sys.path.insert(0, str(ROOT / "src"))

main = importlib.import_module("cohabit.cli.main")
help_ = importlib.import_module("cohabit.cli.help")


def page() -> str:
    """The whole page as Markdown."""
    lines = ["# Commands", "", "Made by `make docs` from the text of `cohabit help VERB`."]
    for group, verbs in main.GROUPS.items():
        lines += ["", f"| {help_.TITLES[group]} | |", "|---|---|"]
        lines += [f"| [`{verb}`](#cohabit-{verb}) | {summary} |" for verb, summary in verbs.items()]
    for verb in main.COMMANDS:
        table = importlib.import_module(f"cohabit.cli.{verb}").COMMAND
        lines += ["", f"## cohabit {verb}", "", "```text", help_.page(table), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
