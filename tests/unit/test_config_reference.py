"""docs/reference/file.md agrees with the tables of keys."""

from __future__ import annotations

import os
import re
from typing import Literal, get_args

import pytest

from cohabit.config.keys import conditions, develop_fields, fields, logging_fields, other_files, resources
from cohabit.config.keys.table import Keys, fields_of
from cohabit.config.readers.registry import read
from cohabit.plan.model import CONDITIONS

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "reference", "file.md")
with open(PAGE, encoding="utf-8") as _file:
    TEXT = _file.read()
SECTIONS: dict[str, type[Keys]] = {
    "A service": fields.ServiceKeys,
    "extends, long form": other_files.ExtendsKeys,
    "include": other_files.IncludeKeys,
    "depends_on, long form": fields.DependsOnKeys,
    "conditions": conditions.ConditionKeys,
    "env_file, long form": fields.EnvFileKeys,
    "healthcheck": fields.HealthcheckKeys,
    "ulimits, long form": resources.UlimitKeys,
    "sockets, long form": resources.SocketKeys,
    "secrets and configs of a service, long form": resources.FileMountKeys,
    "secrets": resources.SecretKeys,
    "configs": resources.ConfigKeys,
    "deploy": fields.DeployKeys,
    "pre_start, post_start, pre_stop, post_stop": fields.HookKeys,
    "schedule, long form": fields.ScheduleKeys,
    "develop.watch": develop_fields.WatchKeys,
    "deploy.restart_policy": fields.RestartPolicyKeys,
    "logging": logging_fields.LoggingKeys,
    "x-cohabit": fields.GlobalKeys,
}


def rows(kind: type[Keys]) -> list[str]:
    """The rows of the page for a type."""
    return [f"| `{key}` | {field.description} |" for key, field in fields_of(kind).items()]


@pytest.mark.parametrize("section", list(SECTIONS))
def test_the_page_has_the_keys_and_descriptions_of_the_table(section: str) -> None:
    """The same keys in the same order with the same descriptions."""
    text = re.split(r"^#{2,3} ", TEXT.split(f"\n### {section}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows(SECTIONS[section])


def test_ignored_keys_are_listed() -> None:
    text = TEXT.split("\n### Ignored keys\n", 1)[1].split("\n### ", 1)[0]
    listed = set(re.findall(r"`([^`]+)`", text)) - {"x-"}
    kinds: tuple[type[Keys], ...] = (*SECTIONS.values(), fields.FileKeys, logging_fields.AssumedOptionKeys)
    assert listed == {key for kind in kinds for key in kind.ignored}


OPTIONS: dict[str, type[Keys]] = {
    "all but `inherit`, `none`": logging_fields.LineOptionKeys,
    "`file`": logging_fields.FileOptionKeys,
    "`syslog`": logging_fields.SyslogOptionKeys,
}


def test_the_page_on_logs_has_the_options_of_the_table() -> None:
    """By driver, with the same descriptions; common options are listed once."""
    with open(os.path.join(os.path.dirname(PAGE), "logs.md"), encoding="utf-8") as file:
        written = file.read().split("\n## Options\n", 1)[1].split("\n## ", 1)[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in written if line.startswith("| ")][1:]
    shared = rows(logging_fields.LineOptionKeys)
    wanted = [
        (driver, row) for driver, kind in OPTIONS.items() for row in rows(kind) if row not in shared or "all" in driver
    ]
    assert [(driver, f"| {option} | {meaning} |") for driver, option, _, _, meaning in cells] == wanted


def test_the_conditions_are_the_same_as_in_the_plan() -> None:
    """Two equal lists: a type cannot be built from a constant."""
    assert fields.Condition == Literal[CONDITIONS]
    assert set(get_args(fields.Condition)) == set(CONDITIONS)


def test_the_example_of_the_page_is_valid(tmp_path: os.PathLike[str]) -> None:
    """The first example of the page is a valid file."""
    example = TEXT.split("```yaml\n", 1)[1].split("```", 1)[0]
    path = os.path.join(tmp_path, "cohabit.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(example.replace("    user: www-data\n", "    user: '33'\n"))
    draft = read({"files": [path]}, {})
    assert draft.problems == ()
    assert list(draft.services) == ["migrate", "web", "nginx"]
    assert draft.stop_grace_seconds == 25.0
