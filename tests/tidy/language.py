"""The words that the repository does not use: the rule, its exceptions, and a search for them.

Documents and code are written in plain technical English, as systemd's and PostgreSQL's manuals are. The rule covers
every .py and .md file and the Makefile: text, comments, strings and identifiers.

Use: python tests/tidy/language.py [PATH…]    prints what the rule finds in these files, by default in all
"""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A pattern, and what to write instead. Between two words a line may end, in a comment too.
_GAP = r"[\s#]+"
_A_PACKAGE = rf"rooms|(?:an?|the|this|that|each|every|one|another|own|other|inner|big|lower){_GAP}room(?! for)|room of"
WORDS = (
    ("somebody", "the client, the caller, the process"),
    ("everybodys?", "all processes, all services"),
    ("whoever", "the process that, the client that"),
    ("whom", "which, that"),
    ("nobody", "no process, no client, none"),
    ("he|his|him", "it, its"),
    (rf"(?<!there )is{_GAP}no(?={_GAP}(?!longer\b))", "is not a"),
    ("told|tells?", "report, send, show, log"),
    ("house", "cohabit, the package"),
    (_A_PACKAGE, "package"),
    ("floors?", "layer"),
    ("verbs?", "command"),
    ("culprit", "cause"),
    (rf"last{_GAP}word", "exit reason"),
    ("haunted", "lingering"),
    ("doomed", "being killed"),
    ("charter", "module docstring"),
)

# Most files have none of the words: one search shows that. It does not ignore case, which takes longer.
_ANY = re.compile("|".join(rf"\b(?:{word})\b" for word, _ in WORDS))

# Lines on which a word is allowed: path (fnmatch), pattern for the line as it is written, reason.
EXCEPTIONS = (
    ("tests/tidy/*language.py", "", "the list of the words, and examples of them"),
    ("*", r"""["'`=: ]nobody["'`]|user nobody|as nobody|nobody's (directory|daemon)""", "the Unix user nobody"),
    ("*", r"\bNOBODY\b", "a constant: the uid or the name of the Unix user nobody"),
    ("tests/unit/test_config_*.py", "nobody-at-all", "a user name like nobody"),
    ("tests/unit/test_logs_level.py", "ClickHouse", "the name of a program"),
    ("src/cohabit/reactor/logs/level.py", "ClickHouse", "the name of a program"),
    ("tests/unit/test_doctor_services.py", r"memcached .*-u nobody", "the Unix user nobody"),
    ("tests/unit/test_config_user.py", "nobody-else", "a user name like nobody"),
    ("tests/linux/*.py", "nobody-(knows|has-this-name)", "a user name like nobody"),
    ("tests/docker/test_identity.py", "nobody-knows", "a user name like nobody"),
    ("tests/unit/test_logs_level.py", 'he said "ERROR"', "the output of a program"),
    ("*", r"math\.floor|\bfloor\(", "the function floor"),
    ("*", r"(?i)coverage.*floor|floor.*coverage", "the minimum of test coverage"),
)


def files() -> list[str]:
    """The paths, relative to the root, of all files that the rule covers."""
    tops = [top for top in ROOT.iterdir() if not top.name.startswith(".") and top.name not in {"build", "dist"}]
    paths = [path for top in tops for path in (top.rglob("*") if top.is_dir() else [top])]
    covered = [path for path in paths if path.is_file() and (path.suffix in {".py", ".md"} or path.name == "Makefile")]
    return sorted(str(path.relative_to(ROOT)) for path in covered)


def findings(path: str) -> list[str]:
    """What the rule finds in a file: "path:line: word (what to write instead)" for each place."""
    return findings_in(path, (ROOT / path).read_text())


def findings_in(path: str, text: str) -> list[str]:
    """The same for a text of that path."""
    lines = text.split("\n")
    # Identifiers are split at "_" and before capitals. The number of lines stays the same.
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text.replace("_", " "))
    found: list[tuple[int, str]] = []
    if not _ANY.search(plain.lower()):
        return []
    for word, instead in WORDS:
        for match in re.finditer(rf"\b(?:{word})\b", plain, re.IGNORECASE):
            number = plain.count("\n", 0, match.start())
            if not _is_allowed(path, lines[number]):
                found.append((number, f"{path}:{number + 1}: {' '.join(match[0].split())!r} (instead: {instead})"))
    return [text for _, text in sorted(found)]


def _is_allowed(path: str, line: str) -> bool:
    return any(fnmatch(path, where) and re.search(pattern, line) for where, pattern, _ in EXCEPTIONS)


def main(arguments: list[str]) -> int:
    """Print what is found in these files, or in all; return 1 if anything was found."""
    found = [text for path in arguments or files() for text in findings(path)]
    if found:
        print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
