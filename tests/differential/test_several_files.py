"""Several files for one input: those of merged/, a table of pairs, and what hypothesis makes of the same parts."""

from __future__ import annotations

import itertools
import json
import os
import shlex
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from differential.oracle import Case
from differential.reading import drafted, ours, theirs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from differential.oracle import Compose

MERGED: Final = os.path.join(os.path.dirname(__file__), "merged")
ENVIRON: Final = {"FROM_OUTSIDE": "outside", "DIR": "parts"}


def _case(name: str) -> Case:
    """A directory of merged/: its files, and the options in `options`."""
    files: dict[str, str] = {}
    top = os.path.join(MERGED, name)
    for directory, _, names in os.walk(top):
        for one in names:
            path = os.path.join(directory, one)
            with open(path, encoding="utf-8") as file:
                files[os.path.relpath(path, top)] = file.read()
    options = files.pop("options", "").strip()
    return Case(files.pop("compose.yaml"), files, ENVIRON, f"{options} --profile *".strip())


def _files(case: Case) -> list[str]:
    """The files after -f in the options of a case."""
    words = shlex.split(case.options)
    return [word for before, word in itertools.pairwise(words) if before == "-f"]


NAMES: Final = sorted(os.listdir(MERGED))
CASES: Final = {name: _case(name) for name in NAMES}


@pytest.fixture(scope="module")
def answers(compose: Compose) -> dict[str, Any]:
    """Give what Compose says about each input."""
    return dict(zip(NAMES, compose.ask(list(CASES.values())), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_files_mean_what_they_mean_in_compose(name: str, answers: dict[str, Any]) -> None:
    """A name that begins with wrong- is refused by both."""
    found = ours(CASES[name], _files(CASES[name]))
    assert found == theirs(answers[name])
    assert (found is None) == name.startswith("wrong-")


# Keys of a service in two files.
PAIRS: Final = (
    ("command: [a, b]", "command: c"),
    ("command: [a]", "command:"),
    ("command: [a]", "command: []"),
    ("entrypoint: [a]", "entrypoint: b"),
    ("environment: {A: 1, B: 2}", "environment: {B: 3, C: 4}"),
    ("environment: {A: 1, B: 2}", "environment: [B=3, C]"),
    ("environment: [A=1, B]", "environment: {B: 3, FROM_OUTSIDE: }"),
    ("environment: [A=1, B=2, A=3]", "environment: [B=4]"),
    ("environment: {A: 1}", "environment: {A: }"),
    ("environment: {A: 1}", "environment:"),
    ("environment: {A: 1}", 'environment: ["${DIR}=1"]'),
    ('environment: {A: "a$$b"}', 'environment: ["B=a$$b"]'),
    ("depends_on: [b]", "depends_on: [c]"),
    ("depends_on: [b]", "depends_on: {b: {condition: service_healthy}}"),
    ("depends_on: {b: {condition: service_healthy, restart: true}}", "depends_on: [b, c]"),
    ("depends_on: {b: {condition: service_healthy}}", "depends_on: {b: {condition: service_started, required: false}}"),
    ("depends_on: [b]", "depends_on:"),
    ("healthcheck: {test: [CMD, a], interval: 5s}", "healthcheck: {test: b, retries: 2}"),
    ("healthcheck: {test: [CMD, a], interval: 5s}", "healthcheck: {disable: true}"),
    ("healthcheck: {test: [CMD, a]}", "healthcheck:"),
    ("env_file: a.env", "env_file: b.env"),
    ("env_file: [a.env, b.env]", "env_file: a.env"),
    ("env_file: [{path: a.env}]", "env_file: [b.env, {path: none.env, required: false}]"),
    ("env_file: [a.env, b.env, a.env]", "tty: true"),
    ("profiles: [p]", "profiles: [q, p]"),
    ("restart: always", "restart: on-failure:3"),
    ("restart: always", "restart:"),
    ("deploy: {replicas: 2, restart_policy: {condition: any}}", "deploy: {restart_policy: {max_attempts: 3}}"),
    ("secrets: [s]", "secrets: [t, {source: s, mode: 0400}]"),
    ("secrets: [s, {source: t, target: s}]", "tty: true"),
    ("configs: [{source: c, target: /x}]", "configs: [{source: d, target: /x}]"),
    ("working_dir: /a", "working_dir: /b"),
    ("stop_signal: SIGINT", "stop_grace_period: 3s"),
    ("tty: true", "tty: false"),
    ("scale: 2", "scale: 3"),
    ("links: [b]", "links: [c]"),
    ("volumes_from: [b]", "volumes_from: [c:ro]"),
    ("network_mode: service:b", "network_mode: host"),
    ("pid: service:b", "ipc: service:c"),
    ("uts: service:b", "tty: true"),
    ("volumes_from: [container:x]", "external_links: [y]"),
    ("links: [b:alias]", "depends_on: [b]"),
    ("command: [a]", "command: !reset null"),
    ("environment: {A: 1, B: 2}", "environment: {A: !reset null}"),
    ("environment: {A: 1, B: 2}", "environment: !override {C: 3}"),
    ("environment: [A=1]", "environment: !override [C=3]"),
    ("depends_on: {b: {condition: service_started}, c: {condition: service_started}}", "depends_on: {b: !reset null}"),
    ("depends_on: [b, c]", "depends_on: !override [c]"),
    ("healthcheck: {test: [CMD, a], interval: 5s}", "healthcheck: !reset {}"),
    ("healthcheck: {test: [CMD, a], interval: 5s}", "healthcheck: !override {test: [CMD, b]}"),
    ("healthcheck: {test: [CMD, a], interval: 5s}", "healthcheck: {interval: !reset 0s}"),
    ("profiles: [p]", "profiles: !reset []"),
    ("secrets: [s, t]", "secrets: !override [t]"),
    ("working_dir: /a", 'working_dir: !reset ""'),
    ("restart: always", "restart: !override no"),
    ("tty: !reset true", "tty: true"),
    ("tty: true", "stdin_open: !reset true"),
    ("environment: {A: 1}", "labels: {x: y}"),
)
# What Compose refuses, or means in another way (docs/reference/file.md).
DIFFERENT: Final = (
    ("environment: [A=1, B=2]", "environment: {A: !reset null}"),
    ("depends_on: {b: {condition: service_started}}", "depends_on: x"),
)
REFUSED: Final = (
    ("healthcheck: {test: x}", "healthcheck: [x]"),
    ("profiles: [p]", "profiles: p"),
    ("deploy: {replicas: 2}", "deploy: 3"),
    ("secrets: [s]", "secrets: {s: }"),
)
BASES: Final = """
  b: {image: x, healthcheck: {test: [CMD, x]}}
  c: {image: x}
"""
TOP: Final = """
secrets: {s: {file: ./s}, t: {file: ./t}}
configs: {c: {file: ./c}, d: {content: d}}
"""
BESIDE: Final = {"a.env": "A=a\nB=a\n", "b.env": "B=b\n"}
TWO_FILES: Final = "-f compose.yaml -f second.yaml --profile *"


def _forms(pairs: Iterable[tuple[str, str]]) -> list[Case]:
    """Pairs of services as two files, as two documents, and with `extends` in one file and in two."""
    numbered = list(enumerate(pairs))
    first = "services:" + BASES + "".join(f"  s{n}: {{image: x, {one} }}\n" for n, (one, _) in numbered) + TOP
    second = "services:\n" + "".join(f"  s{n}: {{ {two} }}\n" for n, (_, two) in numbered)
    local = "".join(
        f"  base{n}: {{image: x, {one} }}\n  s{n}: {{extends: base{n}, {two} }}\n" for n, (one, two) in numbered
    )
    other = "".join(f"  s{n}: {{extends: {{file: base.yaml, service: s{n}}}, {two} }}\n" for n, (_, two) in numbered)
    return [
        Case(first, {**BESIDE, "second.yaml": second}, ENVIRON, TWO_FILES),
        Case(f"{first}---\n{second}", BESIDE, ENVIRON),
        Case("services:" + BASES + local + TOP, BESIDE, ENVIRON),
        Case("services:" + BASES + other + TOP, {**BESIDE, "base.yaml": first}, ENVIRON),
    ]


def _same(compose: Compose, pairs: Iterable[tuple[str, str]]) -> None:
    """Both read the pairs in each form, and find the same services."""
    cases = _forms(pairs)
    for case, answer in zip(cases, compose.ask(cases), strict=True):
        files = _files(case) or ["compose.yaml"]
        mine, other = ours(case, files), theirs(answer)
        assert mine is not None, drafted(case, files)[1]
        assert other is not None, case
        for name, service in mine.items():
            assert service == other[name], (case.options, name)


def test_a_pair_of_services_is_merged_as_in_compose(compose: Compose) -> None:
    _same(compose, PAIRS)


def test_both_refuse_the_same_pairs(compose: Compose) -> None:
    cases = [case for pair in REFUSED for case in _forms([pair])]
    for case, answer in zip(cases, compose.ask(cases), strict=True):
        assert answer is None, case
        assert ours(case, _files(case) or ["compose.yaml"]) is None, case


def test_the_differences_are_these(compose: Compose) -> None:
    """Each listed difference still exists: a row that does not differ any more is to be removed."""
    cases = [_forms([pair])[0] for pair in DIFFERENT]
    for case, answer in zip(cases, compose.ask(cases), strict=True):
        assert ours(case, _files(case)) != theirs(answer), case


NAMES_OF: Final = st.sampled_from(["A", "B", "C"])
TEXT: Final = st.sampled_from(["1", "x y", "$$", "${DIR}", ""])
VARIABLES: Final = st.one_of(
    st.dictionaries(NAMES_OF, st.one_of(st.none(), TEXT), max_size=3),
    st.lists(st.one_of(NAMES_OF, st.builds("{}={}".format, NAMES_OF, TEXT)), max_size=3),
)
DEPENDENCY: Final = st.fixed_dictionaries(
    {"condition": st.sampled_from(["service_started", "service_completed_successfully"])},
    optional={"restart": st.booleans(), "required": st.booleans()},
)
SERVICE: Final = st.fixed_dictionaries(
    {},
    optional={
        "environment": VARIABLES,
        "labels": VARIABLES,
        "command": st.one_of(st.none(), TEXT, st.lists(TEXT, max_size=2)),
        "depends_on": st.one_of(
            st.lists(st.sampled_from(["b", "c"]), unique=True),
            st.dictionaries(st.sampled_from(["b", "c"]), DEPENDENCY),
        ),
        "env_file": st.lists(st.sampled_from(["a.env", "b.env"]), min_size=1, max_size=3),
        "profiles": st.lists(st.sampled_from(["p", "q"]), max_size=3),
        "links": st.lists(st.sampled_from(["b", "c:x"]), max_size=2),
        "healthcheck": st.fixed_dictionaries(
            {"test": st.sampled_from(["x", ["CMD", "y"], ["NONE"]])}, optional={"retries": st.integers(1, 3)}
        ),
        "secrets": st.lists(st.sampled_from(["s", {"source": "t", "target": "s"}, "t"]), max_size=3),
        "volumes": st.lists(st.sampled_from(["./a:/x", "./b:/x", "v:/y"]), max_size=3),
        "restart": st.sampled_from(["always", "no", "on-failure"]),
    },
)


def _flow(keys: dict[str, Any]) -> str:
    return json.dumps(keys)[1:-1] or '"tty": false'


@given(st.lists(st.tuples(SERVICE.map(_flow), SERVICE.map(_flow)), min_size=1, max_size=20))
@settings(max_examples=8, deadline=None)
def test_a_made_pair_is_merged_as_in_compose(compose: Compose, pairs: list[tuple[str, str]]) -> None:
    _same(compose, pairs)
