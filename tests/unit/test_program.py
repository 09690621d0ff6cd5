"""How our own programs are started."""

import os
import sys

import pytest

from cohabit import program as module
from cohabit.program import program


@pytest.mark.parametrize("name", module._PROGRAMS)
def test_each_program_exists_and_is_isolated(name: str) -> None:
    """With its arguments last, unchanged, and nothing of the user's Python environment."""
    interpreter, isolated, *_, file, first, second = program(name, "-x", "")
    assert (interpreter, isolated, first, second) == (sys.executable, "-I", "-x", "")
    assert os.path.isfile(file)


def test_options_of_the_interpreter_precede_the_program() -> None:
    """Python reads them before the file."""
    words = program("cohabit", "up", options=("-X", "cohabit-resume=5"))
    assert words[1:5] == ("-I", "-S", "-X", "cohabit-resume=5")
    assert words[5].endswith("/cohabit/__main__.py")
    assert words[6:] == ("up",)
