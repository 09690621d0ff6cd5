"""`cohabit check --build`: what may exist only when the container runs does not fail the build of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cohabit.config import load

pytestmark = pytest.mark.usefixtures("here")

FILE = """
secrets:
  key: {environment: KEY_THAT_IS_NOT_SET}
  ext: {external: true}
  file: {file: /nowhere/secret}
services:
  web:
    command: sh -c "echo ${URL_THAT_IS_NOT_SET:?write it}"
    environment: {A: "${URL_THAT_IS_NOT_SET:?write it}", B_FILE: /run/secrets/nowhere}
    env_file: /nowhere/web.env
    stop_grace_period: ${OTHER_THAT_IS_NOT_SET:?}
    secrets: [key, ext, file]
    ulimits: {nofile: 1073741816}
  job:
    command: ls
    conditions: {environment: KEY_THAT_IS_NOT_SET}
"""


def check(text: str, capfd: pytest.CaptureFixture[str], **request: Any) -> tuple[int, list[str]]:
    """The exit code and the printed lines."""
    Path("cohabit.yaml").write_text(text)
    code = load.main("check", {"files": [], **request})
    return code, capfd.readouterr().out.splitlines()


def test_what_may_exist_later_is_a_note(capfd: pytest.CaptureFixture[str]) -> None:
    """Without the option they are errors, and the last line names it."""
    code, lines = check(FILE, capfd)
    assert code == 78
    assert lines[-1].endswith("errors (in a Dockerfile: cohabit check --build)")
    code, lines = check(FILE, capfd, build=True)
    assert code == 0, lines
    notes = [line.partition(": note: at run time: ")[2] for line in lines]
    for text in (
        "services.web.command: the variable URL_THAT_IS_NOT_SET",
        "services.web.stop_grace_period: the variable OTHER_THAT_IS_NOT_SET",
        "services.web.env_file: cannot read /nowhere/web.env: no such file",
        "cannot provide the secret key: the variable KEY_THAT_IS_NOT_SET is not set",
        "cannot provide the secret ext: it is external",
        "cannot provide the secret file: there is no file",
        "cannot set B for web: /run/secrets/nowhere does not exist",
    ):
        assert any(note.startswith(text) for note in notes), (text, lines)
    assert "2 services (web, job)" in lines[-1]


@pytest.mark.parametrize(
    "service",
    [
        "command: no-such-program",
        "{command: no-such-program, conditions: {environment: KEY_THAT_IS_NOT_SET}}",
        "{command: ls, restart: allways}",
        "{command: ls, user: no-such-user}",
        "{command: ls, working_dir: /nowhere}",
    ],
)
def test_what_the_image_lacks_is_an_error(service: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A condition on a variable may hold at run time, so the program has to be in the image."""
    text = f"services:\n  web:\n    {service}\n" if service[0] != "{" else f"services: {{web: {service}}}\n"
    code, lines = check(text, capfd, build=True)
    assert code in (78, 127), lines
    assert not any("note" in line for line in lines)


def test_a_condition_on_a_path_is_looked_at(capfd: pytest.CaptureFixture[str]) -> None:
    """The image has the file or not."""
    text = "services: {web: {command: ls}, x: {command: no-such, conditions: {path_exists: /nowhere/x}}}"
    assert check(text, capfd, build=True)[0] == 0


def test_check_without_a_file_does_not_speak_of_up(capfd: pytest.CaptureFixture[str]) -> None:
    code = load.main("check", {"files": []})
    assert code == 78
    assert capfd.readouterr().out.startswith("cohabit: cannot find cohabit.yaml")
