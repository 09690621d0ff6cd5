"""The tools of these tests: run.py finds cohabit and no other process, accounting.py reads rotated files."""

import pytest

from linux.accounting import file_with_rotated
from linux.conftest import Gate, Start
from linux.run import COHABIT


def test_a_child_of_the_preparing_shell_is_not_cohabit(start: Start, gate: Gate, process_1: bool) -> None:
    """Before its exec, a child of the shell that prepares the namespace has cohabit's words in its command line."""
    setup = f"echo prepared; (read x < {gate.path})"
    run = start(*COHABIT, "run", "sleep 1000", setup=setup, process_1=process_1)
    run.until_printed("prepared")
    for _ in range(20):
        assert not run._find()
    gate.open()
    assert run.one("sleep 1000").parent == run.pid


@pytest.mark.parametrize("current", [b"", b"new\n"])
def test_a_log_file_that_does_not_exist_is_an_empty_one(tmp_path: object, current: bytes) -> None:
    """After a crash between the rename and the creation of the next file, only the rotated file exists."""
    with open(f"{tmp_path}/a.log.1", "wb") as file:
        file.write(b"old\n")
    if current:
        with open(f"{tmp_path}/a.log", "wb") as file:
            file.write(current)
    assert file_with_rotated(f"{tmp_path}/a.log") == b"old\n" + current
