"""The Draft of a file keeps what is written: typed keys, foreign keys, and values before interpolation."""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohabit.config.text import yaml_text
from cohabit.config.text.dump import dump
from cohabit.plan.build import build
from cohabit.plan.record import to_plain
from unit.file_story import draft

if TYPE_CHECKING:
    from cohabit.plan.node import Node

pytestmark = pytest.mark.usefixtures("here")

FILE = """\
name: shop
networks: {front: {driver: bridge}}
x-team: {mail: a@b}
secrets: {s: {file: x, labels: {a: b}}}
services:
  web:
    image: nginx:${TAG:-1.10}
    command: [nginx, -p, "${PORT:-80}"]
    ports: ["${PORT:-80}:80"]
    cpus: 0.50
    deploy:
      replicas: 2
      resources: {limits: {memory: 1g}}
    x-note: true
  db: {command: sh, volumes: [data:/var/lib]}
"""


def plain(node: Node) -> Any:
    """The values as they are written, scalars as text."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return None if node.value is None else (type(node.value).__name__, node.text)


def values(node: Node) -> Any:
    """The values of a tree."""
    if isinstance(node.value, dict):
        return {key: values(child) for key, child in node.value.items()}
    return [values(child) for child in node.value] if isinstance(node.value, list) else node.value


def foreign(text: str) -> dict[str, Any]:
    """The foreign keys of a file and of its services, with their values as they are written."""
    made = draft(text)
    found = {name: {key: plain(node) for key, node in item.foreign.items()} for name, item in made.services.items()}
    return {"": {key: plain(node) for key, node in made.foreign.items()}, **found}


def test_foreign_keys_are_kept_with_values_and_lines() -> None:
    made = draft(FILE)
    assert list(made.foreign) == ["name", "networks", "x-team", "secrets.s.labels"]
    web = made.services["web"]
    assert {key: node.line for key, node in web.foreign.items()} == {
        "image": 7,
        "ports": 9,
        "cpus": 10,
        "deploy.resources": 13,
        "x-note": 14,
    }
    assert web.foreign["image"].value == "nginx:${TAG:-1.10}"
    assert list(made.services["db"].foreign) == ["volumes"]


def test_typed_keys_are_kept_before_interpolation() -> None:
    web = draft(FILE).services["web"]
    assert web.service.command == ("nginx", "-p", "80")
    assert plain(web.written["command"]) == [("str", "nginx"), ("str", "-p"), ("str", "${PORT:-80}")]
    assert plain(draft(FILE).written["services"]).keys() == {"web", "db"}


def test_a_foreign_key_of_logging_belongs_to_its_service() -> None:
    text = "services:\n  a: {command: x, logging: {options: {labels: l}}}\n  b: {command: x}\n"
    assert foreign(text) == {"": {}, "a": {"logging.options.labels": ("str", "l")}, "b": {}}


def test_the_plan_has_no_foreign_keys() -> None:
    """Process 1 receives the Plan only: what it does not use would take its memory."""
    plan, _ = build(draft(FILE))
    assert plan
    sent = marshal.dumps(to_plain(plan))
    assert not [word for word in (b"nginx:", b"front", b"a@b", b"var/lib", b"PORT") if word in sent]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.sampled_from(
    [
        "${PORT:-80}:80",
        "1.10",
        "on",
        "0o17",
        "1e3",
        "~",
        "<<",
        "2020-01-01",
        "1:30",
        "a\\b",
        "\x85",
        "\u2028",
        "- x",
        "=",
        "&a",
    ]
)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)
FOREIGN = st.sampled_from(["image", "build", "ports", "volumes", "networks", "labels", "x-a", "x-"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.dictionaries(FOREIGN, VALUES, max_size=4),
    st.dictionaries(st.sampled_from(["name", "volumes", "x-b"]), VALUES, max_size=3),
    VALUES,
)
def test_foreign_keys_survive_a_round_trip(keys: dict[str, Any], top: dict[str, Any], limit: Any) -> None:
    """A file that is written from the Draft of another has the same foreign keys, with their values as written."""
    web = {"command": "x", "environment": {"P": "${PORT:-80}"}, **keys, "deploy": {"resources": limit}}
    text = yaml.dump({**top, "services": {"web": web}}, allow_unicode=True)
    first = draft(text)
    assert foreign(dump(first.written)) == foreign(text)
    assert list(first.foreign) == sorted(top)
    assert set(first.services["web"].foreign) == {*keys, "deploy.resources"}
    assert plain(first.services["web"].written["environment"]) == {"P": ("str", "${PORT:-80}")}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_every_value_is_dumped_for_old_and_new_yaml(value: Any) -> None:
    """PyYAML's own loader has YAML 1.1, our parser 1.2."""
    text = dump({"x": value})
    assert yaml.safe_load(text) == {"x": value}
    (node,), problems = yaml_text.parse(text, "f")
    assert (values(node), problems) == ({"x": value}, [])


def test_a_text_that_is_a_number_in_yaml_1_2_only_is_quoted() -> None:
    assert dump(["1e3", "0o17", "x"]) == '- "1e3"\n- "0o17"\n- x\n'


def test_a_number_keeps_its_text() -> None:
    """A version is not a number: 1.10 differs from 1.1."""
    node = draft("services: {web: {command: x, image: 1.10, init: yes, ports: [0o17, 80]}}").services["web"]
    shown = dump({key: node.foreign[key] for key in ("image", "init", "ports")})
    assert shown == "image: 1.10\ninit: 'yes'\nports:\n- 0o17\n- 80\n"
