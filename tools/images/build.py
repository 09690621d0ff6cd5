#!/usr/bin/env python3
"""Builds the base images of the container tests and gives them to the Docker engine.

No registry is needed: mmdebstrap makes a Debian root file system out of packages, `docker import` makes it
an image. The file system is kept as a tarball in ${XDG_CACHE_HOME:-~/.cache}/cohabit-images, named after a
hash of its recipe, and so is the image: what is there already is not built again. To start afresh, delete
the tarball and the image. Servers that live on PyPI are part of it, so pip is needed where this runs.

This program knows Debian and the `docker` client and nothing of cohabit: what belongs on top of a base image
(cohabit.Dockerfile beside this file) is built by the tests that need it.

Use: tools/images/build.py [minimal] [services]     prints one image reference per line, in that order
"""

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from typing import Final

SUITE: Final = "bookworm"
TARBALLS: Final = os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
    "cohabit-images",
)

# pip is there so that the user's own line, RUN pip install cohabit, works in the image as it stands.
MINIMAL: Final = ("python3", "python3-pip", "procps")
PACKAGES: Final = {
    "minimal": MINIMAL,
    "services": (
        *MINIMAL,
        "apache2",
        "cron",
        "curl",
        "nginx-light",
        "openssh-server",
        "php-fpm",
        "postgresql",
        "redis-server",
        "s6",
        "squid",
        "xvfb",
    ),
}
# Servers from PyPI, one version for all machines: what they say in their logs is looked for by the tests.
FROM_PYPI: Final = {"services": ("gunicorn==23.0.0", "uvicorn==0.34.0")}
DEBIAN_PYTHON: Final = "3.11"
# Xvfb and PostgreSQL depend on drivers of OpenGL and a compiler that are larger than both, and work without them.
LEFT_OUT: Final = {"services": ("/usr/lib/*/dri/*", "/usr/lib/*/libLLVM*", "/usr/lib/postgresql/*/lib/llvmjit.so")}

OPTIONS: Final = (
    "--variant=minbase",
    "--mode=auto",
    *(f"--dpkgopt=path-exclude=/usr/share/{unread}/*" for unread in ("doc", "man", "locale", "info")),
    # An empty list of sources: `apt-get update` in a Dockerfile then does nothing and needs no network, and
    # `apt-get install` of what is there already succeeds. Host keys belong to a host, not to an image.
    '--customize-hook=rm -f "$1"/etc/apt/sources.list "$1"/etc/ssh/ssh_host_*',
)


def main(names: list[str]) -> int:
    """Print the image reference of each name in `names`, all if empty, building what is missing."""
    unknown = [name for name in names if name not in PACKAGES]
    if unknown:
        print(f"cannot build {unknown[0]}: no such image (one of {', '.join(PACKAGES)})", file=sys.stderr)
        return 64
    try:
        for name in names or PACKAGES:
            print(imported(name), flush=True)
    except FileNotFoundError as error:
        print(
            f"cannot build images: no {error.filename} here (apt-get install {error.filename})",
            file=sys.stderr,
        )
        return 69
    except subprocess.CalledProcessError as error:
        print(f"cannot build images: {error.cmd[0]} ended with {error.returncode}", file=sys.stderr)
        return 69
    return 0


def imported(name: str) -> str:
    """Return the reference of the image called `name`, after making sure that the engine has it."""
    recipe = json.dumps(
        [SUITE, platform.machine(), PACKAGES[name], OPTIONS, *FROM_PYPI.get(name, ()), *LEFT_OUT.get(name, ())]
    )
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    reference = f"cohabit-test/{name}:{digest}"
    known = subprocess.run(["docker", "image", "inspect", reference], capture_output=True, check=False)
    if known.returncode != 0:
        tarball = os.path.join(TARBALLS, f"{name}-{digest}.tar")
        if not os.path.exists(tarball):
            with tempfile.TemporaryDirectory() as wheels:
                left_out = tuple(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT.get(name, ()))
                bootstrap(tarball, PACKAGES[name], (*left_out, *from_pypi(FROM_PYPI.get(name, ()), wheels)))
        subprocess.run(["docker", "import", tarball, reference], stdout=subprocess.DEVNULL, check=True)
    return reference


def from_pypi(programs: tuple[str, ...], wheels: str) -> tuple[str, ...]:
    """Download `programs` and what they need into the directory `wheels`; return the options that install them."""
    if not programs:
        return ()
    wanted = ["--only-binary=:all:", f"--python-version={DEBIAN_PYTHON}", "--dest", wheels, *programs]
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "download", *wanted], stdout=sys.stderr, check=True)
    install = "pip install --quiet --no-index --find-links=/wheels --break-system-packages --root-user-action=ignore"
    return (
        f'--customize-hook=cp -r {shlex.quote(wheels)} "$1"/wheels',
        f'--customize-hook=chroot "$1" {install} {" ".join(programs)}',
        '--customize-hook=rm -r "$1"/wheels',
    )


def bootstrap(tarball: str, packages: tuple[str, ...], further: tuple[str, ...]) -> None:
    """Write a root file system with `packages` to `tarball`, whole or not at all; `further` options of mmdebstrap."""
    os.makedirs(os.path.dirname(tarball), exist_ok=True)
    unfinished = f"{tarball}.{os.getpid()}.tar"
    command = ["mmdebstrap", "--quiet", *OPTIONS, *further, f"--include={','.join(packages)}", SUITE, unfinished]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)
        os.rename(unfinished, tarball)
    finally:
        if os.path.exists(unfinished):
            os.unlink(unfinished)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
