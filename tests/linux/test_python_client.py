"""cohabit.client with a real cohabit: the examples of docs/reference/python.md, and the status against its schema."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cohabit.client import Client, CohabitError, RefusedError, VersionMismatchError
from linux.conftest import Start
from linux.run import AT_MOST_SECONDS, Run, shell

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SCHEMA = json.loads((REFERENCE / "status.schema.json").read_text(encoding="utf-8"))
SLEEP = {"command": ["sleep", "1000"], "stop_grace_period": "1s"}
PROBED = {**SLEEP, "healthcheck": {"test": ["CMD-SHELL", "test ! -e sick"], "interval": "50ms", "retries": 1}}
JOB: dict[str, Any] = {
    "command": shell("echo done; exit 3"),
    "essential": False,
    "healthcheck": {"test": ["CMD", "false"]},
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "boolean": bool, "integer": int, "number": (int, float), "array": list, "object": dict,
    "null": type(None),
}  # fmt: skip


def problems(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """Return why a value does not match a schema; only for the keywords that tools/status_page.py writes."""
    if "$ref" in schema:
        return problems(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], where)
    if "anyOf" in schema:
        each = [problems(value, one, where) for one in schema["anyOf"]]
        return [] if [] in each else [text for one in each for text in one]
    matches = isinstance(value, _TYPES[schema["type"]]) and isinstance(value, bool) == (schema["type"] == "boolean")
    if not matches:
        return [f"{where}: {value!r} is not of type {schema['type']}"]
    found: list[str] = []
    if schema["type"] == "array":
        for index, one in enumerate(value):
            found += problems(one, schema["items"], f"{where}[{index}]")
    if schema["type"] == "object":
        known = schema.get("properties", {})
        found += [f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value]
        found += [f"{where}: {name} is not in the schema" for name in value if known and name not in known]
        other = schema.get("additionalProperties", {"anyOf": []})
        for name, inner in value.items():
            found += problems(inner, known.get(name, other), f"{where}.{name}")
    return found


@pytest.fixture
def run(up: Start, tmp_path: Path) -> Run:
    """A cohabit with a probed service, a replicated one and a job that has failed."""
    services = {"web": PROBED, "two": {**SLEEP, "scale": 2, "depends_on": ["web"]}, "job": JOB}
    run = up(services, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    run.until_printed("two-2: started")
    return run


def test_real_answers_match_the_schema(run: Run, tmp_path: Path) -> None:
    """Each field is there with its type, and no other one."""
    with Client(str(tmp_path / "run" / "control")) as cohabit:
        cohabit.wait("web", timeout=AT_MOST_SECONDS)
        cohabit.wait_for_exit("job", timeout=AT_MOST_SECONDS)
        for options in ([], ["output=3"]):
            container, *services = (json.loads(line) for line in cohabit.request("status", options).lines())
            assert len(services) == 4
            assert problems({"container": container, "services": services}, SCHEMA) == []
        status = cohabit.status(output=3)
        assert problems(status.to_json(), SCHEMA) == []
        assert problems({"container": container | {"pid": "1"}, "services": []}, SCHEMA) != []
        job = next(service for service in status.services if service.name == "job")
        assert (job.code, job.output, job.command) == (3, ("done",), tuple(JOB["command"]))
        assert next(service.probe.kind for service in status.services if service.probe) == "exec"
    assert run.stop() == 0


def test_the_examples_of_the_page(run: Run, tmp_path: Path) -> None:
    """In a program of their own, which finds the socket as the command line does."""
    example = re.findall(r"```python\n(.*?)```", (REFERENCE / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    calls = "print(restart_what_is_unhealthy())\nprint(start('two'))\nprint(start('job'))\nprint(start('no'))\n"
    (tmp_path / "program.py").write_text(example[0] + calls, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "program.py")]
    environment = {"COHABIT_RUNTIME_DIR": str(tmp_path / "run")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=AT_MOST_SECONDS)
    restarted, started, failed, *_, unknown = done.stdout.splitlines()
    assert restarted in ("[]", "['web']")
    assert started == "ready: two-1, two-2"
    assert failed.startswith("cannot start: job ended with exit code 3")
    assert unknown == "no is not in the file"
    assert run.stop() == 0
    lost = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=AT_MOST_SECONDS
    )
    assert "no cohabit is listening" in lost.stderr


def test_a_stream_and_requests_share_a_connection(run: Run, tmp_path: Path) -> None:
    """Events arrive while other requests are answered, also after a re-execution of cohabit."""
    with Client(str(tmp_path / "run" / "control")) as cohabit:
        events = cohabit.events("web", follow=True)
        assert next(events).event == "wanted"
        assert cohabit.health("job").passed is False
        assert cohabit.restart("web", timeout=AT_MOST_SECONDS) == "ready: web"
        assert cohabit.reexec(timeout=AT_MOST_SECONDS)
        assert cohabit.stop("web", timeout=AT_MOST_SECONDS).startswith("stopped: web")
        names: list[str] = []
        while names.count("STOPPING") < 2 or names[-1] != "STOPPED":
            names.append(next(events).event)
        assert names.count("ready") == 2
        with pytest.raises(RefusedError) as caught:
            cohabit.signal("HUP", "web")
        assert caught.value.code == "not_running"
        with pytest.raises(CohabitError) as refused:
            cohabit.status("nothing")
        assert (refused.value.code, refused.value.exit_code) == ("unknown_service", 64)
    assert run.stop() == 0


def test_another_version_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server, with a text that says which side is older."""
    monkeypatch.setattr("cohabit.client.connection.GREETING", "cohabit/1")
    with pytest.raises(VersionMismatchError, match=r"cannot status: the client speaks .* is older \(use"):
        Client(str(tmp_path / "run" / "control")).status()
    assert run.stop() == 0
