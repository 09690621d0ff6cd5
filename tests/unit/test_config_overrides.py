"""Options of `up` that change what the file says, and the questions of `config`."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.config import load, queries
from cohabit.config.overrides import overridden
from cohabit.config.readers import registry
from cohabit.plan.build import build
from cohabit.plan.model import COLOUR, NAME, TIME, Logging
from cohabit.program import packed, program

if TYPE_CHECKING:
    from pathlib import Path

    from cohabit.plan.model import Plan

FILE = """
services:
  db: {command: sleep 1, essential: false, stop_grace_period: 1m}
  seed: {command: ls, depends_on: [db]}
  web:
    command: sleep 2
    depends_on: {db: {condition: service_started}, seed: {condition: service_completed_successfully}}
    logging: {driver: json}
  night: {command: ls, schedule: "0 3 * * *"}
  extra: {command: ls, profiles: [p]}
"""


def _plan(directory: Path, **request: Any) -> Plan:
    path = directory / "cohabit.yaml"
    path.write_text(FILE)
    request = {"services": [], **request}
    draft = overridden(registry.read({"files": [str(path)]}, {}), request)
    plan, problems = build(draft, request["services"])
    assert plan is not None, problems
    return plan


def test_without_options_the_draft_is_the_file(tmp_path: Path) -> None:
    """Every key of the request may be missing."""
    draft = registry.read({"files": [str(tmp_path)]}, {})
    assert overridden(draft, {}) == draft


def test_no_deps_runs_the_named_services_alone(tmp_path: Path) -> None:
    """Dependencies between named services stay."""
    assert list(_plan(tmp_path, no_deps=True, services=["web"]).services) == ["web"]
    plan = _plan(tmp_path, no_deps=True, services=["web", "db"])
    assert {name: [one.service for one in each.depends_on] for name, each in plan.services.items()} == {
        "db": [], "web": ["db"],
    }  # fmt: skip


def test_any_end_of_a_long_running_service_ends_the_container(tmp_path: Path) -> None:
    """--abort-on-container-exit: jobs that others wait for, and scheduled ones, are expected to end."""
    services = _plan(tmp_path, end_with="exit").services
    ends = {name: (each.essential, each.ends_on_success) for name, each in services.items()}
    assert (ends["db"], ends["web"]) == ((True, True), (True, True))
    assert (ends["seed"][1], ends["night"][1]) == (False, False)


def test_the_exit_code_of_one_service(tmp_path: Path) -> None:
    """--exit-code-from: the end of that service ends the container, also if it is a job of others."""
    plan = _plan(tmp_path, end_with="exit", exit_code_from="seed")
    assert (plan.exit_code_from, plan.services["seed"].essential, plan.services["seed"].ends_on_success) == (
        "seed", True, True,
    )  # fmt: skip
    draft = overridden(registry.read({"files": [str(tmp_path / "cohabit.yaml")]}, {}), {"exit_code_from": "sed"})
    assert "no such service (did you mean 'seed'?)" in str(build(draft)[1][0])


def test_what_precedes_each_line(tmp_path: Path) -> None:
    """Only with the driver prefix; cohabit's own messages keep their name."""
    plan = _plan(tmp_path, timestamps=True, no_color=True)
    assert [entry.before for entry in (*plan.services["db"].logging, *plan.logging)] == [(NAME, TIME), (NAME, TIME)]
    assert plan.services["web"].logging == (Logging("json"),)
    plan = _plan(tmp_path, timestamps=True, no_log_prefix=True)
    assert (plan.services["db"].logging[0].before, plan.logging[0].before) == ((TIME,), (NAME, COLOUR, TIME))
    plan = _plan(tmp_path, no_log_prefix=True)
    assert (plan.services["db"].logging[0].driver, plan.logging[0].driver) == ("raw", "prefix")


def test_any_failure_ends_the_container(tmp_path: Path) -> None:
    """--abort-on-container-failure: also that of a service with `essential: false`."""
    each = _plan(tmp_path, end_with="failure").services["db"]
    assert (each.essential, each.ends_on_success) == (True, False)


def test_replicas_timeout_and_prefix(tmp_path: Path) -> None:
    """--scale, -t and --no-log-prefix; other log drivers stay."""
    plan = _plan(tmp_path, replicas={"db": 2}, timeout=3.0, no_log_prefix=True)
    assert list(plan.services)[:2] == ["db", "db-2"]
    assert (plan.stop_grace_seconds, plan.services["db-2"].stop_grace_seconds) == (3.0, 3.0)
    assert [plan.services[name].logging[0].driver for name in ("db-2", "web")] == ["raw", "json"]


@pytest.mark.parametrize(
    ("request_", "printed"),
    [
        ({}, {"db", "seed", "web", "night"}),
        ({"no_attach": ["db", "web"]}, {"seed", "night"}),
        ({"attach": ["db"]}, {"db"}),
        ({"attach": ["db", "web"], "no_attach": ["web"]}, {"db"}),
        ({"command": ["bash"], "terminal": True}, set()),
        ({"command": ["bash"], "terminal": True, "attach": ["web"]}, {"web"}),
        ({"command": ["bash"], "terminal": False}, {"db", "seed", "web", "night"}),
    ],
)
def test_which_output_is_printed(tmp_path: Path, request_: dict[str, Any], printed: set[str]) -> None:
    """--attach, --no-attach, and nothing over the terminal of a command. Other destinations stay."""
    services = _plan(tmp_path, **request_).services
    assert {name for name, each in services.items() if each.logging[0].driver != "none"} == printed


def test_output_to_a_file_stays(tmp_path: Path) -> None:
    """The entry for the container's output is left out."""
    path = tmp_path / "x.yaml"
    path.write_text("services: {a: {command: x, logging: [{driver: json}, {driver: file, options: {path: /l}}]}}")
    draft = overridden(registry.read({"files": [str(path)]}, {}), {"no_attach": ["a"]})
    assert [each.driver for each in draft.services["a"].service.logging] == ["file"]
    draft = overridden(registry.read({"files": [str(path)]}, {}), {"no_attach": ["b"], "attach": ["a"]})
    assert [one.text for one in draft.problems] == ["cannot attach 'b': no such service"]


def _config(directory: Path, capfdbinary: pytest.CaptureFixture[bytes], **request: Any) -> tuple[int, str, str]:
    path = directory / "cohabit.yaml"
    path.write_text(FILE)
    code = load.main("config", {"files": [str(path)], **request})
    printed = capfdbinary.readouterr()
    return code, printed.out.decode(), printed.err.decode()


def test_questions_of_config(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """One line for each answer; a hash changes with the service."""
    assert _config(tmp_path, capfdbinary, show="services") == (0, "db\nseed\nweb\nnight\n", "")
    assert _config(tmp_path, capfdbinary, show="profiles") == (0, "p\n", "")
    assert _config(tmp_path, capfdbinary, show="quiet") == (0, "", "")
    code, out, _ = _config(tmp_path, capfdbinary, show="hash db,web")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["db", "web"])
    changed = _config(tmp_path, capfdbinary, show="hash db,web", timeout=5.0)[1]
    assert not set(changed.splitlines()) & set(out.splitlines())
    code, out, err = _config(tmp_path, capfdbinary, show="hash dbb")
    assert (code, out, err) == (64, "", "cohabit: cannot config: there is no service 'dbb' (did you mean 'db'?)\n")


def test_hashes_of_all_services() -> None:
    """The star of `docker compose config --hash '*'`."""
    lines = queries.hashes({"services": {"a": {"x": 1, "y": 2}, "b": {"y": 2, "x": 1}}}, "*")
    assert [line.split()[0] for line in lines] == ["a", "b"]
    assert lines[0].split()[1] == lines[1].split()[1]


def test_output_is_written_only_without_errors(tmp_path: Path) -> None:
    """-o FILE: errors are printed, and the file stays as it is."""
    (tmp_path / "cohabit.yaml").write_text(FILE)

    def run(**request: Any) -> tuple[int, str]:
        argv = program("loader", "config", packed({"files": [f"{tmp_path}/cohabit.yaml"], **request}))
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    target = tmp_path / "out"
    assert run(output=str(target), json=True) == (0, "")
    content = target.read_text()
    assert content.startswith("{")
    code, out = run(output=str(target), services=["nope"])
    assert (code, "nope" in out, target.read_text()) == (64, True, content)
    why = f"cohabit: cannot config: cannot write {tmp_path}/x/y: No such file or directory\n"
    assert run(output=f"{tmp_path}/x/y") == (71, why)


def test_a_compose_file_here_is_the_last_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cohabit file here, or in /etc/cohabit, comes first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docker-compose.yml").write_text("services: {a: {command: ls}}")
    assert list(registry.read({}, {}).services) == ["a"]
    (tmp_path / "compose.yaml").write_text("services: {b: {command: ls}}")
    assert list(registry.read({}, {}).services) == ["b"]
    (tmp_path / "cohabit.toml").write_text("[services.c]\ncommand = 'ls'\n")
    assert list(registry.read({}, {}).services) == ["c"]


VARIABLES = """
name: ${N:-shop}
services:
  web:
    command: run $A ${B:-x} $$E ${B:-y} ${F:-${G:-g}}
    environment: {K: "${D+d}", C: "${C-c}"}
    image: web:${TAG:?which}
    scale: ${S:?}
  off: {command: "a ${OFF}", profiles: [p]}
x-a: ["${C:?needed}", "$C", "${-"]
secrets: {pw: {environment: PASSWORD}}
"""


def _about_variables(directory: Path, show: str, environ: dict[str, str], **request: Any) -> tuple[int, str]:
    path = directory / "cohabit.yaml"
    path.write_text(VARIABLES)
    argv = program("loader", "config", packed({"files": [str(path)], "show": show, **request}))
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_variables_of_the_files(tmp_path: Path) -> None:
    """Docker's table, in the order of the file: required if one place requires it, and the first default."""
    code, out = _about_variables(tmp_path, "variables", {})
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[0] == ["NAME", "REQUIRED", "DEFAULT", "VALUE", "ALTERNATE", "VALUE"]
    assert rows[1:] == [
        ["N", "false", "shop"],
        ["A", "false"],
        ["B", "false", "x"],
        ["F", "false", "${G:-g}"],
        ["G", "false", "g"],
        ["D", "false", "d"],
        ["C", "true", "c"],
        ["TAG", "true"],
        ["S", "true"],
    ]
    code, out = _about_variables(tmp_path, "variables", {}, json=True, profiles=["p"])
    found = json.loads(out)
    assert found["OFF"] == {"required": False, "default": "", "alternate": ""}
    assert found["D"]["alternate"] == "d"


def test_files_without_interpolation(tmp_path: Path) -> None:
    """What is written, merged, with the services that take part; variables that are not set are not an error."""
    code, out = _about_variables(tmp_path, "no_interpolate", {"A": "one"})
    assert (code, "command: run $A ${B:-x} $$E ${B:-y}" in out, "scale: ${S:?}" in out) == (0, True, True)
    assert "off:" not in out
    again = json.loads(_about_variables(tmp_path, "no_interpolate", {"A": "one"}, json=True)[1])
    assert again["services"]["web"]["scale"] == "${S:?}"
    other = tmp_path / "other.yaml"
    other.write_text("services: {web: {command: 'other $A'}, more: {command: b}}")
    merged = _about_variables(tmp_path, "no_interpolate", {}, files=[f"{tmp_path}/cohabit.yaml", str(other)])[1]
    assert "command: other $A" in merged
    assert "more:" in merged


def test_environment_for_interpolation(tmp_path: Path) -> None:
    """The environment, .env and the name of the project, in order; a secret of the file is masked."""
    (tmp_path / ".env").write_text("B=file\nA=file\n")
    environ = {"A": "one two", "PASSWORD": "hunter22", "URL": "x:hunter22@y"}
    assert _about_variables(tmp_path, "environment", environ) == (
        0,
        "A=one two\nB=file\nCOMPOSE_PROJECT_NAME=shop\nPASSWORD=***\nURL=x:***@y\n",
    )
    found = json.loads(_about_variables(tmp_path, "environment", environ, json=True, project_name="app")[1])
    assert (found["COMPOSE_PROJECT_NAME"], found["A"]) == ("app", "one two")


def test_an_error_of_the_file_stays_one(tmp_path: Path) -> None:
    """Only values do not matter: an unknown service and a file that cannot be merged do."""
    code, out = _about_variables(tmp_path, "variables", {}, services=["wep"])
    assert (code, "wep" in out, "NAME" in out) == (64, True, False)
    other = tmp_path / "other.yaml"
    other.write_text("include: [nowhere.yaml]\nservices: {web: {command: a}}")
    for show in ("variables", "no_interpolate", "environment"):
        code, out = _about_variables(tmp_path, show, {}, files=[str(other)])
        assert (code, "nowhere.yaml: no such file" in out, "services:" in out) == (78, True, False)
    other.write_text("services: {web: {command: '$A'}, db: {command: b, stop_signal: '${S:-x}'}}")
    assert _about_variables(tmp_path, "variables", {}, files=[str(other)])[0] == 0


def test_project_directory_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths, .env and the default file are in the directory; the name overrides the other sources of it."""
    project = tmp_path / "Project"
    project.mkdir()
    (tmp_path / "a.yaml").write_text("services: {a: {command: 'x $V', env_file: e, working_dir: /}}")
    (project / "compose.yaml").write_text("name: ${V}\nservices: {b: {command: 'y $COMPOSE_PROJECT_NAME'}}")
    (project / ".env").write_text("V=inside")
    (project / "e").write_text("E=1")
    monkeypatch.chdir(tmp_path)

    def draft(**request: Any) -> Any:
        found = registry.read({"project_directory": "Project", **request}, {})
        assert [str(one) for one in found.problems] == []
        return found

    read = draft(files=["a.yaml"]).services["a"].service
    assert (read.command, read.environment) == (("x", "inside"), {"E": "1"})
    assert draft().services["b"].service.command == ("y", "inside")
    (project / "compose.yaml").write_text("services: {b: {command: 'y $COMPOSE_PROJECT_NAME'}}")
    assert draft().services["b"].service.command == ("y", "project")
    (project / "other.yaml").write_text("services: {c: {command: z}}")
    (project / ".env").write_text("COMPOSE_FILE=Project/other.yaml")
    assert list(draft().services) == ["c"]
    problems = registry.read({"project_directory": "nowhere"}, {}).problems
    text = "cannot use --project-directory nowhere: no such directory (correct the path)"
    assert [one.text for one in problems] == [text]
    argv = program("loader", "config", packed({"files": ["Project/compose.yaml"], "project_name": "app"}))
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"COMPOSE_PROJECT_NAME": "no"})
    assert "- app" in done.stdout


def test_no_locale_that_was_not_given(tmp_path: Path) -> None:
    """Python sets LC_CTYPE in its own environment; a file does not see it, unless it was given."""
    (tmp_path / "cohabit.yaml").write_text("services: {a: {command: 'x ${LC_CTYPE:-none}'}}")
    argv = program("loader", "config", packed({"files": [f"{tmp_path}/cohabit.yaml"]}))
    for given, expected in (({}, "none"), ({"LC_CTYPE": "C.UTF-8"}, "C.UTF-8")):
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=given)
        assert f"- {expected}" in done.stdout
