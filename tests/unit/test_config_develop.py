"""config/keys/develop.py and config/watching.py: the rules of develop.watch, and what `up --watch` says of them."""

from __future__ import annotations

import json
import marshal
import subprocess
from typing import TYPE_CHECKING, Any

from cohabit.config.readers import registry
from cohabit.plan.model import Hook, Watch
from cohabit.program import packed, program

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
services:
  web:
    command: sleep 1
    develop:
      watch:
        - {action: restart, path: ./src, ignore: [node_modules/, "${DIR:-tmp}"], x-why: sources}
        - {action: sync+restart, path: conf/../etc, target: etc/x/, include: "*.conf"}
        - {action: sync, path: /web, target: /srv/web, initial_sync: true}
        - {action: sync+exec, path: a, target: /a, exec: {command: make -s, user: root}}
        - {action: rebuild, path: package.json}
  db: {command: sleep 2, develop: {watch: [{action: sync, path: x, target: /x}]}}
  empty: {command: sleep 3, develop: {}}
  off: {command: sleep 4, develop: {watch: []}}
"""


def _loaded(directory: Path, text: str = FILE, **request: Any) -> Any:
    path = directory / "cohabit.yaml"
    path.write_text(text)
    command = program("loader", "plan", packed({"files": [str(path)], **request}))
    done = subprocess.run(command, capture_output=True, check=True)
    return marshal.loads(done.stdout)  # noqa: S302


def test_the_rules_of_a_service(tmp_path: Path) -> None:
    """Paths are relative to the file, targets to the root; one pattern needs no list."""
    path = tmp_path / "cohabit.yaml"
    path.write_text(FILE)
    draft = registry.read({"files": [str(path)]}, {})
    assert [problem.text for problem in draft.problems] == []
    rules = draft.services["web"].service.watch
    root = draft.services["web"].service.watch[3].command
    assert rules == (
        Watch("restart", f"{tmp_path}/src", ignore=("node_modules/", "tmp")),
        Watch("sync+restart", f"{tmp_path}/etc", "/etc/x", include=("*.conf",)),
        Watch("sync", "/web", "/srv/web", initial_sync=True),
        Watch("sync+exec", f"{tmp_path}/a", "/a", command=root),
        Watch("rebuild", f"{tmp_path}/package.json"),
    )
    assert isinstance(root, Hook)
    assert root.command == ("make", "-s")
    assert [rule.watched for rule in rules] == [f"{tmp_path}/src", "/etc/x", "", "", ""]
    assert [draft.services[name].service.watch for name in ("empty", "off")] == [(), ()]


def test_config_prints_the_rules(tmp_path: Path) -> None:
    """With the paths resolved, as Compose does, and what is not written left out."""
    path = tmp_path / "cohabit.yaml"
    path.write_text(FILE)
    command = program("loader", "config", packed({"files": [str(path)], "json": True}))
    done = subprocess.run(command, capture_output=True, check=True)
    shown = json.loads(done.stdout)["services"]
    assert shown["web"]["develop"]["watch"][1:3] == [
        {"path": f"{tmp_path}/etc", "action": "sync+restart", "target": "/etc/x", "include": ["*.conf"]},
        {"path": "/web", "action": "sync", "target": "/srv/web", "initial_sync": True},
    ]
    assert "develop" not in shown["empty"]


def test_rules_have_an_effect_with_watch_only(tmp_path: Path) -> None:
    """Each action that has none here is explained once, whatever the number of rules and services."""
    answer = _loaded(tmp_path)
    assert (answer["plan"].get("watches", False), answer["warnings"]) == (False, [])
    answer = _loaded(tmp_path, watch=True)
    assert answer["plan"]["watches"] is True
    kinds = [text.partition("develop.watch: ")[2].partition(": ")[0] for text in answer["warnings"]]
    assert kinds == ["sync (web, db)", "sync+exec (web)", "rebuild (web)"]
    assert answer["warnings"][0].startswith(
        f"{tmp_path}/cohabit.yaml:5: warning: develop.watch: sync (web, db): a change"
    )


def test_without_rules_watch_is_an_error(tmp_path: Path) -> None:
    """Only the services that take part count, as in Compose."""
    text = "services: {a: {command: ls, develop: {watch: [{action: restart, path: x}]}}, b: {command: ls}}"
    answer = _loaded(tmp_path, text, watch=True, services=["b"])
    assert (answer["plan"], answer["exit_code"]) == (None, 64)
    assert "cannot watch: no service that takes part has develop.watch" in answer["problems"][0]
    assert _loaded(tmp_path, text, watch=True, services=["a"])["problems"] == []


def test_paths_of_an_included_file(tmp_path: Path) -> None:
    """They are relative to its directory."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.yaml").write_text(
        "services: {a: {command: ls, develop: {watch: [{action: restart, path: ./src}]}}}"
    )
    path = tmp_path / "cohabit.yaml"
    path.write_text("include: [sub/a.yaml]\nservices: {b: {command: ls}}")
    draft = registry.read({"files": [str(path)]}, {})
    assert draft.services["a"].service.watch == (Watch("restart", f"{tmp_path}/sub/src"),)


def test_rules_of_two_files_are_added(tmp_path: Path) -> None:
    """As lists are in Compose."""
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text(
            f"services: {{a: {{command: ls, develop: {{watch: [{{action: restart, path: {path.name}}}]}}}}}}"
        )
    draft = registry.read({"files": [str(path) for path in paths]}, {})
    assert [rule.path for rule in draft.services["a"].service.watch] == [str(path) for path in paths]
