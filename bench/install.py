"""Install every tool: cohabit from a wheel, the peers from PyPI, npm and Debian.

Everything except Debian packages is in a cache folder outside the repository. A tool that cannot be installed is
reported with the reason and not measured. All Python tools use the interpreter that runs the bench, resolved to the
real file, because a version manager's shim costs 40 ms.
"""

import hashlib
import os
import shutil
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "cohabit-bench")
PYTHON = os.path.realpath(sys.executable)
INSTALL_SECONDS = 600
PYPI = {"supervisord": "supervisor==4.3.0", "circusd": "circus", "honcho": "honcho"}
DEBIAN = {
    "tini": "tini",
    "dumb-init": "dumb-init",
    "s6-svscan": "s6",
    "runsvdir": "runit",
    "s6-log": "s6",
    "svlogd": "runit",
}
NPM = {"pm2-runtime": "pm2"}


class InstallError(Exception):
    """A tool cannot be installed; the text is the reason."""


def _run(argv: list[str]) -> str:
    """Run an installer and return its output. Raises InstallError with its last error line."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"cannot run {argv[0]}: {error}") from None
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no output"]
        errors = [line for line in lines if "Error" in line] or lines
        raise InstallError(f"{os.path.basename(argv[0])} {argv[1]} failed: {errors[-1].strip()}")
    return done.stdout


def _environment(name: str) -> str:
    """Return the folder of a virtual environment in the cache; make it if missing."""
    folder = os.path.join(CACHE, f"{name}-{sys.version_info.major}.{sys.version_info.minor}")
    if not os.path.exists(os.path.join(folder, "bin", "pip")):
        _run([PYTHON, "-m", "venv", "--clear", folder])
    return folder


def _sources_digest() -> str:
    """Return a digest of all files of the wheel."""
    digest = hashlib.sha256()
    paths = [os.path.join(REPOSITORY, "pyproject.toml")]
    for top in ("src", "bin"):
        for folder, folders, files in os.walk(os.path.join(REPOSITORY, top)):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            paths.extend(os.path.join(folder, name) for name in sorted(files))
    for path in paths:
        with open(path, "rb") as file:
            digest.update(os.path.relpath(path, REPOSITORY).encode() + b"\0" + file.read() + b"\0")
    return digest.hexdigest()


def install_cohabit() -> str:
    """Return the path of cohabit, installed from a wheel that is rebuilt when the sources have changed."""
    folder = _environment("cohabit")
    program = os.path.join(folder, "bin", "cohabit")
    stamp = os.path.join(folder, "sources.sha256")
    digest = _sources_digest()
    if os.path.exists(program) and os.path.exists(stamp):
        with open(stamp, encoding="ascii") as file:
            if file.read() == digest:
                return program
    pip = [os.path.join(folder, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, REPOSITORY])
    _run([*pip, "--force-reinstall", "--no-deps", "--no-cache-dir", REPOSITORY])
    if not os.path.exists(program):
        raise InstallError("the wheel has no command `cohabit`")
    with open(stamp, "w", encoding="ascii") as file:
        file.write(digest)
    return program


def _from_pypi(program: str) -> str:
    folder = _environment("peers")
    path = os.path.join(folder, "bin", program)
    if not os.path.exists(path):
        pip = os.path.join(folder, "bin", "pip")
        _run([pip, "install", "--quiet", "--disable-pip-version-check", PYPI[program]])
    return path


def _from_npm(program: str) -> str:
    path = os.path.join(CACHE, "npm", "node_modules", ".bin", program)
    if not os.path.exists(path):
        if shutil.which("npm") is None or shutil.which("node") is None:
            raise InstallError("needs node and npm, which are not on the PATH")
        _run(
            [
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--prefix",
                os.path.join(CACHE, "npm"),
                NPM[program],
            ]
        )
    return path


def _from_debian(program: str) -> str:
    if path := shutil.which(program):
        return path
    if shutil.which("apt-get") is None:
        raise InstallError(f"not on the PATH, and there is no apt-get to install `{DEBIAN[program]}`")
    if os.geteuid() != 0:
        raise InstallError(f"not on the PATH; only root can `apt-get install {DEBIAN[program]}`")
    _run(["apt-get", "install", "--yes", "--no-install-recommends", DEBIAN[program]])
    if path := shutil.which(program):
        return path
    raise InstallError(f"the package `{DEBIAN[program]}` has no `{program}`")


def install_peer(program: str) -> str:
    """Return the path of a peer's program; install it if missing. Raises InstallError."""
    os.makedirs(CACHE, exist_ok=True)
    if program in PYPI:
        return _from_pypi(program)
    if program in NPM:
        return _from_npm(program)
    return _from_debian(program)


def version(path: str, program: str) -> str:
    """Return a peer's version for the head of the report, "" if unknown."""
    try:
        if program in PYPI:
            python = os.path.join(os.path.dirname(path), "python")
            name = PYPI[program].partition("==")[0]
            return _run([python, "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]).strip()
        if program in NPM:
            return _run(
                ["node", "-p", f"require('{CACHE}/npm/node_modules/{NPM[program]}/package.json').version"]
            ).strip()
        return _run(["dpkg-query", "--show", "--showformat=${Version}", DEBIAN[program]]).strip()
    except InstallError:
        return ""


def compile_c(source: str) -> str:
    """Return the path of a C program of the bench; compile it into the cache if its source is newer."""
    os.makedirs(CACHE, exist_ok=True)
    program = os.path.join(CACHE, os.path.basename(source).removesuffix(".c"))
    if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise InstallError("needs a C compiler, and neither cc nor gcc is on the PATH")
        _run([compiler, "-O2", "-o", program, source])
    return program
