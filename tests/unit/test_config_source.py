"""config/text/source.py: reading of files, and refusal of everything else."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from cohabit import paths
from cohabit.config.text.source import LIMIT_BYTES, UnreadableError, read_text

if TYPE_CHECKING:
    from pathlib import Path


def test_a_byte_order_mark_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes("\ufeffgrüße\n".encode())
    assert read_text(str(file)) == "grüße\n"


def test_a_file_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * LIMIT_BYTES)
    assert len(read_text(str(file))) == LIMIT_BYTES


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"x" * (LIMIT_BYTES + 1), "it is larger than 1 MiB (is it the right file?)"),
        (b"a\nb\0c", "it is binary, with a NUL byte in line 2 (is it the right file?)"),
        (b"a\n\xe9", "byte 0xe9 in line 2 is not UTF-8 (save it as UTF-8)"),
        ("a".encode("utf-16"), "it is UTF-16 (save it as UTF-8)"),
    ],
)
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    """Huge files, binary files and other encodings have different messages."""
    file = tmp_path / "f"
    file.write_bytes(content)
    with pytest.raises(UnreadableError) as error:
        read_text(str(file))
    assert str(error.value) == f"cannot read {file}: {why}"


def test_a_path_that_is_not_a_file_is_refused_without_blocking(tmp_path: Path) -> None:
    """A directory, a FIFO without a writer, a device and a socket do not block."""
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    expected = {
        str(tmp_path): "it is a directory (name a file in it)",
        str(tmp_path / "fifo"): "it is not a regular file (use - to read from standard input)",
        "/dev/zero": "it is not a regular file (use - to read from standard input)",
        str(tmp_path / "socket"): "it is not a regular file (use - to read from standard input)",
    }
    for path, why in expected.items():
        with pytest.raises(UnreadableError) as error:
            read_text(path)
        assert str(error.value) == f"cannot read {path}: {why}"


def test_a_missing_file_raises_file_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path / "f" / "below"):
        (tmp_path / "f").touch()
        with pytest.raises(FileNotFoundError):
            read_text(str(path))


def test_an_invalid_name_is_refused() -> None:
    with pytest.raises(UnreadableError, match="the path contains a NUL character"):
        read_text("a\0b")


def test_an_unreadable_file_is_reported_with_the_uid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read every file, so the refusal is simulated."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "f").touch()
    monkeypatch.setattr(paths.Place, "open", refuse)
    with pytest.raises(UnreadableError, match=r"permission denied \(make it readable by uid \d+\)"):
        read_text(str(tmp_path / "f"))
