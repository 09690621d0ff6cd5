"""The inotify wrapper on the real kernel: no root rights are needed."""

from __future__ import annotations

import errno
import select
import struct
from typing import TYPE_CHECKING

import pytest

from cohabit.tasks import inotify
from cohabit.tasks.inotify import Inotify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def watcher() -> Iterator[Inotify]:
    watcher = Inotify()
    yield watcher
    watcher.close()


def events(watcher: Inotify) -> list[tuple[int, int, bytes]]:
    return [(one.watch, one.mask, one.name) for one in watcher.read()]


def test_changes_in_a_directory(watcher: Inotify, tmp_path: Path) -> None:
    watch = watcher.add(str(tmp_path), inotify.CREATE | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.DELETE)
    assert events(watcher) == []
    (tmp_path / "a").touch()
    (tmp_path / "d").mkdir()
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b").unlink()
    assert select.select([watcher.fd], [], [], 0)[0]
    assert events(watcher) == [
        (watch, inotify.CREATE, b"a"),
        (watch, inotify.CREATE | inotify.IS_DIRECTORY, b"d"),
        (watch, inotify.MOVED_FROM, b"a"),
        (watch, inotify.MOVED_TO, b"b"),
        (watch, inotify.DELETE, b"b"),
    ]
    assert events(watcher) == []


def test_both_events_of_a_renaming_have_one_cookie(watcher: Inotify, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    watcher.add(tmp_path.as_posix(), inotify.MOVED_FROM | inotify.MOVED_TO)
    (tmp_path / "a").rename(tmp_path / "b")
    first, second = watcher.read()
    assert first.cookie == second.cookie != 0


def test_a_file_and_the_end_of_its_watch(watcher: Inotify, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    watch = watcher.add(str(file), inotify.MODIFY | inotify.DELETE_SELF)
    file.write_bytes(b"x")
    file.unlink()
    assert events(watcher) == [
        (watch, inotify.MODIFY, b""),
        (watch, inotify.DELETE_SELF, b""),
        (watch, inotify.IGNORED, b""),
    ]
    assert watcher.add(str(tmp_path), inotify.CREATE) != watch


def test_a_removed_watch_reports_its_end(watcher: Inotify, tmp_path: Path) -> None:
    watch = watcher.add(str(tmp_path), inotify.CREATE)
    assert watcher.add(str(tmp_path), inotify.CREATE) == watch
    watcher.remove(watch)
    assert events(watcher) == [(watch, inotify.IGNORED, b"")]
    with pytest.raises(OSError, match="Invalid") as error:
        watcher.remove(watch)
    assert error.value.errno == errno.EINVAL


def test_a_path_that_does_not_exist_or_is_not_of_that_kind(watcher: Inotify, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        watcher.add(str(tmp_path / "missing"), inotify.MODIFY)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        watcher.add(str(tmp_path / "file"), inotify.CREATE | inotify.ONLY_DIRECTORY)


def test_a_python_without_ctypes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inotify, "ctypes", None)
    with pytest.raises(OSError, match="ctypes") as error:
        Inotify()
    assert error.value.errno == errno.ENOSYS


def test_names_are_padded_and_may_be_missing() -> None:
    data = struct.pack("@iIII", 3, inotify.CREATE, 0, 16) + b"name".ljust(16, b"\0")
    data += struct.pack("@iIII", -1, inotify.OVERFLOW, 0, 0)
    assert [(one.watch, one.mask, one.name) for one in inotify.decode(data)] == [
        (3, inotify.CREATE, b"name"),
        (-1, inotify.OVERFLOW, b""),
    ]
