"""Docker Compose itself, which says what a file means: Debian's docker-compose in a root file system of its own.

`docker-compose config` needs no engine. mmdebstrap makes the root once; it is kept in the cache of the base images.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from typing import Any, Final

CACHE: Final = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "cohabit-images")
SUITE: Final = "trixie"
OPTIONS: Final = (
    "--variant=essential",
    "--include=docker-compose",
    *(f"--dpkgopt=path-exclude=/usr/share/{unread}/*" for unread in ("doc", "man", "locale", "info")),
)
# In each directory: the variables of the file `variables`, which are separated by NUL, and nothing else.
ASK: Final = """
set -f
cd "$1"
for number in $(ls); do
    (
        cd "$number"
        options=$(cat options) question=$(cat question)
        export options question
        exec xargs -0 -a variables /bin/sh -fc 'exec env -i PATH=/usr/bin:/bin HOME=/root "$@" \
            docker-compose $options config $question' sh >answer 2>error </dev/null
    ) || echo >"$number/failed"
done
"""
AT_MOST_SECONDS: Final = 120.0


class NoOracleError(Exception):
    """Compose cannot run here: the message says why."""


@dataclass(frozen=True)
class Case:
    """A Compose file, the files beside it, and the environment. compose: its text; options: before `config`."""

    compose: str
    files: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    options: str = "--profile *"

    def write(self, directory: str) -> None:
        """Write the files."""
        for name, text in {**self.files, "compose.yaml": self.compose}.items():
            os.makedirs(os.path.dirname(os.path.join(directory, name)), exist_ok=True)
            with open(os.path.join(directory, name), "w", encoding="utf-8", newline="") as file:
                file.write(text)


class Compose:
    """Compose in its root file system."""

    def __init__(self, root: str) -> None:
        self._root = root

    def ask(self, cases: list[Case]) -> list[dict[str, Any] | None]:
        """What Compose makes of each case: the file resolved; None for an error."""
        return [None if text is None else json.loads(text) for text in self.printed(cases, "--format json")]

    def printed(self, cases: list[Case], question: str) -> list[str | None]:
        """What `config` prints for each case with the options of a question; None for an error."""
        with tempfile.TemporaryDirectory(dir=os.path.join(self._root, "tmp")) as directory:
            for number, case in enumerate(cases):
                own = os.path.join(directory, f"{number:04d}")
                os.mkdir(own)
                case.write(own)
                with open(os.path.join(own, "options"), "w", encoding="utf-8") as file:
                    file.write(case.options)
                with open(os.path.join(own, "question"), "w", encoding="utf-8") as file:
                    file.write(question)
                with open(os.path.join(own, "variables"), "w", encoding="utf-8") as file:
                    file.write("".join(f"{name}={value}\0" for name, value in case.environ.items()))
            inside = directory.removeprefix(self._root)
            subprocess.run(
                ["chroot", self._root, "/bin/sh", "-euc", ASK, "sh", inside],
                env={"PATH": os.environ["PATH"] + ":/usr/sbin:/usr/bin:/sbin:/bin"},
                stdin=subprocess.DEVNULL,
                timeout=AT_MOST_SECONDS,
                check=True,
            )
            return [_answer(os.path.join(directory, f"{number:04d}")) for number in range(len(cases))]


def _answer(directory: str) -> str | None:
    if os.path.exists(os.path.join(directory, "failed")):
        return None
    with open(os.path.join(directory, "answer"), encoding="utf-8") as file:
        return file.read()


def found_or_made() -> Compose:
    """Compose in the cached root, which is made if there is none. Raises NoOracleError."""
    if os.geteuid() != 0:
        raise NoOracleError("only root can make and enter its root file system")
    digest = hashlib.sha256(json.dumps([SUITE, os.uname().machine, OPTIONS]).encode()).hexdigest()[:12]
    root = os.path.join(CACHE, f"compose-{digest}")
    if not os.path.exists(root):
        if shutil.which("mmdebstrap") is None:
            raise NoOracleError("no mmdebstrap (apt-get install mmdebstrap)")
        _make(root)
    return Compose(root)


def _make(root: str) -> None:
    os.makedirs(CACHE, exist_ok=True)
    unfinished = f"{root}.{os.getpid()}"
    command = ["mmdebstrap", "--quiet", "--mode=root", *OPTIONS, SUITE, unfinished]
    try:
        made = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if made.returncode != 0:
            raise NoOracleError(f"mmdebstrap ended with {made.returncode}: {made.stderr[-200:]}")
        os.rename(unfinished, root)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", unfinished], check=True)
