#!/usr/bin/env python3
"""Run the unit tests with other versions of Python and of the libraries than those of `make test`.

  lowest      the oldest libraries that pyproject.toml admits
  newest      the newest libraries that pyproject.toml admits, which `pip install cohabit` would install today; not run
              if these are the locked ones
  trixie      Debian 13's Python with the locked libraries, in a root file system that mmdebstrap makes and that is
              kept in ${XDG_CACHE_HOME:-~/.cache}/cohabit-images
  python3.N   that Python, which must be in the PATH, with the locked libraries

The tools are always the locked ones. Everything except the root file system is made again each time in .venv/versions.

Use: .venv/bin/python tools/versions.py NAME…     runs all of them; the exit code is 1 if any failed
"""

import ast
import glob
import hashlib
import json
import os
import re
import subprocess
import sys
from typing import Final

REPOSITORY: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVIRONMENTS: Final = os.path.join(REPOSITORY, ".venv", "versions")
CACHE: Final = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "cohabit-images")
UV: Final = os.path.join(os.path.dirname(sys.executable), "uv")

LIBRARIES: Final = f"--requirements={REPOSITORY}/requirements/run.txt"
TOOLS: Final = f"--requirements={REPOSITORY}/requirements/dev.txt"
RESOLUTIONS: Final = {"lowest": "lowest-direct", "newest": "highest"}
# Two test processes, because CI has two cores. Few examples, because versions differ in reading and writing, not in the
# logic of the engine.
PYTEST: Final = (
    *("-m", "pytest", "--numprocesses=2", "--dist=loadgroup", "-p", "no:cacheprovider"),
    *("--hypothesis-profile=quick", "tests/unit"),
)
SHOW_VERSIONS: Final = """
import importlib.metadata, platform
libraries = [f"{name} {importlib.metadata.version(name)}" for name in ("cronsim", "PyYAML")]
print(f"Python {platform.python_version()},", ", ".join(libraries))
"""

SUITE: Final = "trixie"
ROOT_OPTIONS: Final = (
    "--variant=minbase",
    "--include=procps,python3",
    *(f"--dpkgopt=path-exclude=/usr/share/{unread}/*" for unread in ("doc", "man", "locale", "info")),
    '--customize-hook=mkdir "$1"/cohabit',
)
# The mounts are in their own namespace and end with it. $1: the root, $2: this repository, $3: its packages.
ENTER_ROOT: Final = """
root=$1 repository=$2 packages=$3; shift 3
mount --bind "$root" "$root"  # tests that unshare mounts need a mount at "/"
mount --bind "$repository" "$root/cohabit"
mount --bind "$packages" "$(echo "$root"/usr/local/lib/python3.*/dist-packages)"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t tmpfs tmpfs "$root/tmp"
exec chroot "$root" sh -euc 'cd /cohabit && exec "$@"' sh "$@"
"""


def main(names: list[str]) -> int:
    """Run the unit tests with each version in `names`; return 1 if any failed, 64 for an unknown name."""
    for name in names:
        if name not in (*RESOLUTIONS, SUITE) and not re.fullmatch(r"python3\.\d+", name):
            known = ", ".join((*RESOLUTIONS, SUITE, "python3.N"))
            print(f"cannot test with {name}: no such version (known: {known})", file=sys.stderr)
            return 64
    if SUITE in names and os.geteuid() != 0 and os.environ.get("CI") != "true":
        print(f"skipped {SUITE}: only root can make and enter its root file system", flush=True)
        names = [name for name in names if name != SUITE]
    failed = [name for name in names if not passes(name)]
    if failed:
        print(f"unit tests failed with: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def passes(name: str) -> bool:
    """Run the unit tests with one version; return whether they pass."""
    directory = os.path.join(ENVIRONMENTS, name)
    try:
        python = in_root(directory) if name == SUITE else in_environment(name, directory)
    except FileNotFoundError as error:
        print(
            f"cannot test with {name}: {error.filename} is not installed (apt-get install {error.filename})",
            file=sys.stderr,
        )
        return False
    except subprocess.CalledProcessError as error:
        print(f"cannot test with {name}: {error.cmd[0]} ended with {error.returncode}", file=sys.stderr)
        return False
    print(f"--- unit tests: {name}", flush=True)
    if name == "newest" and has_locked_libraries(python):
        print("not run: the newest libraries are the locked ones, as in `make test`", flush=True)
        return True
    ended = [
        subprocess.run([*python, *arguments], cwd=REPOSITORY, check=False)
        for arguments in (("-c", SHOW_VERSIONS), PYTEST)
    ]
    return all(one.returncode == 0 for one in ended)


def has_locked_libraries(python: list[str]) -> bool:
    """Whether an environment has exactly the versions of requirements/run.txt."""
    with open(os.path.join(REPOSITORY, "requirements", "run.txt"), encoding="utf-8") as file:
        locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", file.read(), re.MULTILINE))
    script = "import importlib.metadata, sys; print([importlib.metadata.version(name) for name in sys.argv[1:]])"
    done = subprocess.run([*python, "-c", script, *locked], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode == 0 and ast.literal_eval(done.stdout) == list(locked.values())


def in_environment(name: str, directory: str) -> list[str]:
    """Make a virtual environment; return the command line of its Python."""
    interpreter = name if name.startswith("python") else sys.executable
    uv("venv", "--clear", "--no-python-downloads", f"--python={interpreter}", directory)
    into = f"--python={directory}"
    uv("pip", "install", into, "--require-hashes", TOOLS)
    own = (into, "--no-build-isolation", "--editable", REPOSITORY)
    if name in RESOLUTIONS:
        uv("pip", "install", f"--resolution={RESOLUTIONS[name]}", *own)
    else:
        uv("pip", "install", into, "--require-hashes", LIBRARIES)
        uv("pip", "install", "--no-deps", *own)
    return [os.path.join(directory, "bin", "python")]


def in_root(directory: str) -> list[str]:
    """Make the root file system and its directory of packages; return the command line of its Python."""
    digest = hashlib.sha256(json.dumps([SUITE, os.uname().machine, ROOT_OPTIONS]).encode()).hexdigest()[:12]
    root = os.path.join(CACHE, f"{SUITE}-{digest}")
    if not os.path.exists(root):
        os.makedirs(CACHE, exist_ok=True)
        unfinished = f"{root}.{os.getpid()}"
        command = ["mmdebstrap", "--quiet", "--mode=root", *ROOT_OPTIONS, SUITE, unfinished]
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
            os.rename(unfinished, root)
        finally:
            subprocess.run(["rm", "-rf", "--one-file-system", unfinished], check=True)
    (library,) = glob.glob(f"{root}/usr/lib/python3.*")
    version = os.path.basename(library).removeprefix("python")
    subprocess.run(["rm", "-rf", directory], check=True)
    uv("pip", "install", f"--target={directory}", f"--python-version={version}", "--require-hashes", LIBRARIES, TOOLS)
    with open(os.path.join(directory, "cohabit.pth"), "w", encoding="ascii") as path:
        path.write("/cohabit/src\n")
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--"]
    environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
    return [*namespaces, "sh", "-euc", ENTER_ROOT, "sh", root, REPOSITORY, directory, *environment, "python3"]


def uv(*arguments: str) -> None:
    """Run uv. Raises CalledProcessError."""
    subprocess.run([UV, "--quiet", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
