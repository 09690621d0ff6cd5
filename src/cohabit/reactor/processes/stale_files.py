"""Removal of stale files before a start: pid files, lock files and sockets of an earlier run (remove_before_start).

After `docker restart` the files of the container's layer are still there, and pids repeat, so that a program may find
its own pid in its lock file. This runs in the child, with the identity and the capabilities of the service: a service
gains no deletion. As root, a path in a directory that other users can change is refused: they could replace a directory
on the way. In a sticky directory (/tmp) only a file of root, or of our user, is removed.
"""

from __future__ import annotations

import _stat as stat
import errno

from cohabit import paths
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

STEP = "remove its stale files"
_REMOVABLE = (stat.S_ISREG, stat.S_ISSOCK, stat.S_ISFIFO, stat.S_ISLNK)


def remove(files: Iterable[str]) -> None:
    """Remove these files, sockets, FIFOs and links; those that do not exist are skipped. Raises OSError."""
    for path in files:
        try:
            with paths.locate(path, follow=False) as place:
                found = place.look()
                if found is not None:
                    _check(path, place, found)
                    place.unlink()
        except FileNotFoundError:  # it, or a directory on the way
            continue
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None


def _check(path: str, place: paths.Place, found: os.stat_result) -> None:
    """Raise OSError if it must not be removed."""
    if not any(is_kind(found.st_mode) for is_kind in _REMOVABLE):
        raise OSError(errno.EPERM, "it is a directory or a device", path)
    own = place.private or (place.sticky and paths.is_trusted(found.st_uid))
    if os.geteuid() == 0 and not own:
        why = f"it belongs to user {found.st_uid}" if place.sticky else place.weak
        raise OSError(errno.EPERM, f"{why}, and this service runs as root (set its `user:`)", path)
