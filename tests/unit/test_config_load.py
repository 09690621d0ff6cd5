"""config/load.py, writers, __main__.py: requests and answers of the loader."""

from __future__ import annotations

import json
import marshal
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import cohabit
from cohabit.config import load
from cohabit.config.readers.registry import read
from cohabit.config.text.dump import dump
from cohabit.config.writers.compose import plan_to_compose
from cohabit.errors import EXIT_CANNOT_RUN, EXIT_FILE, EXIT_NOT_FOUND, EXIT_USAGE
from cohabit.plan.build import build
from cohabit.plan.draft import Diagnostic, SourceLocation
from cohabit.plan.model import (
    COMPLETED,
    CONDITIONS,
    HEALTHY,
    Condition,
    Credentials,
    Dependency,
    EnvFile,
    Hook,
    LogFile,
    Logging,
    Plan,
    Probe,
    Restart,
    Schedule,
    Service,
    Watch,
)
from cohabit.plan.record import from_plain
from cohabit.plan.replicas import expand
from cohabit.program import packed, unpacked

LOADER = os.path.join(os.path.dirname(cohabit.__file__), "config", "__main__.py")
FILE = """\
services:
  web:
    command: [sh, -c, "exec sleep 1"]
    user: "0"
    build: {contxt: .}
    depends_on: {job: {condition: service_completed_successfully}}
  job: {command: sh}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own working directory."""
    monkeypatch.chdir(tmp_path)


def run(command: str, request: dict[str, Any]) -> tuple[int, bytes]:
    """Exit code and output of the loader, started in the same way as by process 1."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", LOADER, command, packed(request)], stdout=subprocess.PIPE, check=False
    )
    return done.returncode, done.stdout


def up(command: str, text: str, services: tuple[str, ...] = ()) -> tuple[int, Any]:
    """Exit code and answer for a file with a text."""
    with open("cohabit.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    code, output = run(command, {"files": [], "profiles": [], "services": services})
    return code, marshal.loads(output) if command == "plan" else output.decode()  # noqa: S302 - from the test's own child process


def test_the_plan_is_answered_as_plain_values() -> None:
    """Process 1 gets the Plan and the warnings."""
    code, answer = up("plan", FILE)
    assert code == 0
    plan = from_plain(answer["plan"])
    assert isinstance(plan, Plan)
    assert list(plan.services) == ["web", "job"]
    assert plan.services["web"].user is not None
    assert plan.services["web"].user.uid == 0
    assert plan.services["job"].essential is False
    assert (answer["problems"], answer["exit_code"]) == ([], 0)
    text = "unknown key (did you mean 'context'?); ignored here, an error in Compose"
    assert answer["warnings"] == [f"cohabit.yaml:5: warning: services.web.build.contxt: {text}"]


def test_errors_are_answered_instead_of_a_plan() -> None:
    """The loader exits with 0; the exit code in the answer is for process 1."""
    code, answer = up("plan", "services: {web: {command: sh, restart: allways}}")
    assert code == 0
    assert (answer["plan"], answer["exit_code"], len(answer["problems"])) == (None, EXIT_FILE, 1)


def test_only_named_services_are_planned() -> None:
    _, answer = up("plan", FILE, ("job",))
    assert list(answer["plan"]["services"]) == ["job"]


def test_run_has_the_same_kind_of_answer() -> None:
    code, output = run("plan", {"main": None, "helpers": [], "commands": ["sh -x"], "ready": None})
    assert code == 0
    plan = from_plain(marshal.loads(output)["plan"])  # noqa: S302 - from the test's own child process
    assert plan == Plan({"sh": Service("sh", ("sh", "-x"), service="sh")}, main="sh", reloads=False)


def test_run_does_not_import_yaml() -> None:
    """`run` must not import parsers that it does not use."""
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(os.path.dirname(cohabit.__file__))!r})\n"
        "from cohabit.config import load\n"
        "load.main('check', {'commands': ['true x']})\n"
        "assert not {'yaml', 'cohabit.config.keys.table', 'tomllib'} & set(sys.modules), sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], stdout=subprocess.DEVNULL, check=True)


def test_a_closed_pipe_ends_the_loader_without_output(tmp_path: Path) -> None:
    """After a re-execution of process 1 its old loader exits silently."""
    (tmp_path / "cohabit.yaml").write_text("services: {web: {command: 'true'}}")
    reader, writer = os.pipe()
    os.close(reader)
    request = {"files": [str(tmp_path / "cohabit.yaml")]}
    command = [sys.executable, "-I", "-S", LOADER, "plan", packed(request)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (71, b"")


def test_check_prints_diagnostics_by_line_and_a_summary() -> None:
    text = "services:\n  a: {command: sh, restart: x, build: {contxt: .}}\n  b: {comand: sh}\n"
    code, output = up("check", text)
    assert code == EXIT_FILE
    lines = output.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "cohabit.yaml:2",
        "cohabit.yaml:2",
        "cohabit.yaml:3",
        "cohabit.yaml",
    ]
    assert lines[-1] == "cohabit.yaml: 2 errors"


def test_file_and_profiles_may_come_from_dotenv() -> None:
    with open(".env", "w", encoding="utf-8") as file:
        file.write("COHABIT_FILE=other.yaml\nCOMPOSE_PROFILES=p\n")
    with open("other.yaml", "w", encoding="utf-8") as file:
        file.write("services: {a: {command: sh, profiles: [p]}, b: {command: sh, profiles: [q]}, c: {command: sh}}")
    code, output = run("check", {"files": [], "profiles": []})
    assert output.decode().splitlines()[-1] == "other.yaml: valid: 2 services (a, c)"
    assert code == 0
    assert run("check", {"profiles": ["q"]})[1].decode().endswith("(b, c)\n")


def test_check_of_a_valid_file_lists_its_services() -> None:
    code, output = up("check", FILE)
    assert code == 0
    assert output.splitlines()[-1] == "cohabit.yaml: valid: 2 services (web, job)"


def test_check_says_how_the_total_is_divided() -> None:
    """If services that stop one after the other need more than that."""
    code, output = up("check", "services: {web: {command: sh, depends_on: [db]}, db: {command: sh}}")
    assert code == 0
    assert output.splitlines()[-3] == (
        "cohabit.yaml: services that stop one after the other may take 20s, and the total is 9s: "
        "if each uses its time, they have web 4.5s, db 4.5s "
        "(raise x-cohabit: stop_grace_period, and the time of `docker stop -t`)"
    )


def test_check_says_how_long_pre_stop_hooks_may_take() -> None:
    """A part of the time that the service has is kept for its stop signal."""
    hooked = "{command: sh, pre_stop: [{command: cat}], depends_on: [db]}"
    code, output = up("check", f"services: {{web: {hooked}, db: {{command: sh, pre_stop: [{{command: cat}}]}}}}")
    assert code == 0
    assert "cohabit.yaml: pre_stop hooks have web 3.4s, db 3.4s, then the stop signal is sent\n" in output


def test_check_says_how_long_post_stop_hooks_may_take() -> None:
    """A part of the time that the service has to stop is kept for them; pre_stop hooks come before SIGKILL."""
    code, output = up("check", "services: {web: {command: sh, post_stop: [cat], pre_stop: [cat]}, db: {command: sh}}")
    assert code == 0
    assert "cohabit.yaml: pre_stop hooks have web 5.2s, then the stop signal is sent\n" in output
    assert "cohabit.yaml: post_stop hooks have at least web 2s: SIGKILL is sent that much earlier\n" in output


@pytest.mark.parametrize(
    ("services", "rule"),
    [
        ("a: {command: sh}", "when a fails, when all have ended, or on request"),
        ("a: {command: sh, essential: true}", "when a ends (essential: true), when all have ended, or on request"),
        (
            "a: {command: sh, essential: true}, b: {command: sh}, c: {command: sh}, d: {command: sh, essential: false}",
            "when a ends (essential: true), when one of b, c fails, when all have ended, or on request",
        ),
        ("a: {command: sh, essential: false}", "when all have ended, or on request"),
    ],
)
def test_check_says_what_ends_the_container(services: str, rule: str) -> None:
    """With the rule for each service."""
    code, output = up("check", f"services: {{{services}}}")
    assert (code, output.splitlines()[-2]) == (0, f"cohabit.yaml: the container ends {rule}")


def test_check_counts_replicas_as_one_service() -> None:
    code, output = up("check", "services: {a: {command: sh, scale: 3}, b: {command: sh, scale: 1}}")
    assert (code, output) == (
        0,
        (
            "cohabit.yaml: the container ends when one of a, b fails, when all have ended, or on request\n"
            "cohabit.yaml: valid: 2 services (a x3, b)\n"
        ),
    )


def test_a_missing_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule needs a further library."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    monkeypatch.delitem(sys.modules, "cohabit.config.keys.schedule", raising=False)
    with open("cohabit.yaml", "w", encoding="utf-8") as file:
        file.write("services: {a: {command: sh, schedule: '* * * * *'}}")
    (diagnostic,) = load._read({"files": []}, {}).problems
    assert (
        diagnostic.text
        == "cannot read the configuration: the Python package cronsim is missing (run pip install cohabit)"
    )


def test_check_of_a_missing_command_has_the_exit_code_of_a_shell() -> None:
    assert up("check", "services: {a: {command: /gone}}")[0] == EXIT_NOT_FOUND
    assert up("check", "services: {a: {command: /etc}}")[0] == EXIT_CANNOT_RUN
    assert up("check", "services: {a: {command: /gone, user: nobody-at-all}}")[0] == EXIT_FILE


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([EXIT_NOT_FOUND], EXIT_NOT_FOUND),
        ([EXIT_CANNOT_RUN, EXIT_NOT_FOUND], EXIT_NOT_FOUND),
        ([EXIT_NOT_FOUND, EXIT_FILE], EXIT_FILE),
        ([EXIT_FILE, EXIT_USAGE], EXIT_USAGE),
    ],
)
def test_the_exit_code_is_that_of_the_most_important_error(codes: list[int], expected: int) -> None:
    """A missing command determines the exit code only if there is no other error."""
    assert load.exit_code_of([Diagnostic(SourceLocation("f"), "x", exit_code=code) for code in codes]) == expected


def test_at_most_100_errors_are_shown() -> None:
    _, answer = up("plan", "services:\n  a:\n    command: sh\n" + "".join(f"    k{i}: x\n" for i in range(500)))
    assert len(answer["problems"]) == 101
    assert answer["problems"][-1] == "and 400 more"


def test_bytes_that_are_not_utf_8_pass_through_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable may contain any bytes; they are answered unchanged."""
    monkeypatch.setenv("ODD", os.fsdecode(b"caf\xe9"))
    _, answer = up("plan", "services: {a: {command: [sh, $ODD], environment: {B: $ODD}}}")
    service = from_plain(answer["plan"]).services["a"]
    assert os.fsencode(service.command[1]) == b"caf\xe9"
    code, output = run("config", {"files": ["cohabit.yaml"]})
    assert code == 0
    assert b'"caf\xe9"' in output
    code, output = run("config", {"files": ["cohabit.yaml"], "json": True})
    assert code == 0
    assert json.loads(output)["services"]["a"]["command"] == ["sh", "caf\udce9"]


def test_config_of_an_invalid_file_prints_its_errors() -> None:
    code, output = up("config", "services: {a: {restart: no}}")
    assert code == EXIT_FILE
    assert "no command" in output


def test_config_prints_the_resolved_configuration() -> None:
    """The defaults are written out."""
    web = Service("web", ("a", "b c"), {"X": "1"}, depends_on=(Dependency("db", HEALTHY),), service="web")
    db = Service("db", ("d",), service="db")
    assert dump(plan_to_compose(Plan({"web": web, "db": db}))).splitlines() == [
        "services:",
        "  web:",
        "    command:",
        "    - a",
        "    - b c",
        "    environment:",
        '      X: "1"',
        "    depends_on:",
        "      db:",
        "        condition: service_healthy",
        "    restart: 'no'",
        "    stop_signal: SIGTERM",
        "    stop_grace_period: 10s",
        "    essential: true",
        "    logging:",
        "      driver: prefix",
        "  db:",
        "    command:",
        "    - d",
        "    restart: 'no'",
        "    stop_signal: SIGTERM",
        "    stop_grace_period: 10s",
        "    essential: true",
        "    logging:",
        "      driver: prefix",
        "x-cohabit:",
        "  stop_grace_period: 9s",
    ]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
SECONDS = st.floats(0, 10**9).map(lambda seconds: round(seconds, 9)) | st.sampled_from(
    [0.0, 0.1, 10.0, 61.5, 90.0, 1e-7]
)
COMMANDS = st.tuples(TEXT.filter(bool), st.lists(TEXT, max_size=3)).map(lambda parts: (parts[0], *parts[1]))
VARIABLES: st.SearchStrategy[dict[str, str | None]] = st.dictionaries(
    st.text("aA$_.1\"'\\ #", min_size=1).filter(lambda name: not name.endswith(" ")), TEXT, max_size=3
)
USERS = st.none() | st.just(Credentials(4711, 4712, (4712,), "", "/"))
PROBE_SECONDS = SECONDS.filter(lambda seconds: seconds >= 0.001)
STATUSES = st.tuples(st.integers(100, 599), st.integers(100, 599)).map(lambda pair: (min(pair), max(pair)))
HEADERS = st.tuples(st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True), st.sampled_from(["", "a", 'a: "b" $c\\']))
HTTP_OPTIONS = {
    "headers": st.lists(HEADERS, max_size=2).map(tuple),
    "statuses": st.lists(STATUSES, min_size=1, max_size=3).map(tuple),
}
KINDS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("tcp"),
            "host": st.sampled_from(["127.0.0.1", "::1", "10.1.2.3"]),
            "port": st.integers(1, 65535),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("http"),
            "host": st.just("127.0.0.1"),
            "port": st.integers(1, 65535),
            "path": st.from_regex(r"/[a-z?=&$:]*", fullmatch=True),
        },
        optional=HTTP_OPTIONS,
    ),
    st.fixed_dictionaries({"kind": st.just("http"), "socket": st.just("/run/$a.sock"), **HTTP_OPTIONS}),
    st.fixed_dictionaries({"kind": st.just("unix"), "socket": TEXT.map(lambda text: f"/{text[:20]}")}),
    st.fixed_dictionaries({"kind": st.just("exec"), "command": COMMANDS}),
    st.fixed_dictionaries({"kind": st.just("log"), "pattern": TEXT.filter(bool).map(re.escape)}),
    st.fixed_dictionaries({"kind": st.just("fd"), "fd": st.integers(3, 1023)}),
    st.just({"kind": "notify"}),
)


@st.composite
def probes(draw: st.DrawFn) -> Probe:
    """A strategy: any probe."""
    interval = draw(PROBE_SECONDS)
    kind = draw(KINDS)
    watched = kind["kind"] == "notify" and draw(st.booleans())
    return Probe(
        **kind,
        interval_seconds=interval if watched or kind["kind"] != "notify" else 30.0,
        timeout_seconds=draw(PROBE_SECONDS),
        retries=draw(st.integers(1, 99)),
        start_period_seconds=draw(st.just(0.0) | PROBE_SECONDS),
        start_interval_seconds=draw(PROBE_SECONDS),
        on_failure=draw(st.sampled_from(["none", "restart", "exit"])),
        watchdog_seconds=interval if watched else 0.0,
    )


PATTERNS = st.just("") | TEXT.filter(bool).map(re.escape)
LIMITED = {
    "bytes_max": st.integers(0, 1 << 50) | st.sampled_from([1 << 10, 5 << 20]),
    "files_max": st.integers(1, 1000),
}
HOSTS = st.sampled_from(["10.0.0.1", "logs", "[::1]"])
ADDRESSES = st.tuples(st.sampled_from(["udp", "tcp"]), HOSTS, st.integers(1, 65535)).map(
    lambda parts: f"{parts[0]}://{parts[1]}:{parts[2]}"
) | st.sampled_from(["unix:///dev/log", "unixgram:///run/a b.sock"])


MODES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}) | st.fixed_dictionaries(
    {"blocking": st.just(False), "buffer_bytes": st.integers(1, 1 << 30)}
)
TAGS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="{"), max_size=48)
LOGGINGS = (
    st.builds(Logging, st.sampled_from(["prefix", "json", "logfmt", "raw"])),
    st.builds(
        Logging,
        st.just("file"),
        format=st.sampled_from(["raw", "prefix", "json", "logfmt"]),
        path=TEXT.map(lambda text: text.replace("/", "_")),
        compress=st.booleans(),
        **LIMITED,
    ),
    st.builds(
        Logging,
        st.just("syslog"),
        address=ADDRESSES,
        format=st.just("rfc5424"),
        facility=st.integers(0, 23),
        tag=TAGS,
    )
    | st.builds(
        Logging,
        st.just("syslog"),
        address=ADDRESSES.filter(lambda address: address.startswith("unix")),
        format=st.just("rfc3164"),
    ),
)
SOME_LOGGINGS = st.lists(st.sampled_from(LOGGINGS), min_size=1, max_size=3, unique_by=id)


@st.composite
def loggings(draw: st.DrawFn, name: str, *, seen: bool) -> dict[str, Any]:
    """A strategy: fields of Service for logging. seen: cohabit must read the lines."""
    if not seen and draw(st.booleans()):
        return {"logging": (Logging("inherit"),)}
    drawn = [draw(kind).replace(**draw(MODES)) for kind in draw(SOME_LOGGINGS)]
    entries = tuple(
        one.replace(path=f"/log/{name}-{one.path}") if one.driver == "file" else one for one in drawn
    )  # each service has files of its own
    return {"logging": entries, "multiline_pattern": draw(PATTERNS)}


HOOKS = st.lists(
    st.builds(Hook, COMMANDS, VARIABLES, st.none() | TEXT.filter(bool), USERS),
    max_size=2,
).map(tuple)
LOG_FILES = st.lists(
    st.builds(LogFile, TEXT.map(lambda text: f"/{text}"), st.sampled_from(["stdout", "stderr"])),
    max_size=2,
    unique_by=lambda file: file.path,
).map(tuple)
_PATHS = st.sampled_from(["/", "/a b/$c", "/x/y", "/é"])
_PATTERNS = st.lists(st.sampled_from(["*.log", "!a/$b", "**/x"]), max_size=2).map(tuple)
WATCHES = st.lists(
    st.builds(
        Watch, st.sampled_from(["restart", "sync+exec"]), _PATHS, _PATHS, _PATTERNS, _PATTERNS,
        st.none() | st.builds(Hook, COMMANDS), st.booleans(),
    ),
    max_size=2,
).map(tuple)  # fmt: skip
SCHEDULES = st.builds(Schedule, st.sampled_from(["*/5 * * * *", "0 2 1 JAN 5#2"]), st.sampled_from(["", "UTC"]))
ESSENTIAL: list[dict[str, Any]] = [
    {"essential": True, "ends_on_success": True},
    {"essential": True, "ends_on_success": False},
    {"essential": False, "ends_on_success": False},
]
RESTARTS = st.builds(
    Restart,
    st.sampled_from(["no", "on-failure", "always"]),
    st.none() | st.integers(1, 999),
    st.none() | SECONDS,
    SECONDS.filter(bool) | st.just(math.inf),
) | st.sampled_from([Restart(), Restart("always"), Restart("on-failure", 3), Restart("on-failure")])


NAMES = st.lists(st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True), min_size=1, max_size=4, unique=True)
DIRECTORIES = st.none() | TEXT.filter(bool)
SIGNALS = st.integers(1, 64).filter(lambda number: number not in {32, 33})
PATHS = TEXT.map(lambda text: f"/{text}")
STALE_FILES = st.lists(PATHS, max_size=2)
PID_FILES = st.just("") | PATHS
ENV_FILES = ((), (EnvFile("/a $b"), EnvFile("/b", required=False, raw=True)))
CONDITIONS_OF_A_START = (
    (),
    (Condition("environment", "KEY=$a $$b"), Condition("path_exists", "/x y"), Condition("path_exists", "/z", True)),
    (Condition("file_not_empty", "/$"), Condition("directory_not_empty", "/d", True)),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A strategy: a Plan without cycles, each service depends on later ones only."""
    names = draw(NAMES)
    services: dict[str, Service] = {}
    replicas: dict[str, int | None] = {}
    for position, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[position + 1 :]), unique=True)) if names[position + 1 :] else []
        alone = position == 0 and draw(st.booleans())  # has the keys that only one service or one instance may have
        replicas[name] = None if alone else draw(st.none() | st.integers(1, 3))
        probe = draw(probes())
        services[name] = Service(
            name,
            command=draw(COMMANDS),
            environment=draw(VARIABLES),
            env_files=draw(st.sampled_from(ENV_FILES)),
            working_dir=draw(DIRECTORIES),
            user=draw(USERS),
            depends_on=tuple(
                Dependency(need, draw(st.sampled_from(CONDITIONS)), draw(st.booleans()), draw(st.booleans()))
                for need in needs
            ),
            conditions=draw(st.sampled_from(CONDITIONS_OF_A_START)),
            restart=draw(RESTARTS) if position == 0 and not alone else Restart(),
            stop_signal=draw(SIGNALS),
            stop_grace_seconds=draw(SECONDS),
            **draw(st.sampled_from(ESSENTIAL)),
            kill_mode=draw(st.sampled_from(("mixed", "control-group"))),
            setsid=draw(st.booleans()),
            autostart=draw(st.booleans()),
            stale_files=tuple(draw(STALE_FILES)),
            log_files=draw(LOG_FILES) if alone else (),
            watch=draw(WATCHES),
            probe=probe,
            **draw(loggings(name, seen=probe.kind == "log")),
            pre_start=draw(HOOKS),
            post_start=draw(HOOKS),
            pre_stop=draw(HOOKS),
            post_stop=draw(HOOKS),
            schedule=draw(SCHEDULES) if alone else None,
            pid_file=draw(PID_FILES),
            tty=alone and draw(st.booleans()),
            stdin=alone and draw(st.booleans()),
        )
    asking = [name for name, one in services.items() if one.tty or one.stdin]
    for name in asking:
        services[name] = services[name].replace(console=len(asking) == 1)
    waited = {
        need.service for service in services.values() for need in service.depends_on if need.condition == COMPLETED
    }
    started = {name for name, service in services.items() if service.autostart}
    for _ in services:  # what a service that starts depends on starts, too
        started |= {need.service for name in started for need in services[name].depends_on if need.required}
    services = {name: service.replace(autostart=name in started) for name, service in services.items()}
    for name, service in services.items():
        job = name in waited or service.schedule is not None
        # No job is essential by default, nor is a service that is not started.
        written = service.essential and (job or not service.autostart or service.ends_on_success)
        services[name] = service.replace(job=job, ends_on_success=written)
    default = draw(loggings("x", seen=False))["logging"]
    return Plan(expand(services, replicas), draw(SECONDS), logging=default, mask=draw(st.booleans()))


def _changed(before: Plan, after: Plan) -> list[str]:
    """Which fields of which services differ."""
    return [
        f"{name}.{field}"
        for name in before.services.keys() & after.services.keys()
        for field in Service._fields
        if getattr(before.services[name], field) != getattr(after.services[name], field)
    ]


# Without the phase that shrinks: with Plans of this size it does not end.
@settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plans())
def test_the_output_of_config_has_the_same_meaning(plan: Plan) -> None:
    """Every Plan is read back unchanged from the output of `config`."""
    with open("shown.yaml", "w", encoding="utf-8", newline="") as file:
        file.write(dump(plan_to_compose(plan)))
    again, diagnostics = build(read({"files": ["shown.yaml"]}, {}))
    assert again is not None
    assert not _changed(plan, again)
    assert again == plan
    expected = ("raise x-cohabit: stop_grace_period", "goes to the container's terminal")
    assert all(any(text in diagnostic.text for text in expected) for diagnostic in diagnostics)


def test_a_request_is_read_as_values_and_never_executed() -> None:
    request = {"files": ["a b.yaml", "\udcff"], "services": (), "quiet": True, "scale": {"web": None}}
    assert unpacked(packed(request)) == request
    with pytest.raises((ValueError, EOFError, TypeError)):
        unpacked(b"__import__('os').getpid()".hex())


def test_config_prints_a_file_that_this_machine_cannot_run(tmp_path: Path) -> None:
    """A missing program is a comment in the output of `config`."""
    (tmp_path / "cohabit.yaml").write_text("services: {web: {command: no-such-program}}")
    code, out = run("config", {})
    assert code == 0
    assert b"# cohabit.yaml:1: warning: cannot start web" in out
    assert b"    command:\n    - no-such-program\n" in out


def test_check_and_config_as_json() -> None:
    """JSON has all diagnostics, and for a valid file the configuration, which is again a valid file."""
    request = {"files": [], "profiles": [], "services": [], "json": True}
    Path("cohabit.yaml").write_text("services: {web: {comand: x}}")
    code, output = run("check", request)
    assert json.loads(output)["exit_code"] == code == 78
    assert "did you mean 'command'" in json.loads(output)["problems"][0]
    Path("cohabit.yaml").write_text("services: {web: {command: [/bin/echo, $$HOME]}}")
    code, output = run("config", request)
    assert code == 0
    assert json.loads(output)["services"]["web"]["command"] == ["/bin/echo", "$$HOME"]
