"""Several files for one input: merging, `extends`, `include` and override files, and messages with the right places.

tests/differential compares the meaning with Compose; this file has what Compose does not say: places and limits.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohabit import paths
from cohabit.config.readers import files, include
from cohabit.config.readers import find as find_module
from cohabit.config.readers.find import NoInputError, Source, find
from cohabit.config.readers.registry import read
from cohabit.config.system import check_machine
from cohabit.plan.build import build

if TYPE_CHECKING:
    from cohabit.plan.draft import Draft

pytestmark = pytest.mark.usefixtures("here")


def written(**texts: str) -> None:
    """Write files; __ in a name stands for /, and the ending .yaml is added to a name without one."""
    for name, text in texts.items():
        path = name.replace("__", "/")
        path = path if "." in path else f"{path}.yaml"
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def drafted(*names: str, **environ: str) -> Draft:
    return read({"files": names}, environ)


def problems(*names: str, **environ: str) -> list[str]:
    """All problems of files, those of their services together included."""
    draft = drafted(*names, **environ)
    return [str(problem) for problem in build(draft)[1]]


# Where a problem is


def test_each_problem_names_the_file_that_has_it() -> None:
    written(
        a="services:\n  web:\n    command: [x]\n    user: ${NONE}\n    restart: allways\n",
        b="services:\n  web:\n    comand: y\n    environment:\n      A: $GONE\n"
        "  db:\n    depends_on: [none]\n    command: x\n",
    )
    assert sorted(problems("a.yaml", "b.yaml")) == [
        "a.yaml:4: warning: the variable NONE is not set: replaced by an empty string",
        (
            "a.yaml:5: services.web.restart: expected no, always, on-failure[:N] or unless-stopped, got 'allways'"
            " (did you mean 'always'?)"
        ),
        "b.yaml:3: services.web.comand: unknown key (did you mean 'command'?)",
        (
            "b.yaml:5: warning: services.web.environment.A: a variable in it is not set: replaced by an empty string"
            " (write $$ for a literal $)"
        ),
        "b.yaml:7: services.db.depends_on: there is no service 'none' (add it, or remove this line)",
    ]


def test_a_service_is_where_it_is_written_first_and_its_keys_where_they_are() -> None:
    written(
        a="services:\n  web: {extends: {file: common/base.yaml, service: base}, tty: true}\n",
        common__base="services:\n  base:\n    command: [x]\n    user: root\n",
        b="\n\nservices: {web: {user: '1'}}\n",
    )
    web = drafted("a.yaml", "b.yaml").services["web"]
    assert [str(web.place(key)) for key in ("command", "tty", "user", "restart")] == [
        "common/base.yaml:3",
        "a.yaml:2",
        "b.yaml:3",
        "a.yaml:2",
    ]


def test_a_text_that_cannot_be_parsed_names_its_file() -> None:
    written(a="include: [b.yaml]\nservices: {}", b="\n: [", c="services: {web: {command: x}}")
    for names in (("a.yaml",), ("c.yaml", "b.yaml")):
        (problem,) = problems(*names)
        assert problem.startswith(("b.yaml:2: cannot read b.yaml: not valid YAML", "b.yaml:3: cannot read b.yaml"))


def test_values_of_variables_are_hidden_in_each_file() -> None:
    written(
        a="include: [{path: b.yaml, env_file: b.env}]\nservices: {web: {command: x}}",
        b="services: {db: {command: x, stop_signal: $SECRET}}",
        **{"b.env": "SECRET=hunter2\n"},
    )
    assert problems("a.yaml") == [
        "b.yaml:1: services.db.stop_signal: '…' is not a signal (write SIGTERM, TERM or a number up to 64)"
    ]


# Merging


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (
            "healthcheck: {test: x}",
            "healthcheck: [x]",
            "services.web.healthcheck: cannot be merged with a.yaml:1: expected a map",
        ),
        ("cap_add: [CHOWN]", "cap_add: CHOWN", "services.web.cap_add: cannot be merged with a.yaml:1: expected a list"),
        (
            "depends_on: [db]",
            "depends_on: db",
            "services.web.depends_on: cannot be merged with a.yaml:1: expected a map",
        ),
    ],
)
def test_values_of_different_form_are_reported_with_both_places(first: str, second: str, text: str) -> None:
    written(a=f"services: {{web: {{command: x, {first}}}, db: {{command: x}}}}", b=f"services: {{web: {{{second}}}}}")
    (problem,) = [one for one in problems("a.yaml", "b.yaml") if "cannot be merged" in one]
    assert problem == f"b.yaml:1: {text} as there (!override before it replaces it)"


def test_own_keys_are_merged_by_the_general_rules() -> None:
    written(
        a="services:\n  web: {command: x, pre_start: [a], sockets: ['1'], schedule: '@daily', path_variables: [P]}\n"
        "x-cohabit: {stop_grace_period: 5s, logging: {driver: json}}\n",
        b="services:\n  web: {pre_start: [b], sockets: ['2'], schedule: {cron: '@hourly'}, path_variables: [P, Q]}\n"
        "x-cohabit: {mask: true, logging: {driver: logfmt}}\n",
    )
    draft = drafted("a.yaml", "b.yaml")
    assert draft.problems == ()
    web = draft.services["web"]
    assert [hook.command for hook in web.service.pre_start] == [("a",), ("b",)]
    assert [socket.port for socket in web.service.sockets] == [1, 2]
    assert web.path_variables == ("P", "Q")
    assert web.service.schedule is not None
    assert (draft.stop_grace_seconds, draft.mask, draft.logging[0].driver) == (5.0, True, "logfmt")


def test_toml_and_yaml_are_merged() -> None:
    written(
        **{"a.toml": '[services.web]\ncommand = ["a"]\nenvironment = {A = "1"}\n'},
        b="services: {web: {environment: [B=2]}}",
    )
    web = drafted("a.toml", "b.yaml").services["web"].service
    assert (web.command, web.environment) == (("a",), {"A": "1", "B": "2"})


def test_aliases_are_not_changed_by_merging() -> None:
    """Nodes are shared between the places of an alias."""
    written(
        a="services:\n  a: &a {command: x, environment: &e {A: '1'}}\n  b: {extends: a, environment: {B: '2'}}\n"
        "  c: {<<: *a}\n  d: {command: x, environment: *e}\n---\nservices: {c: {environment: {C: '3'}}}\n"
    )
    services = drafted("a.yaml").services
    found = {name: item.service.environment for name, item in services.items()}
    assert found == {"a": {"A": "1"}, "b": {"A": "1", "B": "2"}, "c": {"A": "1", "C": "3"}, "d": {"A": "1"}}


def test_keys_for_export_are_merged_and_rewritten_too() -> None:
    written(
        a="services:\n  web:\n    extends: {file: sub/b.yaml, service: b}\n    command: x\n"
        "    ports: ['80:80', '81:81']\n    volumes: ['./x:/data']\n",
        sub__b="services:\n  b:\n    build: .\n    ports: ['80:80', {target: 443, published: '443'}]\n"
        "    volumes: ['./d:/data', 'named:/n', '/abs:/a', '../up:/u', {type: bind, source: s, target: /s}]\n"
        "    develop: {watch: [{path: ./src, action: sync}]}\n    label_file: [l, '${X:-y}/l', '${HOME}/l']\n",
    )
    web = drafted("a.yaml", HOME="/root").services["web"].written
    texts = {key: [one.text for one in web[key].value] for key in ("volumes", "label_file")}  # type: ignore[union-attr]
    assert texts["volumes"] == ["./x:/data", "named:/n", "/abs:/a", "./up:/u", ""]
    assert texts["label_file"] == ["./sub/l", "./sub/${X:-y}/l", "${HOME}/l"]
    assert web["build"].text == "./sub"
    assert len(web["ports"].value) == 3  # type: ignore[arg-type]
    assert "sub/src" in str(web["develop"].value)
    assert "./sub/s" in str(web["volumes"].value)


# extends and include


def test_files_of_secrets_and_configs_are_relative_to_their_file() -> None:
    written(
        a="include: [sub/b.yaml]\nservices: {web: {command: x, secrets: [s]}}",
        sub__b="secrets: {s: {file: ./s}}\nconfigs: {c: {file: /abs/c}}\nservices: {db: {command: x, env_file: x.env}}",
        **{"sub__x.env": "X=1\n"},
    )
    draft = drafted("a.yaml")
    assert draft.problems == ()
    assert (draft.secrets["s"].file, draft.configs["c"].file) == (os.path.abspath("sub/s"), "/abs/c")
    assert draft.services["db"].service.environment == {"X": "1"}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            {"a": "services:\n  a: {extends: b}\n  b: {extends: a}\n"},
            "a.yaml:2: services.a.extends: a cycle: a -> b -> a (remove one of them)",
        ),
        (
            {"a": "services: {a: {extends: {file: b.yaml, service: b}}}", "b": "services: {b: {extends: b}}"},
            "b.yaml:1: services.b.extends: a cycle: b -> b (remove one of them)",
        ),
        (
            {"a": "services: {web: {extends: wbe, command: x}}"},
            "a.yaml:1: services.web.extends: there is no service 'wbe' in a.yaml (did you mean 'web'?)",
        ),
        (
            {"a": "services: {web: {extends: {file: b.yaml, service: c}, command: x}}", "b": "services: {b: {}}"},
            (
                "a.yaml:1: services.web.extends: there is no service 'c' in b.yaml"
                " (a service of another file needs file: FILE)"
            ),
        ),
        (
            {"a": "services: {web: {extends: {file: git@x:y, service: c}, command: x}}"},
            "a.yaml:1: services.web.extends.file: a file of another machine is not read (copy it into the image)",
        ),
        (
            {"a": "services: {web: {extends: {srvice: c}, command: x}}"},
            "a.yaml:1: services.web.extends.srvice: unknown key (did you mean 'service'?)",
        ),
        (
            {"a": "include:\n  - b.yaml\nservices: {}", "b": "include: [c.yaml]", "c": "include: [b.yaml]"},
            "c.yaml:1: include[0]: a cycle: b.yaml -> c.yaml -> b.yaml (remove one of them)",
        ),
        (
            {"a": "include: [b.yaml]\nservices:\n  x: {command: a}", "b": "\nservices: {x: {command: b}}"},
            (
                "a.yaml:3: services.x: also in b.yaml:2, which is included"
                " (rename one, or write a second file into path: of the include, which overrides the first)"
            ),
        ),
        (
            {"a": "include: [b.yaml]\nservices: {x: {command: a}}", "b": "x-cohabit: {mask: true}"},
            "b.yaml:1: warning: x-cohabit: ignored in an included file (write it in the file that includes it)",
        ),
        (
            {"a": "include: [{path: b.yaml, env_file: c.env}]\nservices: {x: {command: a}}", "b": "services: {}"},
            "a.yaml:1: include[0]: cannot read c.env: no such file (create it, or correct the path)",
        ),
        (
            {"a": "include: [{pth: b.yaml}]\nservices: {x: {command: a}}"},
            "a.yaml:1: include[0].pth: unknown key (did you mean 'path'?)",
        ),
        ({"a": "include: b.yaml\nservices: {x: {command: a}}"}, "a.yaml:1: include: expected a list, got 'b.yaml'"),
        ({"a": "include: ['']\nservices: {x: {command: a}}"}, "a.yaml:1: include[0]: the path is empty"),
        (
            {"a": "include: ['${NONE:?}']\nservices: {x: {command: a}}"},
            "a.yaml:1: include[0]: the variable NONE is not set",
        ),
    ],
)
def test_what_cannot_be_resolved_is_reported(texts: dict[str, str], expected: str) -> None:
    written(**texts)
    assert expected in problems("a.yaml")


def test_a_file_that_is_included_twice_has_its_problems_once() -> None:
    written(
        a="include: [b.yaml, c.yaml]\nservices: {}",
        b="include: [d.yaml]",
        c="include: [d.yaml]",
        d="x-cohabit: {}\nservices: {x: {command: a, extends: y}}",
    )
    assert [one.partition(": ")[0] for one in problems("a.yaml")] == ["d.yaml:2", "d.yaml:1"]


def test_a_file_that_is_named_may_be_anything() -> None:
    """Nothing blocks: a fifo, a directory, a device, a huge file, and a file called `-`."""
    os.mkfifo("fifo")
    os.mkdir("directory")
    with open("large", "wb") as file:
        file.truncate(1 << 30)
    written(**{"-.yaml": ""})
    os.rename("-.yaml", "-")
    for name, why in (
        ("fifo", "it is not a regular file"),
        ("directory", "it is a directory"),
        ("/dev/zero", "it is not a regular file"),
        ("large", "it is larger than 1 MiB"),
        ("none", "no such file"),
    ):
        written(a=f"include: [{name}]\nservices: {{web: {{command: x, extends: {{file: {name}, service: x}}}}}}")
        found = problems("a.yaml")
        assert [f"cannot read {name}: {why}" in problem for problem in found] == [True, True], found
    written(a="include: ['-']\nservices: {web: {command: x}}")
    assert problems("a.yaml") == []


def test_the_number_of_files_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of files, a file that names itself through a link, and a tree of files that doubles at each level."""
    os.mkdir("d")
    os.symlink("../d", "d/again")
    written(
        **{f"c{n}": f"include: [c{n + 1}.yaml]" for n in range(files.LIMIT_FILES + 2)},
        **{f"e{n}": f"include: [e{n + 1}.yaml, e{n + 1}.yaml]" for n in range(12)},
        e12="services: {x: {command: x}}",
        d__l="include: [again/l.yaml]",
    )
    (problem,) = drafted("c0.yaml").problems
    assert str(problem).endswith("more than 100 files are named (join some of them)")
    assert "cannot read d/again/" in drafted("d/l.yaml").problems[0].text
    (problem,) = drafted("e0.yaml").problems
    assert str(problem).endswith("more than 1000 inclusions (include each file once)")
    monkeypatch.setattr(include, "LIMIT_INCLUDES", 10_000)
    assert problems("e0.yaml") == []
    monkeypatch.setattr(files, "LIMIT_CHARACTERS", 100)
    assert drafted("e0.yaml").problems[0].text.endswith("the files are larger than 0 MiB together")


def test_a_long_chain_of_services_needs_no_recursion() -> None:
    services = "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(3000))
    written(a=f"services:\n{services}  s3000: {{command: x}}\n")
    assert len(drafted("a.yaml").services) == 3001


def test_values_that_multiply_are_refused() -> None:
    """Each service has all variables of the one that it extends, and one more."""
    services = "".join(f"  s{n}: {{extends: s{n + 1}, environment: {{V{n}: x}}}}\n" for n in range(2000))
    written(a=f"services:\n{services}  s2000: {{command: x}}\n")
    (problem,) = problems("a.yaml")
    assert "more than 100,000 values" in problem


# Which files are read


@pytest.mark.parametrize(
    ("present", "expected", "warnings"),
    [
        (["cohabit.yaml", "cohabit.override.yaml"], ["cohabit.yaml", "cohabit.override.yaml"], []),
        (["cohabit.toml", "cohabit.override.yml"], ["cohabit.toml", "cohabit.override.yml"], []),
        (["cohabit.yaml", "compose.override.yaml"], ["cohabit.yaml"], []),
        (["compose.yaml", "compose.override.yaml"], ["compose.yaml", "compose.override.yaml"], []),
        (["docker-compose.yml", "docker-compose.yaml"], ["docker-compose.yml"], []),
        (["compose.yml", "docker-compose.override.yml"], ["compose.yml", "docker-compose.override.yml"], []),
        (["compose.yml", "cohabit.override.yaml"], ["compose.yml"], []),
        (
            ["cohabit.yaml", "cohabit.override.yml", "cohabit.override.yaml"],
            ["cohabit.yaml", "cohabit.override.yaml"],
            ["cohabit.override.yml: warning: ignored: cohabit.override.yaml is read (keep one of them)"],
        ),
    ],
)
def test_the_override_file_beside_the_file_is_read(
    present: list[str], expected: list[str], warnings: list[str]
) -> None:
    written(**dict.fromkeys(present, ""))
    source = find({}, {})
    assert [one.path for one in (source, *source.others)] == expected
    assert [str(one) for one in source.warnings] == warnings


NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the owner of files: needs root")


def owned(path: str, uid: int, mode: int) -> None:
    os.chown(path, uid, uid)
    os.chmod(path, mode)


@as_root
@pytest.mark.parametrize(
    ("directory", "main", "override", "who"),
    [
        ((NOBODY, 0o755), (0, 0o644), (NOBODY, 0o644), "user 65534"),
        ((NOBODY, 0o755), (0, 0o644), (0, 0o644), "user 65534"),  # renamed, such as a log of root with their lines
        ((0, 0o1777), (0, 0o644), (NOBODY, 0o644), "any user, user 65534"),
        ((0, 0o775), (0, 0o644), (0, 0o644), "group 0"),
        ((NOBODY, 0o777), (NOBODY, 0o644), (NOBODY, 0o644), "any user"),
        ((0, 0o755), (0, 0o644), (NOBODY, 0o664), ""),  # mounted from a host: only root could put it there
        ((NOBODY, 0o775), (NOBODY, 0o664), (NOBODY, 0o664), ""),  # they can write to the file itself
        ((NOBODY, 0o777), (0, 0o666), (NOBODY, 0o644), ""),
    ],
)
def test_a_service_cannot_add_an_override_file(
    directory: tuple[int, int], main: tuple[int, int], override: tuple[int, int], who: str
) -> None:
    """A reload would give root's rights to a user who can write to the directory of a file that is mounted."""
    written(**{"cohabit.yaml": "", "cohabit.override.yaml": ""})
    for path, (uid, mode) in ((".", directory), ("cohabit.yaml", main), ("cohabit.override.yaml", override)):
        owned(path, uid, mode)
    if not who:
        assert [one.path for one in find({}, {}).others] == ["cohabit.override.yaml"]
        return
    with pytest.raises(NoInputError, match=rf"^cannot read cohabit\.override\.yaml: {who} can change it"):
        find({}, {})
    assert find({"files": ["cohabit.yaml", "cohabit.override.yaml"]}, {}).others  # named, it is wanted


@as_root
def test_a_service_that_can_change_an_included_file_is_a_warning() -> None:
    """As one that can change the file itself (system.py)."""
    written(a="include: [sub/b.yaml]\nservices: {x: {command: [x], user: '65534'}}", sub__b="services: {}")
    os.chown("sub/b.yaml", NOBODY, NOBODY)
    draft = drafted("a.yaml")
    plan, _ = build(draft)
    assert plan is not None
    found = [str(one) for one in check_machine(plan, draft, {}) if "at a reload" in str(one)]
    assert len(found) == 1
    assert found[0].startswith("a.yaml: warning: services.x: user 65534 can change sub/b.yaml and so become root at a ")


@as_root
def test_a_service_cannot_name_another_file_in_its_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """COMPOSE_FILE in .env, and a file in the working directory instead of the one in /etc/cohabit."""
    written(**{"etc__cohabit.yaml": "", "cohabit.yaml": "", ".env": "COMPOSE_FILE=evil.yaml\n"})
    monkeypatch.setattr(find_module, "DIRECTORIES", ("", "etc"))
    owned(".", NOBODY, 0o755)
    with pytest.raises(NoInputError, match=r"^cannot read \.env: user 65534 can change it or its directory, and not"):
        find({}, {})
    written(**{".env": "A=b\n"})
    monkeypatch.setattr(paths, "is_private", lambda path: path.startswith("etc"))  # it is below "." here
    source = find({}, {})
    assert source.path == "etc/cohabit.yaml"
    (warning,) = source.warnings
    assert str(warning).startswith("cohabit.yaml: warning: ignored: other users can change its directory, and etc/coh")
    monkeypatch.setattr(paths, "is_private", lambda _: True)
    assert find({}, {}).path == "cohabit.yaml"


def test_a_named_file_has_no_override() -> None:
    written(**{"cohabit.yaml": "", "cohabit.override.yaml": "", "b.yaml": ""})
    assert find({"files": ["cohabit.yaml"]}, {}).others == ()
    several = find({}, {"COMPOSE_FILE": "b.yaml:cohabit.yaml"})
    assert [several.path, *(one.path for one in several.others)] == ["b.yaml", "cohabit.yaml"]


def test_the_first_file_with_a_path_decides_on_the_directory() -> None:
    first = Source("-", "standard input", others=(Source("sub/a.yaml", "sub/a.yaml"), Source("b.yaml", "b.yaml")))
    assert first.directory == "sub"


def test_all_files_are_listed() -> None:
    written(
        a="include: [b.yaml]\nservices: {x: {extends: {file: sub/c.yaml, service: c}}}",
        b="services: {y: {command: x}}",
        sub__c="services: {c: {command: x}}",
    )
    assert drafted("a.yaml").files == ("a.yaml", "sub/c.yaml", "b.yaml")


# Dependencies that other keys mean


def test_a_problem_of_an_implied_dependency_names_its_key() -> None:
    written(
        a="services:\n  a:\n    command: x\n    links: [none]\n  b:\n    command: x\n    network_mode: service:c\n"
        "  c:\n    command: x\n    volumes_from: ['b:ro']\n"
    )
    assert problems("a.yaml") == [
        "a.yaml:4: services.a.links: there is no service 'none' (add it, or remove this line)",
        "a.yaml:7: depends_on has a cycle: b -> c -> b (none of these services could start; remove one dependency)",
    ]


# Any input


def _flow(keys: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"


KEYS = st.sampled_from(
    [
        *(
            "services",
            "a",
            "b",
            "extends",
            "file",
            "service",
            "environment",
            "depends_on",
            "build",
            "context",
            "logging",
        ),
        *(
            "driver",
            "options",
            "include",
            "path",
            "env_file",
            "volumes",
            "ports",
            "secrets",
            "configs",
            "networks",
            "source",
        ),
        *("x-cohabit", "ulimits", "healthcheck", "test", "links", "develop", "watch", "target", "command", "name"),
    ]
)
SCALARS = st.sampled_from(
    ["a", "b", "one.yaml", "two.yaml", "${V}", "${", "A=1", "./x:/y", "1", "null", "''", "80:80/udp"]
)
FLOW = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(KEYS, inner, max_size=4).map(_flow),
        st.builds("{} {}".format, st.sampled_from(["!reset", "!override"]), inner),
    ),
    max_leaves=25,
)
SERVICES = st.dictionaries(st.sampled_from("ab"), st.dictionaries(KEYS, FLOW, max_size=4).map(_flow), max_size=2)
FILES = st.one_of(
    FLOW, st.builds("{{services: {}, include: {}}}".format, SERVICES.map(_flow), FLOW), SERVICES.map(_flow)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(FILES, FILES)
def test_no_input_ends_the_reader(one: str, two: str) -> None:
    """Whatever two files that name each other contain, the result is a Draft with problems."""
    written(one=one, two=f"{two}\n---\n{one}\n")
    for names in (["one.yaml"], ["one.yaml", "two.yaml"], ["two.yaml", "one.yaml"]):
        draft = drafted(*names, V="v")
        build(draft)
        for item in draft.services.values():
            assert all(str(item.place(key)) for key in item.written)
