"""Write the map of modules into ARCHITECTURE.md: `python tools/package_map.py`, or `make docs`.

The description of a module is the first line of its docstring, so the map cannot disagree with the code;
tests/tidy/test_architecture.py fails while it does.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "cohabit"
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- map: made by `make docs` -->\n", "<!-- end of the map -->\n"


def summary(path: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].removesuffix(".")


def package_map() -> str:
    """One table per package: each module that has code, and what it is."""
    lines: list[str] = []
    for directory in sorted({path.parent for path in PACKAGE.rglob("*.py")}):
        name = directory.relative_to(PACKAGE.parent).as_posix()
        modules = [path for path in sorted(directory.glob("*.py")) if path.name != "__init__.py"]
        if not modules:
            continue
        package = directory / "__init__.py"
        lines += [f"**`{name}/`**" + (f" {summary(package)}." if package.exists() and summary(package) else ""), ""]
        lines += ["| module | what it is |", "|---|---|"]
        lines += [f"| `{path.stem}` | {summary(path).replace('|', '&#124;')} |" for path in modules]
        lines.append("")
    return "\n".join(lines)


def with_map(page: str) -> str:
    """The page with the map of now between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{package_map()}\n{END}{after}"


def main() -> int:
    """Write the page. Returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_map(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
