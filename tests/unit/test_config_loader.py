"""The loader as a process: what it imports, and where it finds its libraries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import cronsim
import pytest
import yaml

import cohabit
from cohabit.lazy_pattern import lazy_pattern
from cohabit.program import packed

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = os.path.dirname(cohabit.__file__)
OF_SITE = "_sitebuiltins"  # site imports it; site itself is not listed
PYTHON = (sys.executable, "-I", "-S", "-X", "importtime")


def _run(*argv: str) -> tuple[str, set[str]]:
    """Standard output, and the modules that were imported by the first interpreter: -X is not inherited."""
    done = subprocess.run([*PYTHON, *argv], capture_output=True, text=True, check=True)
    return done.stdout, {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A valid file."""
    path = tmp_path / "cohabit.yaml"
    path.write_text("services: {web: {command: sh}}")
    return str(path)


@pytest.mark.parametrize("command", ["check", "config"])
def test_check_and_config_read_the_file_in_their_own_process(command: str, file: str) -> None:
    """The start of an interpreter takes as long as a small file."""
    printed, modules = _run(f"{PACKAGE}/__main__.py", command, "-f", file)
    assert "web" in printed
    assert {"cohabit.cli.main", "cohabit.config.load"} <= modules


def test_libraries_beside_the_package_are_found_without_site(tmp_path: Path, file: str) -> None:
    """As in a directory where pip has installed a wheel. Otherwise site finds them, as in this test's environment."""
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "cohabit").symlink_to(PACKAGE)
    argv = (f"{installed}/cohabit/config/__main__.py", "check", packed({"files": [file]}))
    assert OF_SITE in _run(*argv)[1]
    for library in (yaml, cronsim):
        (installed / library.__name__).symlink_to(library.__path__[0])
    printed, modules = _run(*argv)
    assert "valid: 1 service (web)" in printed
    assert "yaml" in modules
    assert OF_SITE not in modules


def test_patterns_of_pyyaml_are_not_compiled() -> None:
    """They belong to its own parser. After the import, re.compile is that of Python."""
    code = (
        f"import re, sys; sys.path += [{os.path.dirname(PACKAGE)!r}, {os.path.dirname(yaml.__path__[0])!r}]\n"
        "compile_now = re.compile\n"
        "from cohabit.config.text.yaml_text import parse\n"
        "assert parse('a: 1.5', 'x')[0][0].value['a'].value == 1.5\n"
        "assert re.compile is compile_now\n"
        "import yaml\n"
        "assert 'search' not in vars(yaml.reader.Reader.NON_PRINTABLE)\n"
        "assert yaml.load('a: [1, 2.5, 2026-01-02]', yaml.SafeLoader)['a'][1] == 2.5\n"
        "assert 'search' in vars(yaml.reader.Reader.NON_PRINTABLE)\n"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_a_lazy_pattern_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def compile_now(pattern: str, flags: int) -> re.Pattern[str]:
        compiled.append(pattern)
        return original(pattern, flags)

    original = re.compile
    monkeypatch.setattr(re, "compile", compile_now)
    pattern = lazy_pattern("[a-z]+", re.IGNORECASE)
    assert not compiled
    assert [pattern.fullmatch(text) is not None for text in ("aB", "1", "")] == [True, False, False]
    assert compiled == ["[a-z]+"]
