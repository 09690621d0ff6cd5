"""Whole files: those of corpus/, and small ones for one rule each."""

import os
from typing import Any, Final

import pytest

from differential.oracle import Case, Compose
from differential.reading import ours, theirs

CORPUS: Final = os.path.join(os.path.dirname(__file__), "corpus")
ENVIRON: Final = {
    "FROM_OUTSIDE": "outside",
    "EMPTY_OUTSIDE": "",
    "POSTGRES_PASSWORD": "secret",
    "STACK_VERSION": "8",
    "ELASTIC_PASSWORD": "changeme",
    "DB_USER_SECRET": "name",
}


def _text(name: str) -> str:
    with open(os.path.join(CORPUS, name), encoding="utf-8") as file:
        return file.read()


NAMES: Final = sorted(name for name in os.listdir(CORPUS) if name.endswith(".yaml"))
BESIDE: Final = {".env": _text("dotenv.env"), "common.env": _text("common.env"), "override.env": _text("override.env")}
CASES: Final = {name: Case(_text(name), BESIDE, ENVIRON) for name in NAMES}

# Forms that one of the two refuses, with the reason in docs/reference/file.md: what both say, None for an error.
DIFFERENT: Final = {
    "a number stays as written": ("{environment: {A: 1.10, B: 0777, C: 1e3}}", "environment"),
    "an empty number is unset": ('{scale: "${NONE:-}"}', "replicas"),
    "an empty duration is unset": ('{stop_grace_period: "${NONE:-}"}', "grace"),
    "an empty boolean is unset": ('{tty: "${NONE:-}"}', "flags"),
    "an empty test is not set": ('{healthcheck: {test: "${NONE:-}"}}', "test"),
    "NONE may be a string": ("{healthcheck: {test: NONE}}", "test"),
    "a default is expanded only if it is used": ('{command: "${FROM_OUTSIDE:-${NONE:?}}"}', "command"),
    "braces are counted": ('{command: "${FROM_OUTSIDE:-{{.Name}}}"}', "command"),
    "a number as a user": ("{user: 1000}", ""),
    "a number as a signal": ("{stop_signal: 15}", "signal"),
    "a space after a name": ('{environment: ["F =1"]}', "environment"),
    "a key below build": ("{build: {contxt: .}}", ""),
    "a key below deploy.resources": ("{deploy: {resources: {limts: {cpus: 1}}}}", ""),
    "include of develop.watch": ("{develop: {watch: [{action: restart, path: a, include: [x]}]}}", ""),
    "initial_sync of develop.watch": (
        "{develop: {watch: [{action: sync, path: a, target: /a, initial_sync: true}]}}",
        "",
    ),
    "a string for ignore": ("{develop: {watch: [{action: restart, path: a, ignore: x}]}}", ""),
    "a string as a hook": ("{pre_start: [mkdir -p /x]}", ""),
    "an unknown condition": ("{deploy: {restart_policy: {condition: foo}}}", "restart"),
}


def _service(keys: str) -> Case:
    return Case(f"services: {{a: {{image: x, {keys[1:]}}}", BESIDE, ENVIRON)


@pytest.fixture(scope="module")
def answers(compose: Compose) -> dict[str, Any]:
    """Give what Compose says about each file."""
    return dict(zip(NAMES, compose.ask(list(CASES.values())), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_means_what_it_means_in_compose(name: str, answers: dict[str, Any]) -> None:
    found = ours(CASES[name])
    assert found == theirs(answers[name])
    assert found is not None


def test_the_differences_are_these(compose: Compose) -> None:
    """Each listed difference still exists: a row that does not differ any more is to be removed."""
    cases = [_service(keys) for keys, _ in DIFFERENT.values()]
    for (what, (_, key)), case, answer in zip(DIFFERENT.items(), cases, compose.ask(cases), strict=True):
        mine, other = ours(case), theirs(answer)
        if mine is not None and other is not None:
            assert mine["a"][key] != other["a"][key], what
        else:
            assert mine != other, what


# Rules of develop.watch, valid ones and others.
RULES: Final = (
    *("{action: sync, path: ./web, target: /src/web, ignore: [node_modules/, '!x']}", "{action: rebuild, path: a}"),
    *("{action: sync+restart, path: web/../x, target: t}", "{action: restart, path: .}", "{action: restart}"),
    *(
        "{action: restart, path: /a/../b}",
        "{action: restart, path: ~/b}",
        "{action: restart, path: a$$b, ignore: [$$z]}",
    ),
    *("{action: sync+restart, path: a}", "{action: sync, path: a}", "{path: a}", "{action: restart, path: a, pth: b}"),
    *("{action: sync+exec, path: a, target: /a, exec: {command: x y}}", "{action: rebuild, path: a, target: /x}"),
    *('{action: restart, path: "$FROM_OUTSIDE/a"}', "{action: restart, path: a, x-y: 1}", "{action: none, path: a}"),
    *('{action: restart, path: ""}', "[]", "x"),
)


def test_a_rule_means_what_it_means_in_compose(compose: Compose) -> None:
    cases = [_service(f"{{develop: {{watch: [{rule}]}}}}") for rule in RULES]
    for rule, case, answer in zip(RULES, cases, compose.ask(cases), strict=True):
        assert ours(case) == theirs(answer), rule


COMMANDS: Final = (
    *(r"a \.", r'a "\."', r'a "a\nb"', r"a a\nb", "a 'a\\nb'", "a && b", "a&b", "a;b", "a | b", "a > b", "a 2>b"),
    *("a 2 >b", "a ab2>c", '"a;b"', "'a && b'", 'a "" b', "a '' b", r"a\ b", "a\\", '"a', "'a", "a (b)", "a )"),
    *("`x y`", "a `x` b", "a `x", "a #b", r"a\"b", r'"a\"b"', r'"a\'b"', "a  b\tc", "a\nb", 'a "b c"d', "a \\\n b"),
    *("x=1 a", 'a "(b)"', "a 'b)' c", r'"a\\b"', r"a\\b", "$(x y) z", "$(x 'y) z", '"$(b c)"', "'$(b c)'", "a$(b"),
    *("", " ", "é ü", "a\rb", "1>b", "a<b", "a||b", "--x={a,b}", "~/x *", '"`x`"', "!x", r"'it'\''s'", "a $b", "a$"),
)


@pytest.fixture(scope="module")
def command_cases() -> list[Case]:
    """Give a case for each command."""
    return [_service("{command: " + _quoted(text.replace("$", "$$")) + "}") for text in COMMANDS]


def test_a_command_is_split_as_compose_splits_it(compose: Compose, command_cases: list[Case]) -> None:
    for case, answer in zip(command_cases, compose.ask(command_cases), strict=True):
        assert ours(case) == theirs(answer), case.compose


def _quoted(text: str) -> str:
    """The text as a double-quoted scalar of YAML."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(letter, letter) for letter in text) + '"'
