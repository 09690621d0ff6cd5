"""Forms that Compose accepts and that are easy to read in another way. tests/differential asks Compose itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cohabit.config.keys.engine_keys import unknown_below
from cohabit.config.text import yaml_text
from cohabit.config.values.command_text import split_command
from cohabit.config.values.user import Users, identity
from cohabit.config.writers.compose import plan_to_compose
from cohabit.plan.build import build
from cohabit.plan.model import Plan, Service
from unit.file_story import draft, reported, service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("text", "words", "notes"),
    [
        (r'sh -c "echo \. \"a\nb\""', ["sh", "-c", 'echo . "anb"'], []),
        (r"a 'b\n' c\ d", ["a", r"b\n", "c d"], []),
        ("a \"\" ''", ["a", "", ""], []),
        ("a && b", ["a"], ["warning"]),
        ("a 2>b", ["a"], ["warning"]),
        ("a '&&' \"|\"", ["a", "&&", "|"], []),
        ("date $(x y) `x y`", ["date", "$(x y)", "`x y`"], ["warning"]),
        ("sh -c 'date $(x y)'", ["sh", "-c", "date $(x y)"], []),
        ('`a "b c"` $(a "b)', ["`a b c`", '$(a "b)'], ["warning"]),
        ("a )", None, ["a parenthesis is not closed in 'a )'"]),
        ("a \\\n b", ["a", "\n", "b"], ["warning"]),
        ("a (b)", None, ["( without quotes is not valid in 'a (b)'"]),
        ("a 'b", None, ['a quote is not closed in "a \'b"']),
        ("a $(b", None, ["a parenthesis is not closed in 'a $(b'"]),
        ("a `b", None, ["` is not closed in 'a `b'"]),
        ("a\\", None, ["a backslash at the end in 'a\\\\'"]),
    ],
)
def test_a_command_is_split_as_in_compose(text: str, words: list[str] | None, notes: list[str]) -> None:
    found: list[str] = []

    def report(text: str, *, warning: bool = False) -> None:
        found.append("warning" if warning else text)

    assert split_command(text, report) == words
    assert found == notes


def test_the_variables_of_a_command_that_cannot_be_split_are_named() -> None:
    """The value is not shown."""
    made = draft("services: {a: {command: 'x $ARGS $HOME'}}", environ={"ARGS": "it's", "HOME": "/"})
    (problem,) = made.problems
    assert problem.text == (
        'services.a.command: a quote is not closed in "x … …" '
        "(after interpolation of ARGS, HOME: write a list, one item for each argument)"
    )


@pytest.mark.parametrize(
    "keys",
    [
        *("restart: $EMPTY", "stop_signal: ''", "user: '$EMPTY:$EMPTY'", "scale: '$EMPTY'", "tty: $EMPTY"),
        *("deploy: {replicas: '$EMPTY'}", "stop_grace_period: ''", "healthcheck: {test: $EMPTY}", "ulimits: $NOTHING"),
        *("healthcheck: {test: []}", "env_file: $EMPTY", "env_file: [{path: /dev/null, format: '', required: ''}]"),
        *("nice: ''", "umask: ''", "essential: ''", "profiles: []", "group_add: []", "user: ''"),
    ],
)
def test_an_empty_value_means_not_set(keys: str) -> None:
    made = draft(f"services: {{web: {{command: [x], {keys.replace('$NOTHING', '')}}}}}", environ={"EMPTY": ""})
    assert made.problems == ()
    plain = draft("services: {web: {command: [x]}}").services["web"]
    assert made.services["web"].service == plain.service
    assert made.services["web"].replicas is None


@pytest.mark.parametrize(
    ("keys", "condition"),
    [("unless-stopped", "always"), ("always", "always"), ("'no'", "no"), ("none", "no"), ("any", "always")],
)
def test_a_restart_policy_accepts_the_words_of_restart(keys: str, condition: str) -> None:
    assert service(f"deploy: {{restart_policy: {{condition: {keys}}}}}").restart.condition == condition


def test_numbers_may_have_a_fraction_of_zero() -> None:
    made = service("healthcheck: {test: x, retries: 5.0}, ulimits: {nofile: 5.0}, nice: 3.00")
    assert made.probe
    assert (made.probe.retries, made.limits.nice, made.limits.ulimits[0][1:]) == (5, 3, (5, 5))


def test_several_texts_of_cmd_shell_are_the_arguments_of_the_shell() -> None:
    made = draft("services: {a: {command: [x], healthcheck: {test: [CMD-SHELL, a, b]}}}")
    probe = made.services["a"].service.probe
    assert probe
    assert probe.command == ("/bin/sh", "-c", "a", "b")
    assert [problem.warning for problem in made.problems] == [True]


def test_the_mode_of_a_secret_may_be_the_decimal_number_that_compose_prints() -> None:
    text = "services: {a: {command: [x], secrets: [{source: s, mode: 288}, {source: s, target: t, mode: '0440'}]}}"
    made = draft(f"{text}\nsecrets: {{s: {{external: {{name: other}}}}}}")
    assert [mount.mode for mount in made.services["a"].service.secrets] == [0o440, 0o440]
    assert made.secrets["s"].external


def test_home_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.env").write_text("A=1\n", encoding="utf-8")
    made = draft("services: {a: {command: [x], env_file: ~/x.env}}\nsecrets: {s: {file: ~/s}}")
    assert made.services["a"].service.environment == {"A": "1"}
    assert made.secrets["s"].file == str(tmp_path / "s")


def test_tags_below_keys_of_the_user_and_binary_texts() -> None:
    text = "x-a: !one {b: !two [c]}\nservices: {a: {x-b: !three d, command: !!binary c2xlZXAgMQ==}}"
    made = draft(text)
    assert made.problems == ()
    assert made.services["a"].service.command == ("sleep", "1")


def test_a_string_is_a_hook() -> None:
    assert service("pre_start: [mkdir -p /x, {command: [y]}]").pre_start[0].command == ("mkdir", "-p", "/x")


@pytest.mark.parametrize(
    ("text", "environ", "name"),
    [
        ("name: My Project", {}, "myproject"),
        ("name: ${N:-other}", {}, "other"),
        ("name: x", {"COMPOSE_PROJECT_NAME": "given"}, "given"),
        ("name: '${COMPOSE_PROJECT_NAME:-zz}'", {}, "zz"),
        ("name: ${N:?}", {}, "directory"),
        ("x-a: b", {}, "directory"),
    ],
)
def test_the_name_of_the_project(text: str, environ: dict[str, str], name: str) -> None:
    """From the environment, `name`, or the directory."""
    os.mkdir("_Directory.")
    os.chdir("_Directory.")
    made = draft(f"{text}\nservices: {{a: {{command: ['$COMPOSE_PROJECT_NAME']}}}}", environ=environ)
    assert made.services["a"].service.command == (name,)


def test_env_files_see_earlier_files_and_the_environment_of_the_service() -> None:
    with open("one.env", "w", encoding="utf-8") as file:
        file.write("USER_NAME=u\nTOKEN=file\n")
    with open("two.env", "w", encoding="utf-8") as file:
        file.write("URL=http://$USER_NAME@$HOST/$TOKEN$NONE\n")
    text = "services: {a: {command: [x], env_file: [one.env, two.env], environment: {HOST: db}}}"
    made = draft(text + "\n", environ={"TOKEN": "outside"})
    assert made.services["a"].service.environment["URL"] == "http://u@db/file"
    assert [str(problem) for problem in made.problems] == [
        "two.env:1: warning: URL: a variable in it is not set: replaced by an empty string (write $$ for a literal $)"
    ]


def test_a_file_that_several_services_read_is_reported_once() -> None:
    with open(".env", "w", encoding="utf-8") as file:
        file.write("A=$NONE\n=x\n")
    made = draft("services: {a: {command: [x], env_file: .env}, b: {command: [x], env_file: [./.env]}}")
    assert [problem.where.line for problem in made.problems] == [2, 1]


@pytest.mark.parametrize(
    ("environ", "profiles"),
    [
        ({}, ("",)),
        ({"COMPOSE_PROFILES": "a, b"}, ("a", "b")),
        ({"COMPOSE_PROFILES": "a", "COHABIT_PROFILES": "c"}, ("c",)),
    ],
)
def test_profiles_of_the_environment(environ: dict[str, str], profiles: tuple[str, ...]) -> None:
    """A service may have the empty profile, which is active if no other is."""
    made = draft("services: {a: {command: [x], profiles: ['', c]}, b: {command: [x], profiles: [a]}}", environ=environ)
    assert made.profiles == profiles
    plan, _ = build(made, (), made.profiles)
    assert plan
    assert set(plan.services) == {"": {"a"}, "a": {"b"}, "c": {"a"}}[profiles[0]]


def test_a_command_in_a_value_is_a_warning() -> None:
    text = "services:\n  a:\n    command: [sh, -c, 'date $(x)']\n    environment: {A: $(x), B: $$(x), C: $5}\n"
    (line,) = reported(text)
    assert line.startswith("4: warning: services.a.environment.A: $(…) in it stays as it is")


def test_users_without_a_name_or_a_group() -> None:
    assert Users().find(":", pytest.fail) is None
    assert identity("12345:").gid == 0
    assert (identity(":12").uid, identity(":12").gid) == (os.geteuid(), 12)


def test_config_shows_a_user_as_written() -> None:
    made = draft("services: {a: {command: [x], user: '0:0'}, b: {command: [x], user: root}}")
    plan, _ = build(made)
    assert plan
    shown = plan_to_compose(plan, {name: item.user for name, item in made.services.items()})
    assert [one["user"] for one in shown["services"].values()] == ["0:0", "root"]


def test_a_long_name_of_a_variable_is_shown_in_a_list() -> None:
    """YAML reads at most 1,024 characters of a key."""
    shown = plan_to_compose(Plan({"a": Service(name="a", service="a", command=("x",), environment={"A" * 1025: "$"})}))
    assert shown["services"]["a"]["environment"] == [f"{'A' * 1025}=$$"]


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ("build: {contxt: .}", "build.contxt: unknown key (did you mean 'context'?)"),
        ("deploy: {resources: {limts: {cpus: 1}}}", "deploy.resources.limts: unknown key (did you mean 'limits'?)"),
        ("ports: [80, {target: 1, publishd: 2}]", "ports[1].publishd: unknown key (did you mean 'published'?)"),
        ("networks: {n: {aliasse: [a]}}", "networks.n.aliasse: unknown key (did you mean 'aliases'?)"),
        ("build: {args: {anything: 1}, x-a: b}, labels: {a: b}, sysctls: {a.b: 1}", ""),
    ],
)
def test_a_misspelt_key_of_the_engine_is_a_warning(keys: str, where: str) -> None:
    lines = reported(f"services: {{a: {{command: [x], {keys}}}}}")
    expected = f"1: warning: services.a.{where}; ignored here, an error in Compose"
    assert lines == ([expected] if where else [])


def test_the_top_level_has_its_own_networks_and_volumes() -> None:
    text = "services: {a: {command: [x], volumes: [{type: volume, source: v}]}}\n"
    top = "networks: {n: {driver: x, external: true}, m: {drivr: x}}\nvolumes: {v: {driver_opts: {a: b}}, w: }\n"
    assert reported(text + top) == [
        "2: warning: networks.m.drivr: unknown key (did you mean 'driver'?); ignored here, an error in Compose"
    ]


def test_an_env_file_may_mean_something_else_to_each_service() -> None:
    with open("x.env", "w", encoding="utf-8") as file:
        file.write("URL=http://$HOST\nB=1\n")
    services = (
        "a: {command: [x], env_file: x.env, environment: {HOST: a}}, b: {command: [x], env_file: x.env, environment: "
    )
    made = draft(f"services: {{{services}{{HOST: b}}}}}}")
    assert [item.service.environment["URL"] for item in made.services.values()] == ["http://a", "http://b"]


def test_keys_of_the_top_level_are_others_than_those_of_services() -> None:
    (tree,), _ = yaml_text.parse("a: {driver: x, ipam: {config: [{subnt: y}]}}", "f")
    found = [f"{path}.{key}" for _, path, key, _ in unknown_below(tree, "top-level networks", "networks")]
    assert found == ["networks.a.ipam.config[0].subnt"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (
            (
                "db: {command: [x], healtcheck: {test: x}}\n  a: &a {command: [x], depends_on: {db: {condition: "
                "service_healthy}}}\n  b: *a"
            ),
            1,
        ),
        (
            (
                "db: {command: [x], healthcheck: {test: [FOO]}}\n  a: {command: [x], depends_on: {db: {condition: "
                "service_healthy}}}"
            ),
            1,
        ),
        ("db: [x]\n  a: {command: [x], depends_on: [db]}", 1),
        ("a: {comand: [x]}", 1),
        ("a: {command: {x: y}}", 1),
        ("a: {command: [x], depends_on: {a1: {conditon: service_started}}}\n  a1: {command: [x]}", 1),
        ("a: {command: [x], secrets: [s]}\nsecrets: {s: {fle: x}}", 1),
        ("a: {command: [x], secrets: [s]}\nsecrets: {s: x}", 1),
        ("a: {command: '${NONE:?}', user: '${NONE:?}'}\n  b: {command: [x, '${NONE:?}']}", 1),
        ("db: {command: [x]}\n  a: {command: [x], depends_on: {db: {condition: service_healthy}}}", 1),
    ],
)
def test_a_mistake_is_reported_once(text: str, count: int) -> None:
    """What follows from it is not."""
    made = draft(f"services:\n  {text}\n")
    _, diagnostics = build(made)
    assert len(diagnostics) == count, [str(one) for one in diagnostics]


def test_a_missing_command_names_the_images_own() -> None:
    (line,) = reported("services: {a: {image: nginx:1}}")
    assert line.endswith(
        "the image's own: docker inspect -f '{{json .Config.Entrypoint}} {{json .Config.Cmd}}' nginx:1)"
    )
