"""Our own sections of a supervisord.conf: what their options become in the Plan, and their errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.cli import convert
from cohabit.config import load
from cohabit.config.keys.table import fields_of
from cohabit.config.readers import registry
from cohabit.config.readers.supervisord_own_fields import ContainerKeys, ProgramKeys
from cohabit.config.values.file_variables import resolve
from cohabit.errors import UsageError
from cohabit.plan.build import build
from cohabit.plan.model import COMPLETED, HEALTHY, STARTED, Dependency, Logging, Probe
from cohabit.reactor.signals import InheritedSignals

if TYPE_CHECKING:
    from cohabit.plan.draft import Draft
    from cohabit.plan.model import Plan

pytestmark = pytest.mark.usefixtures("here")
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "supervisord.md"
ENVIRON = {"PATH": "/usr/bin:/bin", "NUMBER": "8080", "SECRET": "hunter22"}
BEFORE = """[supervisord]
nodaemon=true
[group:all]
programs=web,db
[program:web]
command=web
stdout_logfile=/dev/stdout
[program:db]
command=db
[program:migrate]
command=migrate
autorestart=false
"""


def read(text: str) -> Draft:
    """The Draft of BEFORE and a text."""
    with open("s.conf", "w", encoding="utf-8") as file:
        file.write(BEFORE + text)
    return resolve(registry.read({"files": ["s.conf"]}, ENVIRON), ENVIRON)


def plan_of(text: str) -> Plan:
    """The Plan of BEFORE and a text without errors."""
    plan, problems = build(read(text), ())
    assert plan is not None, problems
    return plan


def errors(text: str) -> list[str]:
    """The errors of BEFORE and a text, from the line after BEFORE, each with exit code 2."""
    found = [problem for problem in build(read(text), ())[1] if not problem.warning]
    assert {problem.exit_code for problem in found} <= {2}
    return [f"{problem.where.line - BEFORE.count(chr(10))}: {problem.text}" for problem in found]


def test_supervisord_does_not_say_that_they_are_unknown() -> None:
    assert not any("x-cohabit" in problem.text for problem in read("[x-cohabit]\n[x-cohabit:web]\n").problems)


def test_essential() -> None:
    services = plan_of("[x-cohabit:web]\nessential=yes\n").services
    assert services["all:web"].essential
    assert services["all:web"].ends_on_success
    assert not services["all:db"].essential
    assert all(one.essential for one in plan_of("[x-cohabit:all]\nessential=1\n").services.values() if ":" in one.name)


def test_a_program_takes_precedence_over_its_group() -> None:
    text = "[x-cohabit:all]\nessential=true\nhealthcheck=TCP 80\n[x-cohabit:db]\nessential=false\n"
    services = plan_of(text).services
    assert [services[name].essential for name in ("all:web", "all:db", "migrate")] == [True, False, False]
    assert services["all:db"].probe == services["all:web"].probe != services["migrate"].probe


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("migrate", [("migrate", STARTED)]),
        ("migrate: service_completed_successfully", [("migrate", COMPLETED)]),
        ("migrate:service_completed_successfully", [("migrate", COMPLETED)]),
        ("migrate , db: service_healthy", [("migrate", STARTED), ("all:db", HEALTHY)]),
        ("\n  migrate\n  all:db: service_started", [("migrate", STARTED), ("all:db", STARTED)]),
    ],
)
def test_depends_on(written: str, expected: list[tuple[str, str]]) -> None:
    plan = plan_of(f"[x-cohabit:db]\nhealthcheck=TCP 80\n[x-cohabit:web]\ndepends_on={written}\n")
    assert plan.services["all:web"].depends_on == tuple(Dependency(*one) for one in expected)


def test_depends_on_names_programs_and_groups() -> None:
    text = "[program:n]\nprocess_name=n%(process_num)d\nnumprocs=2\ncommand=n\n[x-cohabit:migrate]\ndepends_on=n, all\n"
    needs = plan_of(text).services["migrate"].depends_on
    assert [need.service for need in needs] == ["n:n0", "n:n1", "all:web", "all:db"]


@pytest.mark.parametrize(
    ("options", "probe"),
    [
        ("healthcheck=test -e /x", Probe("exec", command=("/bin/sh", "-c", "test -e /x"), start_interval_seconds=0.5)),
        ("healthcheck=CMD test -e '/a b'", Probe("exec", command=("test", "-e", "/a b"), start_interval_seconds=0.5)),
        ("healthcheck=LOG $ready", Probe("log", pattern="$ready")),
        ("healthcheck=NONE", None),
        (
            (
                "healthcheck=TCP %(ENV_NUMBER)s\nhealthcheck_interval=5s\nhealthcheck_timeout=1m\n"
                "healthcheck_retries=9\nhealthcheck_start_period=7s\nhealthcheck_on_failure=restart"
            ),
            Probe(
                "tcp", host="127.0.0.1", port=8080, interval_seconds=5.0, timeout_seconds=60.0, retries=9,
                start_period_seconds=7.0, on_failure="restart",
            ),
        ),
    ],
)  # fmt: skip
def test_healthcheck(options: str, probe: Probe | None) -> None:
    assert plan_of(f"[x-cohabit:web]\n{options}\n").services["all:web"].probe == probe


def test_env_files() -> None:
    """The options of the program override them; they are beside the conf."""
    for name, text in (("a.env", "A=a\nB=${A}b\n"), ("b.env", "C=$NUMBER\nSUPERVISOR_ENABLED=no\n")):
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
    found = plan_of("[x-cohabit:web]\nenv_file=%(here)s/a.env, b.env\n").services["all:web"].environment
    assert [found[name] for name in ("A", "B", "C", "SUPERVISOR_ENABLED")] == ["a", "ab", "8080", "1"]


def test_secret_files_are_opt_in() -> None:
    program = "[program:x]\ncommand=x\nenvironment=A_FILE=/run/secrets/a\n"
    assert plan_of(program).services["x"].environment["A_FILE"] == "/run/secrets/a"
    found = plan_of(f"{program}[x-cohabit:x]\nsecret_files=true\n").services["x"]
    assert found.secret_files == {"A": "/run/secrets/a"}
    assert "A_FILE" not in found.environment


def test_both_forms_of_a_secret_are_an_error() -> None:
    text = "[program:x]\ncommand=x\nenvironment=A_FILE=/run/secrets/a,A=b\n[x-cohabit:x]\nsecret_files=true\n"
    assert [one.text for one in read(text).problems if not one.warning] == [
        "services.x.environment: both A and A_FILE are set (remove one)"
    ]


def test_logging_of_a_program_replaces_its_log_files() -> None:
    text = "[x-cohabit:web]\nlogging=json\nlogging_mode=non-blocking\nlogging_multiline_pattern=^$x\n"
    found = plan_of(text).services["all:web"]
    assert found.logging == (Logging("json", blocking=False),)
    assert found.multiline_pattern == "^$x"


def test_default_logging_is_for_outputs_without_a_file() -> None:
    plan = plan_of(
        "[program:file]\ncommand=x\nstdout_logfile=/tmp/x.log\n[program:none]\ncommand=x\nredirect_stderr=true\n"
        "stdout_logfile=NONE\n[x-cohabit]\nlogging=logfmt\n[x-cohabit:db]\nlogging=prefix\n"
    )
    logging = {name: service.logging for name, service in plan.services.items()}
    assert logging["all:web"] == logging["migrate"] == plan.logging == (Logging("logfmt"),)
    assert logging["all:db"] == (Logging(),)
    assert [(one.driver, one.stream) for one in logging["file"]] == [("file", "stdout"), ("logfmt", "stderr")]
    assert logging["none"] == (Logging("none"),)
    assert not any("AUTO" in problem.text for problem in read("[x-cohabit]\nlogging=json\n").problems)


def test_the_end_of_the_container() -> None:
    plan = plan_of("[x-cohabit]\nexit_when_all_ended=true\nstop_grace_period=1m\n")
    assert (plan.stays, plan.stop_grace_seconds) == (False, 60.0)
    assert plan_of("").stays
    listener = "[eventlistener:l]\ncommand=l\nevents=TICK_5\n"
    assert plan_of(listener).beside == ("l", "gateway")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x-cohabit]\nexit_when_al_ended=1\n", "2: Error: [x-cohabit] exit_when_al_ended: unknown key (did you mean"),
        ("[x-cohabit]\nstop_grace_period=x\n", "2: Error: [x-cohabit] stop_grace_period: 'x' is not a duration"),
        ("[x-cohabit:wbe]\n", "1: Error: [x-cohabit:wbe]: there is no program 'wbe' (did you mean 'web'?)"),
        (
            "[x-cohabit:web]\nesential=true\n",
            "2: Error: [x-cohabit:web] esential: unknown key (did you mean 'essential'",
        ),
        (
            "[x-cohabit:web]\nessential=perhaps\n",
            "2: Error: [x-cohabit:web] essential: expected true or false, got 'pe",
        ),
        (
            "[x-cohabit:web]\nhealthcheck=TCP a b\n",
            "2: Error: [x-cohabit:web] healthcheck: TCP takes one address, got 2",
        ),
        ("[x-cohabit:web]\nhealthcheck_retry=3\n", "2: Error: [x-cohabit:web] healthcheck_retry: unknown key (docs/"),
        (
            "[x-cohabit:web]\nhealthcheck=TCP 80\nhealthcheck_timeout=500us\n",
            "3: Error: [x-cohabit:web] healthcheck_timeout: must be at least 1ms",
        ),
        ("[x-cohabit:web]\nlogging=jsno\n", "2: Error: [x-cohabit:web] logging: unknown driver 'jsno' (did you mean"),
        (
            "[x-cohabit:web]\nlogging=json\nlogging_modes=x\n",
            "3: Error: [x-cohabit:web] logging_modes: unknown key (did you mean 'logging_mode'?)",
        ),
        ("[x-cohabit:web]\nenv_file=no.env\n", "2: Error: [x-cohabit:web] env_file: cannot read "),
        ("[x-cohabit:web]\ndepends_on=dbb\n", "2: Error: depends_on: there is no program 'dbb' (did you mean 'db'?)"),
        (
            "[x-cohabit:web]\ndepends_on=db: up\n",
            "2: Error: [x-cohabit:web] depends_on.db.condition: expected service_",
        ),
        ("[x-cohabit:web]\ndepends_on=all\n", "2: Error: depends_on: all:web cannot depend on itself (remove it)"),
        (
            "[x-cohabit:web]\ndepends_on=db: service_healthy\n",
            "2: Error: depends_on: all:web waits for service_healthy, but all:db has no healthcheck (add one, such as",
        ),
        (
            "[program:x]\ncommand=x\nautorestart=true\n[x-cohabit:web]\ndepends_on=x: service_completed_successfully\n",
            "5: Error: depends_on: all:web waits for service_completed_successfully, but x is always restarted (write",
        ),
        ("[x-cohabit:web]\nhealthcheck=%(ENV_NO)s\n", "2: Error: Format string '%(ENV_NO)s' for 'x-cohabit:web.health"),
    ],
)
def test_errors(text: str, expected: str) -> None:
    (found,) = errors(text)
    assert found.startswith(expected)


def test_a_variable_of_the_container_is_not_quoted() -> None:
    (found,) = errors("[x-cohabit:web]\nhealthcheck_interval=%(ENV_SECRET)s\n")
    assert found == "2: Error: [x-cohabit:web] healthcheck_interval: '…' is not a duration (write 500ms, 10s, 1m30s)"


def test_a_cycle_is_an_error_with_its_line() -> None:
    draft = read("[x-cohabit:web]\ndepends_on=db\n[x-cohabit:db]\ndepends_on=web\n")
    (found,) = [problem for problem in build(draft, ())[1] if not problem.warning]
    assert found.text.startswith("depends_on has a cycle: all:")
    assert found.where.line > BEFORE.count("\n")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[x-cohabit:migrate]\nessential=true\n", "when migrate ends (essential=true), or on request"),
        ("[x-cohabit]\nexit_when_all_ended=true\n", "when all have ended, or on request"),
    ],
)
def test_check_says_how_the_container_ends(text: str, rule: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    read(text)
    assert load.main("check", {"files": ["s.conf"]}) == 0
    assert f"s.conf: the container ends {rule}\n" in capfdbinary.readouterr().out.decode()


def test_config_has_them(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    read("[x-cohabit:db]\nhealthcheck=TCP 80\n[x-cohabit:web]\nessential=true\ndepends_on=db: service_healthy\n")
    assert load.main("config", {"files": ["s.conf"]}) == 0
    with open("cohabit.yaml", "wb") as file:
        file.write(capfdbinary.readouterr().out)
    draft: Any = registry.read({"files": ["cohabit.yaml"]}, ENVIRON)
    assert draft.services["all-web"].essential
    assert draft.services["all-web"].service.depends_on == (Dependency("all-db", HEALTHY),)
    assert not [problem for problem in draft.problems if not problem.warning]


def test_convert_writes_a_file(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """With the notes as comments, and nothing for supervisorctl."""
    read("[eventlistener:l]\ncommand=l\nevents=TICK_5\n[x-cohabit:web]\nessential=true\ndepends_on=l, db\n")
    request = {"supervisord": {"configuration": "s.conf"}}
    assert load.main("convert", request) == 0
    text = capfdbinary.readouterr().out.decode()
    assert "# event listeners, and the servers for supervisorctl, are left out: l, gateway\n" in text
    Path("cohabit.yaml").write_text(text)
    draft = registry.read({"files": ["cohabit.yaml"]}, ENVIRON)
    assert not [problem for problem in draft.problems if not problem.warning]
    assert list(draft.services) == ["all-web", "all-db", "migrate"]
    assert draft.services["all-web"].service.depends_on == (Dependency("all-db"),)


def test_a_main_log_becomes_a_log_of_a_cohabit_yaml(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    Path("x.conf").write_text("[supervisord]\nlogfile=/tmp/main.log\n[program:x]\ncommand=x\n")
    assert load.main("convert", {"supervisord": {"configuration": "x.conf"}}) == 0
    Path("cohabit.yaml").write_bytes(capfdbinary.readouterr().out)
    assert not [one for one in registry.read({"files": ["cohabit.yaml"]}, ENVIRON).problems if not one.warning]


def test_convert_prints_errors(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    read("[x-cohabit:web]\nesential=true\n")
    assert load.main("convert", {"supervisord": {"configuration": "s.conf"}, "output": "out.yaml"}) == 2
    assert b"unknown key (did you mean 'essential'?)" in capfdbinary.readouterr().out
    assert not Path("out.yaml").exists()


def test_convert_takes_one_file() -> None:
    with pytest.raises(UsageError, match="one file at a time, got 2"):
        convert.main(InheritedSignals.at_start(), ["a.conf", "b.conf"])


def test_the_page_lists_all_options() -> None:
    page = PAGE.read_text()
    for table in (ContainerKeys, ProgramKeys):
        for option in fields_of(table):
            assert f"| `{option}`" in page
