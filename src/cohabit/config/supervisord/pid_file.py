"""The pidfile of supervisord: the loader writes it for its parent, process 1, before the programs start."""

from __future__ import annotations

import os

from cohabit import paths

_MODE, _DIRECTORY_MODE = 0o644, 0o755


def write_pid_file(path: str) -> str:
    """Write the pid of our parent; returns a warning, "" for success. supervisord goes on without the file, too."""
    try:
        place, fd = paths.open_to_append(path, mode=_MODE, directory_mode=_DIRECTORY_MODE)
    except OSError as error:
        return f"could not write pidfile {path}: {error.strerror}"
    try:
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getppid()}\n".encode())
    except OSError as error:
        return f"could not write pidfile {path}: {error.strerror}"
    finally:
        os.close(fd)
        place.close()
    return ""
