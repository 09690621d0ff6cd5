"""No message quotes a value of `environment`, of an env file or of a secret, nor four consecutive characters of it.

Random texts are placed wherever a value may come from, valid and invalid, and all messages are searched for them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from cohabit.config.readers import registry
from cohabit.config.system import check_machine
from cohabit.config.values.file_variables import resolve
from cohabit.config.values.unquotable import Unquotable
from cohabit.plan.build import build
from cohabit.plan.reason_text import text_of
from cohabit.reactor.processes import child, spawn, start_failure
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 4
# Letters that no message of cohabit has in sequence, and the special characters of YAML, env files and shells.
LETTERS = "QZJXVK7598"
SPECIAL = "$${}!%&*'\\\"`:#?@|<>= -_+/[](),.~^\t"
SECRETS = some.tuples(
    some.text(SPECIAL, max_size=3), some.text(LETTERS, min_size=6, max_size=9), some.text(SPECIAL, max_size=3),
    some.text(LETTERS, min_size=6, max_size=9), some.text(SPECIAL, max_size=2),
).map("".join)  # fmt: skip

# {0} is the secret quoted for YAML, {1} the secret without quotes.
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
        "sockets: [$GIVEN], pid_file: $GIVEN, log_files: [$GIVEN], schedule: $GIVEN, logging: {{driver: $GIVEN}}}}}}"
    ),
    "a variable in a missing one": "services: {{web: {{command: [true], user: '${{GONE:?$GIVEN}}'}}}}",
}
ENV_FILES = ["PASSWORD={}", "PASSWORD='{}", 'PASSWORD="{}', "PASSWORD='x'{}", "{}", "export {}", "A=1\nPASSWORD: {}"]


def quoted(text: str) -> str:
    """Return the text as a quoted YAML scalar."""
    return "'" + text.replace("'", "''") + "'"


def pieces(text: str) -> set[str]:
    """Return all substrings of PIECE characters with a letter of LETTERS."""
    found = {text[at : at + PIECE] for at in range(len(text) - PIECE + 1)}
    return {piece for piece in found if any(letter in LETTERS for letter in piece)}


def messages_about(directory: Path, file: str, environ: dict[str, str]) -> list[str]:
    """Return all messages about a file: from reading it, building the plan, and checking it against this machine."""
    path = directory / "cohabit.yaml"
    path.write_text(file, encoding="utf-8", errors="surrogatepass")
    draft = registry.read({"files": [str(path)], "profiles": [], "services": []}, environ)
    draft = resolve(draft, environ)
    problems = list(draft.problems)
    plan, more = build(draft, [])
    problems += more
    if plan:
        problems += check_machine(plan, draft, environ)
    return [problem.text for problem in problems]


@settings(suppress_health_check=list(HealthCheck))
@given(secret=SECRETS, where=some.sampled_from(sorted(FILES)), line=some.sampled_from(ENV_FILES))
def test_no_diagnostic_quotes_a_value(tmp_path: Path, secret: str, where: str, line: str) -> None:
    """A value is not quoted wherever it stands and whatever is wrong with it."""
    for name in ("secret.env", ".env"):
        (tmp_path / name).write_text(line.format(secret) if where in ("an env file", "the .env file") else "")
    file = FILES[where].format(quoted(secret), secret)
    messages = "\n".join(messages_about(tmp_path, file, {"GIVEN": secret, "PATH": "/usr/bin"}))
    assert not [piece for piece in pieces(secret) if piece in messages], messages


@pytest.mark.parametrize(
    "value", ["hunter$(2-very-secret-tail", "${hunter!2-very-secret}", "a${very-secret", "x$verysecret"]
)
@pytest.mark.parametrize("where", ["environment, a map", "an env file"])
def test_text_after_a_stray_dollar_is_not_quoted(tmp_path: Path, value: str, where: str) -> None:
    """It may be the rest of a password. The message names its place instead."""
    (tmp_path / "secret.env").write_text(f"A=1\nPASSWORD={value}\n", encoding="utf-8")
    messages = messages_about(tmp_path, FILES[where].format(quoted(value), value), {})
    assert messages
    assert "PASSWORD" in messages[0]
    assert not any(part in messages[0] for part in ("very", "secret", "hunter", "2-"))


def test_a_lone_dollar_needs_no_message(tmp_path: Path) -> None:
    """It stays in the value, as in Compose."""
    assert messages_about(tmp_path, FILES["environment, a map"].format("hunter$2very"), {}) == []


def test_the_value_of_a_variable_is_hidden_only_in_quotes() -> None:
    """Other occurrences stay, so that messages are readable."""
    hidden = Unquotable()
    hidden.add("hunter2-tail")
    hidden.add("it's\n")
    assert hidden.hide("user: 'unter2-t' is not a user of hunter2-tail") == "user: '…' is not a user of hunter2-tail"
    assert hidden.hide('got "it\'s\\n"') == 'got "…"'
    assert hidden.hide("nothing 'else' is") == "nothing 'else' is"


@pytest.mark.parametrize("error", [ValueError("SECRET"), UnicodeEncodeError("utf-8", "SECRET", 0, 1, "SECRET")])
def test_an_error_between_fork_and_exec_is_reported_by_its_type(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of such an error may quote the environment. E2BIG and a missing program quote nothing of it either."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(child, "execute", fail)
    spec = SpawnSpec(("true",), {"PASSWORD": "SECRET", "PATH": "/SECRET"}, InheritedSignals((), ()))
    message = b""
    _, errors = spawn.spawn(spec)
    while not message:
        message = spawn.exec_errors(errors) or b""
    assert type(error).__name__ in text_of(start_failure.exec_failure(spec, message))
    for number in (errno.E2BIG, errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.EINVAL):
        message += f"{child.STEP_EXEC}\0{number}\0".encode()
        assert "SECRET" not in text_of(start_failure.exec_failure(spec, message))
        message = b""
