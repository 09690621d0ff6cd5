"""How our own programs are started."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cohabit import program as module
from cohabit.program import program

SCRIPT = Path(__file__).parents[2] / "bin" / "cohabit"


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


@pytest.mark.parametrize("how", ["installed", "editable", "neither"])
def test_the_script_starts_the_interpreter_isolated(tmp_path: Path, how: str) -> None:
    """The package is found beside the script, or through the file of an editable installation: then without site."""
    packages, source = tmp_path / "lib" / "python3.99" / "site-packages", tmp_path / "a b" / "src"
    (tmp_path / "bin").mkdir()
    packages.mkdir(parents=True)
    script = shutil.copy(SCRIPT, tmp_path / "bin")
    interpreter = tmp_path / "bin" / "python3"
    interpreter.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    interpreter.chmod(0o755)
    if how != "neither":
        package = (packages if how == "installed" else source) / "cohabit"
        package.mkdir(parents=True)
        (package / "__main__.py").touch()
        (packages / "_editable_impl_cohabit.pth").write_text(f"{source}\n" if how == "editable" else "")
    given = subprocess.run(
        [script, "up", "--", "a b"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    assert given[0] == "-I"
    assert given[-3:] == ["up", "--", "a b"]
    if how == "neither":
        assert given[-5:-3] == ["-m", "cohabit"]
    else:
        assert given[1] == "-S"
        assert given[-4] == str(package / "__main__.py")
