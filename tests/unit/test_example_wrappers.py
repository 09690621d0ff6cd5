"""`cohabit doctor` on examples/wrappers: what it finds in each wrapper script, and nothing in what replaces it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cohabit.doctor.__main__ import main

WRAPPERS = Path(__file__).parents[2] / "examples" / "wrappers"
# The rule and the line of each finding in wrapper.sh.
EXPECTED = {
    "cron-app": ["background-process 5"],
    "drop-root": ["background-process 6"],
    "generated-password": ["background-process 7"],
    "gunicorn-nginx": ["background-process 5"],
    "log-file": ["keep-alive 5"],
    "nginx-php": ["background-process 3"],
    "nginx-template": ["keep-alive 6"],
    "postgres-once": ["background-process 7"],
    "sshd-if-key": ["keep-alive 10"],
    "trap-and-kill": ["trap-without-wait 6", "background-process 7"],
    "web-worker": ["background-process 2"],
}
each_example = pytest.mark.parametrize("name", EXPECTED)


def found(dockerfile: Path, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return the findings of the doctor on this Dockerfile, its scripts and the cohabit file beside it."""
    request = {"dockerfile": str(dockerfile), "file": "", "context": str(WRAPPERS), "ignore": ["not-cohabit"]}
    main({**request, "format": "json", "threshold": "none"})
    findings = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    return [f"{one['rule']} {one['line']}" for one in findings]


def test_every_example_is_here() -> None:
    """Each has a script, a file and a line in the README; sh accepts the script."""
    assert sorted(path.parent.name for path in WRAPPERS.glob("*/cohabit.yaml")) == sorted(EXPECTED)
    readme = (WRAPPERS / "README.md").read_text()
    for name in EXPECTED:
        assert f"| [{name}]({name}) |" in readme
        subprocess.run(["/bin/sh", "-n", WRAPPERS / name / "wrapper.sh"], check=True)


@each_example
def test_the_script_has_findings(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With the lines of the README that the script needs."""
    image, _, _ = (WRAPPERS / "Dockerfile").read_text().partition("HEALTHCHECK")
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f'{image}HEALTHCHECK NONE\nCOPY {name}/wrapper.sh /\nENTRYPOINT ["/wrapper.sh"]\n')
    assert found(dockerfile, capfd) == EXPECTED[name]


@each_example
def test_the_file_has_none(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the Dockerfile nor the services."""
    shutil.copy(WRAPPERS / "Dockerfile", tmp_path)
    shutil.copy(WRAPPERS / name / "cohabit.yaml", tmp_path)
    assert found(tmp_path / "Dockerfile", capfd) == []


@each_example
def test_the_file_is_read_by_the_doctor(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A command that goes to the background is found in each file: no file is left out for another reason."""
    shutil.copy(WRAPPERS / "Dockerfile", tmp_path)
    text = (WRAPPERS / name / "cohabit.yaml").read_text()
    changed, number = re.subn(r"(?m)^services:$", "services:\n  odd:\n    command: nginx", text)
    assert number == 1
    (tmp_path / "cohabit.yaml").write_text(changed)
    rules = {one.split()[0] for one in found(tmp_path / "Dockerfile", capfd)}
    assert rules == {"service-daemonizes", "service-stop-signal"}
