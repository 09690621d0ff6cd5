"""No message quotes a value of `environment`, of an env file or of a secret, nor four characters of it in a row.

Random texts stand wherever a value may come from, right and wrong, and everything that is said is searched.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from cohabit.config import compose
from cohabit.config.system import check_machine
from cohabit.config.values.file_variables import resolve
from cohabit.config.values.unquotable import Unquotable
from cohabit.plan.build import build
from cohabit.reactor.processes import child, spawn
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 4
# Letters that no message of ours has in a row, and everything that is special in YAML, in an env file and in a shell.
LETTERS = "QZJXVK7598"
SPECIAL = "$${}!%&*'\\\"`:#?@|<>= -_+/[](),.~^\t"
SECRETS = some.tuples(
    some.text(SPECIAL, max_size=3), some.text(LETTERS, min_size=6, max_size=9), some.text(SPECIAL, max_size=3),
    some.text(LETTERS, min_size=6, max_size=9), some.text(SPECIAL, max_size=2),
).map("".join)  # fmt: skip

# Each has one gap for the secret, as it is written: in quotes of YAML, in none, in an env file.
FILES = {
    "environment, a map": "services: {{web: {{command: [true], environment: {{PASSWORD: {0}}}}}}}",
    "environment, a list": "services: {{web: {{command: [true], environment: [PASSWORD={0}]}}}}",
    "environment, a text": "services: {{web: {{command: [true], environment: {0}}}}}",
    "environment, a list in it": "services: {{web: {{command: [true], environment: {{PASSWORD: [{0}]}}}}}}",
    "environment, a name": "services: {{web: {{command: [true], environment: [={0}]}}}}",
    "environment, no quotes": "services:\n  web:\n    command: [true]\n    environment:\n      PASSWORD: {1}\n",
    "environment of a hook": (
        "services: {{web: {{command: [true], pre_stop: [{{command: [true], environment: {{P: {0}}}}}]}}}}"
    ),
    "a path to a file": "services: {{web: {{command: [true], environment: {{FILE__PASSWORD: {0}}}}}}}",
    "PATH": "services: {{web: {{command: [no-such-program-here], environment: {{PATH: {0}}}}}}}",
    "content of a config": "configs: {{one: {{content: {0}}}}}\nservices: {{web: {{command: [true], configs: [one]}}}}",
    "content, a list": "configs: {{one: {{content: [{0}]}}}}\nservices: {{web: {{command: [true], configs: [one]}}}}",
    "an env file": "services: {{web: {{command: [true], env_file: secret.env}}}}",
    "the .env file": "services: {{web: {{command: [true], user: $PASSWORD, working_dir: $PASSWORD}}}}",
    "a variable of the container": (
        "services: {{web: {{command: [true], user: $GIVEN, stop_signal: $GIVEN, stop_grace_period: '${{GIVEN}}s', "
        "restart: $GIVEN, scale: $GIVEN, healthcheck: {{test: [TCP, $GIVEN], interval: $GIVEN}}, "
        "sockets: [$GIVEN], pid_file: $GIVEN, schedule: $GIVEN, logging: {{driver: $GIVEN}}}}}}"
    ),
    "a variable in a missing one": "services: {{web: {{command: [true], user: '${{GONE:?$GIVEN}}'}}}}",
}
ENV_FILES = ["PASSWORD={}", "PASSWORD='{}", 'PASSWORD="{}', "PASSWORD='x'{}", "{}", "export {}", "A=1\nPASSWORD: {}"]


def quoted(text: str) -> str:
    """A scalar of YAML that holds just this."""
    return "'" + text.replace("'", "''") + "'"


def pieces(text: str) -> set[str]:
    """Everything of a text that says something of it."""
    found = {text[at : at + PIECE] for at in range(len(text) - PIECE + 1)}
    return {piece for piece in found if any(letter in LETTERS for letter in piece)}


def said_of(directory: Path, file: str, environ: dict[str, str]) -> list[str]:
    """All that is said of a file: while it is read, put together, and held against this machine."""
    path = directory / "cohabit.yaml"
    path.write_text(file, encoding="utf-8", errors="surrogatepass")
    draft = compose.read({"verb": "up", "files": [str(path)], "profiles": [], "services": []}, environ)
    draft = resolve(draft, environ)
    problems = list(draft.problems)
    plan, more = build(draft, [])
    problems += more
    if plan:
        problems += check_machine(plan, draft, environ)
    return [problem.text for problem in problems]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(secret=SECRETS, where=some.sampled_from(sorted(FILES)), line=some.sampled_from(ENV_FILES))
def test_no_diagnostic_quotes_a_value(tmp_path: Path, secret: str, where: str, line: str) -> None:
    """Wherever it stands, and whatever is wrong with it."""
    for name in ("secret.env", ".env"):
        (tmp_path / name).write_text(line.format(secret) if where in ("an env file", "the .env file") else "")
    file = FILES[where].format(quoted(secret), secret)
    said = "\n".join(said_of(tmp_path, file, {"GIVEN": secret, "PATH": "/usr/bin"}))
    assert not [piece for piece in pieces(secret) if piece in said], said


@pytest.mark.parametrize(
    "value", ["hunter$(2-very-secret-tail", "${hunter!2-very-secret}", "hunter$2very", "a${very-secret", "x$verysecret"]
)
@pytest.mark.parametrize("where", ["environment, a map", "an env file"])
def test_what_follows_a_stray_dollar(tmp_path: Path, value: str, where: str) -> None:
    """It is the rest of a password; where it is, is said instead."""
    (tmp_path / "secret.env").write_text(f"A=1\nPASSWORD={value}\n", encoding="utf-8")
    said = said_of(tmp_path, FILES[where].format(quoted(value), value), {})
    assert said
    assert "PASSWORD" in said[0]
    assert not any(word in said[0] for word in ("very", "secret", "hunter", "2-"))


def test_what_a_variable_brought_is_hidden_where_it_is_quoted() -> None:
    """And nowhere else: a message has to stay readable."""
    hidden = Unquotable()
    hidden.add("hunter2-tail")
    hidden.add("it's\n")
    assert hidden.hide("user: 'unter2-t' is no user of hunter2-tail") == "user: '…' is no user of hunter2-tail"
    assert hidden.hide('got "it\'s\\n"') == 'got "…"'
    assert hidden.hide("nothing 'else' is") == "nothing 'else' is"


@pytest.mark.parametrize("error", [ValueError("SECRET"), UnicodeEncodeError("utf-8", "SECRET", 0, 1, "SECRET")])
def test_an_error_between_fork_and_exec_is_told_by_its_kind(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text may quote the environment; E2BIG and a program that is not found quote nothing of it either."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(child, "execute", fail)
    start = SpawnSpec(("true",), {"PASSWORD": "SECRET", "PATH": "/SECRET"}, InheritedSignals((), ()))
    message = b""
    _, errors = spawn.spawn(start)
    while not message:
        message = spawn.exec_errors(errors) or b""
    assert type(error).__name__ in spawn.failure(start, message)[0]
    for number in (errno.E2BIG, errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.EINVAL):
        message += f"{child.STEP_EXEC}\0{number}\0".encode()
        assert "SECRET" not in spawn.failure(start, message)[0]
        message = b""
