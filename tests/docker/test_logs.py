"""Logs for users: on `docker logs`, in the engine's own records, in files of the container."""

import json
from typing import Any, Final

from docker.container import Build, Container, Logs, Start
from docker.mounted import Mounted

LONG: Final = 100_000


def records(logs: Logs) -> list[dict[str, Any]]:
    """Return the records on `docker logs`; every line must be a JSON object."""
    return [json.loads(line) for line in (logs.stdout + logs.stderr).splitlines()]


def until_written(container: Container, service: str, text: str) -> dict[str, Any]:
    """Return the first record of a service with this text, once there is one."""
    found: list[dict[str, Any]] = []

    def there(logs: Logs) -> bool:
        found[:] = [one for one in records(logs) if one["service"] == service and text in json.dumps(one)]
        return bool(found)

    container.until_output(there, f"{text!r} from {service}")
    return found[0]


def ask(container: Container, path: str) -> None:
    """Send a request to the example's server; the answer may be an error."""
    program = f"from urllib.request import urlopen; urlopen('http://127.0.0.1:8000{path}')"
    container.exec("python3", "-c", program, check=False)


def test_the_example(image: Build, start: Start) -> None:
    """logs: as its README says; a traceback is one record, JSON is merged, the token appears nowhere."""
    container = start(image("examples/logs", "minimal"), options=("--env=TOKEN=letmein-please",))
    until_written(container, "app", "serving on port 8000")
    for path in ("/", "/oops", "/config"):
        ask(container, path)
    failed = until_written(container, "app", "cannot serve")
    assert failed["level"] == "error"
    assert failed["stream"] == "stderr"
    assert failed["message"].splitlines()[1] == "Traceback (most recent call last):"
    assert failed["message"].splitlines()[-1] == "ValueError: invalid literal for int() with base 10: 'no such product'"
    order = until_written(container, "orders", '"order": 2')
    assert order["amount"] == {"value": 14, "unit": "EUR"}
    assert "message" not in order
    assert until_written(container, "app", "token is")["message"].endswith("token is ***")
    assert until_written(container, "cohabit", "app: started")["level"] == "info"
    assert "token is ***" in container.exec("cohabit", "logs", "app").stdout
    assert '"order": 1' in container.shell("head -1 /var/log/shop/orders.log")
    assert container.stop().code == 0
    assert "letmein" not in "".join(container.logs())


def test_the_engine_cuts_no_record(servers: str, file: Mounted, start: Start) -> None:
    """The engine stores whole records of a long line, each under 16 KiB, which together form the line."""
    script = f"printf '%0{LONG}d\\n' 7; echo after; sleep 1000"
    file.write({"a": {"command": ["sh", "-c", script], "logging": {"driver": "json"}}})
    container = start(servers, options=file.options)
    container.until_output(lambda logs: '"after"' in logs.stdout, "the line after")
    kept = container.inspect()["LogPath"]
    with open(kept, encoding="utf-8") as log:
        entries = [one for one in map(json.loads, log) if one["stream"] == "stdout"]
    assert all(one["log"].endswith("\n") and len(one["log"]) < 16_384 for one in entries)
    *parts, after = [json.loads(one["log"]) for one in entries]
    assert [part["partial_ordinal"] for part in parts] == list(range(1, len(parts) + 1))
    assert [part["partial_last"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(part["message"] for part in parts) == "7".rjust(LONG, "0")
    assert after["message"] == "after"


def test_a_container_that_may_write_nothing(servers: str, file: Mounted, start: Start) -> None:
    """Read-only and as nobody: a file that cannot be written is reported once and blocks only its service."""
    entries = [{"driver": "prefix"}, {"driver": "file", "options": {"path": "/srv/out.log", "mode": "non-blocking"}}]
    file.write(
        {
            "a": {"command": ["sh", "-c", "while echo line; do sleep 0.05; done"], "logging": entries},
            "b": {"command": "sleep 1000"},
        }
    )
    container = start(servers, options=(*file.options, "--read-only", "--tmpfs=/tmp", "--user=65534:65534"))
    container.until_logged("cohabit", "cannot write /srv/out.log: Read-only file system")
    container.until_logged("a", "line", times=20)
    assert sum("cannot write" in line for line in container.logs().of("cohabit")) == 1
    assert container.stop().code == 0
