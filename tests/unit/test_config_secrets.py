"""Secrets and configs: declaration, X_FILE variables, files, and that no output contains a text."""

from __future__ import annotations

import marshal
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cohabit
from cohabit.config import load, secret_files
from cohabit.config.secret_files import check_secret_files, write_secret_files
from cohabit.config.text.dump import dump
from cohabit.config.values.file_variables import resolve
from cohabit.config.writers.compose import plan_to_compose
from cohabit.plan.build import build
from cohabit.plan.model import FileMount, Plan, Secret, Service
from cohabit.plan.record import from_plain
from cohabit.program import packed
from unit.file_story import draft, reported, reported_once

pytestmark = pytest.mark.usefixtures("here")
LOADER = os.path.join(os.path.dirname(cohabit.__file__), "config", "__main__.py")
TEXT = "hunter2"
KEEP = ", or list A_FILE in path_variables to keep the path"


def resolved(keys: str, environ: dict[str, str], top: str = "") -> tuple[Service, list[str]]:
    """The service web after the resolution of X_FILE, and the diagnostics."""
    made = resolve(draft(f"services:\n  web: {{command: [x], {keys}}}\n{top}"), environ)
    return made.services["web"].service, [str(diagnostic).partition(": ")[2] for diagnostic in made.problems]


class TestDeclared:
    """The top-level sections and the entries of a service."""

    def test_every_source(self) -> None:
        """A path is relative to the directory of the file."""
        made = draft(
            "services: {a: {command: x}}\n"
            "secrets: {a: {file: ./a.txt}, b: {environment: B}, c: {external: true, name: other}}\n"
            "configs: {a: {file: /a}, b: {content: 'x=$${HOME}'}}\n"
        )
        assert made.problems == ()
        here = os.getcwd()
        assert made.secrets == {
            "a": Secret(f"{here}/a.txt"),
            "b": Secret(environment="B"),
            "c": Secret(external=True),
        }
        assert made.configs == {"a": Secret("/a"), "b": Secret(content="x=${HOME}")}

    @pytest.mark.parametrize(
        ("top", "expected"),
        [
            ("secrets: {a: {}}", "secrets.a: expected one of file, environment, external, got none"),
            (
                "secrets: {a: {file: x, environment: Y}}",
                "secrets.a: expected one of file, environment, external, got file",
            ),
            (
                "configs: {a: {external: false}}",
                "configs.a: expected one of file, environment, content, external, got none",
            ),
            ("secrets: {a: {content: x}}", "secrets.a.content: unknown key"),
            ("secrets: {a/b: {file: x}}", "secrets.a/b: not a valid name (use letters, digits, . _ -)"),
            ("secrets: {..: {file: x}}", "secrets...: not a valid name"),
        ],
    )
    def test_an_invalid_source_is_reported(self, top: str, expected: str) -> None:
        """Exactly one source, and a name that is valid for a file."""
        first = reported(f"services: {{a: {{command: x}}}}\n{top}\n")[0]
        assert first.startswith(f"2: {expected}")

    @pytest.mark.parametrize(
        ("entry", "mount"),
        [
            ("db", FileMount("db", "/run/secrets/db")),
            ("{source: db, target: password}", FileMount("db", "/run/secrets/password")),
            ("{source: db, target: /etc/app/password, mode: 0440}", FileMount("db", "/etc/app/password", mode=0o440)),
            ("{source: db, uid: '4321', gid: '99', mode: '400'}", FileMount("db", "/run/secrets/db", 4321, 99, 0o400)),
        ],
    )
    def test_an_entry_of_a_service(self, entry: str, mount: FileMount) -> None:
        """Short and long form; a relative target is in /run/secrets."""
        made = draft(f"services: {{web: {{command: x, secrets: [{entry}]}}}}\nsecrets: {{db: {{file: x}}}}\n")
        assert made.problems == ()
        assert made.services["web"].service.secrets == (mount,)

    def test_a_config_is_in_the_root_directory(self) -> None:
        """As in Compose."""
        made = draft("services: {web: {command: x, configs: [app.conf]}}\nconfigs: {app.conf: {file: x}}\n")
        assert made.services["web"].service.configs == (FileMount("app.conf", "/app.conf"),)

    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ("secrets: [db]", "secrets: unknown secret 'db' (declare it below the top-level secrets:)"),
            ("configs: [{source: x}]", "configs: unknown config 'x' (declare it below the top-level configs:)"),
        ],
    )
    def test_an_undeclared_name_is_reported(self, keys: str, expected: str) -> None:
        """The message says where to declare it."""
        assert reported_once(keys).startswith(expected)

    def test_the_nearest_name_is_suggested(self) -> None:
        """A misspelt name."""
        diagnostics = reported(
            "services: {web: {command: x, secrets: [db_pasword]}}\nsecrets: {db_password: {file: x}}\n"
        )
        assert diagnostics == ["1: services.web.secrets: unknown secret 'db_pasword' (did you mean 'db_password'?)"]

    def test_a_target_cannot_be_a_directory(self) -> None:
        """The target is a file."""
        diagnostics = reported(
            "services: {web: {command: x, secrets: [{source: a, target: /etc/}]}}\nsecrets: {a: {file: x}}\n"
        )
        assert diagnostics == ["1: services.web.secrets: the target '/etc/' is a directory (name a file in it)"]


class TestFileVariables:
    """values/file_variables.py: X_FILE."""

    @pytest.mark.parametrize(
        ("name", "path", "variable"),
        [
            ("DB_PASSWORD_FILE", "/run/secrets/db", "DB_PASSWORD"),
            ("APP_KEY_FILE", "/run/configs/key", "APP_KEY"),
            ("GF_PASSWORD__FILE", "/run/secrets/db", "GF_PASSWORD"),
            ("FILE__KEY", "/anywhere/key", "KEY"),
            ("LOG_FILE", "/var/log/app.log", ""),
            ("SSL_CERT_FILE", "/run/secrets/ca.pem", ""),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token", ""),
            ("DB_PASSWORD_FILE", "/var/run/secrets/db", ""),
            ("DB_PASSWORD_FILE", "/run/secrets/", ""),
            ("DB_PASSWORD_FILE", "", ""),
            ("_FILE", "/run/secrets/db", ""),
            ("DB_PASSWORD", "/run/secrets/db", ""),
        ],
    )
    def test_variables_that_name_a_file(self, name: str, path: str, variable: str) -> None:
        """X_FILE with a path in the directories of secrets, and FILE__X; others are unchanged."""
        made, diagnostics = resolved(f"environment: {{{name}: '{path}'}}", {})
        assert diagnostics == []
        assert made.secret_files == ({variable: path} if variable else {})
        assert made.environment == ({} if variable else {name: path})

    def test_the_target_of_an_own_secret_may_be_anywhere(self) -> None:
        """Not for a config: a variable that names one keeps the path."""
        keys = (
            "environment: {A_FILE: /etc/a, B_FILE: /etc/b}, secrets: [{source: s, target: /etc/a}], "
            "configs: [{source: c, target: /etc/b}]"
        )
        made, _ = resolved(keys, {}, "secrets: {s: {file: x}}\nconfigs: {c: {file: x}}\n")
        assert (made.secret_files, made.environment) == ({"A": "/etc/a"}, {"B_FILE": "/etc/b"})

    def test_variables_of_the_container_apply_to_every_service(self) -> None:
        """X_FILE itself is removed as well."""
        made, diagnostics = resolved("environment: {B: b}", {"A_FILE": "/run/secrets/a", "X": "x"})
        assert (made.secret_files, made.environment, diagnostics) == (
            {"A": "/run/secrets/a"},
            {"B": "b", "A_FILE": None},
            [],
        )

    def test_a_variable_of_the_container_needs_a_file_that_the_user_may_read(self, tmp_path: Path) -> None:
        """A service whose user cannot read the file gets its text only through its own environment."""
        secret = tmp_path / "secret"
        secret.write_text("x")
        for mode, theirs in ((0o400, {}), (0o444, {"A": str(secret)})):
            secret.chmod(mode)
            assert resolved("user: '4321'", {"FILE__A": str(secret)})[0].secret_files == theirs
        secret.chmod(0o400)
        keys = f"user: '4321', environment: {{FILE__A: {secret}}}"
        assert resolved(keys, {})[0].secret_files == {"A": str(secret)}

    @pytest.mark.parametrize(
        ("keys", "environ", "expected"),
        [
            ("environment: {A: a, A_FILE: /run/secrets/a}", {}, f"both A and A_FILE are set (remove one{KEEP})"),
            ("environment: {A_FILE: /run/secrets/a}", {"A": "a"}, f"both A and A_FILE are set (remove one{KEEP})"),
            ("environment: {A: a}", {"A_FILE": "/run/secrets/a"}, f"both A and A_FILE are set (remove one{KEEP})"),
            (
                "environment: {FILE__A: /x, A_FILE: /run/secrets/a}",
                {},
                f"both FILE__A and A_FILE are set (remove one{KEEP})",
            ),
            ("environment: {FILE__A: x}", {}, "FILE__A must be an absolute path"),
        ],
    )
    def test_both_variables_are_an_error(self, keys: str, environ: dict[str, str], expected: str) -> None:
        """As in the entrypoints of official images."""
        assert resolved(keys, environ)[1] == [f"services.web.environment: {expected}"]

    def test_a_listed_variable_keeps_its_path(self) -> None:
        """path_variables: of the service's own variables and of the container's."""
        for keys, environ in (
            ("environment: {A: a, A_FILE: /run/secrets/a}, ", {}),
            ("", {"A_FILE": "/run/secrets/a"}),
        ):
            made, diagnostics = resolved(f"{keys}path_variables: [A_FILE]", environ)
            assert (made.environment["A_FILE"], made.secret_files, diagnostics) == ("/run/secrets/a", {}, [])

    def test_config_shows_a_listed_variable_as_listed(self) -> None:
        """So that the output has the same meaning."""
        made = resolve(
            draft("services: {web: {command: [x], path_variables: [A_FILE], environment: {B_FILE: /run/secrets/b}}}"),
            {"A_FILE": "/run/secrets/a"},
        )
        plan, _ = build(made)
        assert plan
        again = resolve(draft(dump(plan_to_compose(plan))), {})
        assert again.services["web"].service == made.services["web"].service

    def test_an_empty_variable_counts_as_not_set(self) -> None:
        """As in those entrypoints; null removes it."""
        for environ, keys in (({}, "A: '', "), ({"A": "a"}, "A: '', "), ({"A": ""}, "")):
            made, diagnostics = resolved(f"environment: {{{keys}A_FILE: /run/secrets/a}}", environ)
            assert (made.secret_files, diagnostics) == ({"A": "/run/secrets/a"}, [])

    def test_the_source_variable_of_a_secret_is_removed(self) -> None:
        """Except from services that name it."""
        top = "secrets: {s: {environment: PASSWORD}}\n"
        assert resolved("environment: {A: a}", {"PASSWORD": TEXT}, top)[0].environment == {"PASSWORD": None, "A": "a"}
        assert resolved("environment: {PASSWORD: x}", {"PASSWORD": TEXT}, top)[0].environment == {"PASSWORD": "x"}


def written_files(top: str, *services: str, environ: dict[str, str] | None = None) -> list[str]:
    """Write the files of these services; the diagnostics."""
    listed = "".join(f"  s{i}: {{command: x, {keys}}}\n" for i, keys in enumerate(services))
    made = draft(f"services:\n{listed}{top}")
    plan, diagnostics = build(made)
    assert plan is not None, diagnostics
    found = list(check_secret_files(plan, made, environ or {})) or write_secret_files(plan, made, environ or {})
    return [str(diagnostic) for diagnostic in found]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
class TestSecretFiles:
    """The files. Targets are in the directory of the test."""

    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        """A directory that does not exist yet."""
        return tmp_path / "out"

    def test_every_source_is_written(self, out: Path) -> None:
        """The complete text, including newlines."""
        Path("a.txt").write_text(f"{TEXT}\n")
        grants = ", ".join(f"{{source: {name}, target: {out}/{name}}}" for name in ("a", "b"))
        top = "secrets: {a: {file: a.txt}, b: {environment: B}}\nconfigs: {c: {content: 'x=1'}}\n"
        keys = f"user: '4321:99', secrets: [{grants}], configs: [{{source: c, target: {out}/c}}]"
        assert written_files(top, keys, environ={"B": TEXT}) == []
        found = {path.name: path.stat() for path in out.iterdir()}
        assert {name: (one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) for name, one in found.items()} == {
            "a": (4321, 99, 0o400),
            "b": (4321, 99, 0o400),
            "c": (0, 0, 0o444),
        }
        assert [(out / name).read_text() for name in "abc"] == [f"{TEXT}\n", TEXT, "x=1"]

    def test_the_null_device_is_an_empty_secret(self, out: Path) -> None:
        """As in `file: ${SECRET_FILE:-/dev/null}`."""
        assert written_files("secrets: {a: {file: /dev/null}}\n", f"secrets: [{{source: a, target: {out}/a}}]") == []
        assert (out / "a").read_text() == ""

    def test_owner_and_mode_are_those_of_the_long_form(self, out: Path) -> None:
        """The long form has numbers."""
        keys = f"secrets: [{{source: a, target: {out}/a, uid: '1', gid: '2', mode: 0640}}]"
        assert written_files("secrets: {a: {environment: A}}\n", keys, environ={"A": TEXT}) == []
        found = (out / "a").stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1, 2, 0o640)

    def test_a_secret_of_several_users_is_readable_by_all(self, out: Path) -> None:
        """As in Compose; services of the same user keep 0400."""
        mount = f"secrets: [{{source: a, target: {out}/a}}]"
        for users, mode in ((("'1'", "'2'", "'1'"), 0o444), (("'1'", "'1'"), 0o400)):
            keys = [f"user: {user}, {mount}" for user in users]
            assert written_files("secrets: {a: {environment: A}}\n", *keys, environ={"A": TEXT}) == []
            assert stat.S_IMODE((out / "a").stat().st_mode) == mode

    def test_conflicting_targets_are_reported(self, out: Path) -> None:
        """A container has one file per target."""
        top = "secrets: {a: {environment: A}, b: {environment: A}}\n"
        one = f"secrets: [{{source: a, target: {out}/x, mode: 0400}}]"
        other = f"secrets: [{{source: a, target: {out}/x, mode: 0444}}]"
        third = f"secrets: [{{source: b, target: {out}/x}}]"
        owners = "has another owner or mode in another service (write the same uid, gid, mode)"
        taken = "is already the target of the secret a (choose another target for one of them)"
        assert written_files(top, one, other, third, environ={"A": TEXT}) == [
            f"cohabit.yaml:3: services.s1.secrets: {out}/x {owners}",
            f"cohabit.yaml:4: services.s2.secrets: {out}/x {taken}",
        ]

    def test_a_new_text_replaces_the_old_one(self, out: Path) -> None:
        """After a reload; no temporary file remains."""
        keys = f"secrets: [{{source: a, target: {out}/a}}]"
        for text in ("first", "second"):
            assert written_files("secrets: {a: {environment: A}}\n", keys, environ={"A": text}) == []
            assert (out / "a").read_text() == text
        assert os.listdir(out) == ["a"]

    def test_a_mounted_file_is_used_unchanged(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The file or its directory may be mounted; the source need not exist."""
        out.mkdir()
        (out / "a").write_text("mounted")
        for mount in (out, out / "a"):
            monkeypatch.setattr(secret_files, "_mounts", lambda mount=mount: frozenset({str(mount)}))
            keys = f"secrets: [{{source: a, target: {out}/a}}]"
            for source in ("file: gone.txt", "environment: A", "external: true"):
                assert written_files(f"secrets: {{a: {{{source}}}}}\n", keys, environ={"A": TEXT}) == []
                assert (out / "a").read_text() == "mounted"

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("file: gone.txt", "gone.txt or OUT/a (mount one of them)"),
            ("environment: GONE", "the variable GONE is not set (set it for the container, or mount OUT/a)"),
            (
                "external: true",
                "it is external, and there is no file OUT/a (mount it there, or write file: or environment:)",
            ),
        ],
    )
    def test_a_missing_source_is_reported(self, out: Path, source: str, expected: str) -> None:
        """Reported before any start, unless the target exists."""
        keys = f"secrets: [{{source: a, target: {out}/a}}]"
        (diagnostic,) = written_files(f"secrets: {{a: {{{source}}}}}\n", keys)
        assert diagnostic.startswith("cohabit.yaml:2: cannot provide the secret a: ")
        assert diagnostic.endswith(expected.replace("OUT", str(out)))
        out.mkdir()
        (out / "a").write_text("baked in")
        assert written_files(f"secrets: {{a: {{{source}}}}}\n", keys) == []

    def test_a_target_that_cannot_be_written_is_reported(self, out: Path) -> None:
        """A directory or another file is in the way."""
        (out / "a").mkdir(parents=True)
        (out / "file").write_text("")
        for target, expected in (
            (out / "a", f"{out}/a is a directory"),
            (out / "file" / "a", f"{out}/file is not a directory"),
        ):
            keys = f"configs: [{{source: a, target: {target}}}]"
            (diagnostic,) = written_files("configs: {a: {content: x}}\n", keys)
            assert f"cannot provide the config a: {expected}" in diagnostic


FILE = """\
services:
  web:
    command: [sh]
    environment: {DB_PASSWORD_FILE: /run/secrets/x, FILE__KEY: OUT/key}
    secrets: [{source: env, target: OUT/env}, {source: key, target: OUT/key}]
  api: {command: [sh], secrets: [{source: gone, target: OUT/gone}], ulimits: {nofile: x}}
secrets:
  env: {environment: PASSWORD}
  key: {file: key.txt}
  gone: {file: gone.txt}
"""


def loader(command: str, text: str) -> subprocess.CompletedProcess[bytes]:
    """Run the loader with the secret in its environment."""
    Path("cohabit.yaml").write_text(text)
    request: dict[str, Any] = {"source": "up", "files": [], "profiles": [], "services": []}
    argv = [sys.executable, "-I", "-S", LOADER, command, packed(request)]
    return subprocess.run(argv, env={**os.environ, "PASSWORD": TEXT}, capture_output=True, check=False)


def test_the_loader_prints_no_text_of_a_secret(tmp_path: Path) -> None:
    """Not in a Plan, in the output of `config` or in a diagnostic. Files are written only for a valid Plan."""
    Path("key.txt").write_text(TEXT)
    wrong = FILE.replace("OUT", str(tmp_path / "out"))
    for command in ("plan", "check", "config"):
        done = loader(command, wrong)
        assert TEXT.encode() not in done.stdout + done.stderr
        assert not (tmp_path / "out").exists()
    good = "\n".join(line for line in wrong.splitlines() if "gone" not in line and "api" not in line)
    good = good.replace("DB_PASSWORD_FILE: /run/secrets/x, ", "")
    for command in ("check", "config"):
        done = loader(command, good)
        assert (done.returncode, done.stderr) == (0, b"")
        assert TEXT.encode() not in done.stdout
        assert not (tmp_path / "out").exists()
    done = loader("plan", good)
    assert TEXT.encode() not in done.stdout + done.stderr
    answer = marshal.loads(done.stdout)  # noqa: S302 - from the test's own child process
    assert answer["problems"] == []
    plan = from_plain(answer["plan"])
    assert isinstance(plan, Plan)
    assert plan.services["web"].secret_files == {"KEY": f"{tmp_path}/out/key"}
    assert plan.services["web"].environment == {"PASSWORD": None}
    assert sorted(os.listdir(tmp_path / "out")) == ["env", "key"]


def test_the_output_of_config_has_the_same_meaning(tmp_path: Path) -> None:
    """References only; they are read back as the same Plan."""
    del tmp_path
    environ = {"PASSWORD": TEXT, "A_FILE": "/run/secrets/a"}
    text = (
        "services:\n"
        "  web:\n"
        "    command: [x]\n"
        "    user: '4321:99'\n"
        "    group_add: [7]\n"
        "    umask: 027\n"
        "    ulimits: {nofile: 5, core: {soft: 0, hard: -1}}\n"
        "    nice: 3\n"
        "    oom_score_adj: 10\n"
        "    cap_drop: [ALL]\n"
        "    cap_add: [CHOWN]\n"
        "    ambient_capabilities: [CHOWN]\n"
        "    security_opt: ['no-new-privileges']\n"
        "    environment: {B_FILE: /run/secrets/b, LOG_FILE: /x}\n"
        "    secrets: [s, {source: f, target: t, uid: '1', gid: '2', mode: 0440}]\n"
        "    configs: [c]\n"
        "    sockets:\n"
        "      - 8080\n"
        "      - udp:127.0.0.1:5\n"
        "      - {listen: /run/x, name: n, backlog: 3, mode: 0600, user: '1', group: '2'}\n"
        "  job: {command: [x], group_add: [7], cap_drop: [NET_RAW]}\n"
        "secrets: {s: {environment: PASSWORD}, f: {file: x}, e: {external: true}}\n"
        'configs: {c: {content: "a: $${b}\\n"}}\n'
    )
    plans = []
    for _ in range(2):
        plan, diagnostics = build(resolve(draft(text), environ))
        assert plan is not None, diagnostics
        plans.append(plan)
        text = dump(plan_to_compose(plan))
        assert TEXT not in text
        assert ("null" in text, text.count("PASSWORD")) == (False, 1)
    assert plans[0] == plans[1]


@pytest.mark.parametrize("secret", ['pa"ss\\word', "pa$$word", "it's: #1", "1234567"])
@pytest.mark.parametrize("json", [False, True])
def test_a_secret_is_masked_where_config_escapes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], secret: str, json: bool
) -> None:
    """The output has neither the text nor an escaped form of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYSEC", secret)
    (tmp_path / "cohabit.yaml").write_text(
        "secrets: {x: {environment: MYSEC}}\nservices: {a: {command: sh, environment: {URL: 'pg://${MYSEC}@h'}}}\n"
    )
    assert load.main("config", {"json": json}) == 0
    assert b"pg://***@h" in capfdbinary.readouterr().out


def test_a_secret_from_a_variable_is_masked_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpolation may put a secret anywhere; `config` and all messages show stars instead."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYSEC", "s3cr3t-text")
    (tmp_path / "cohabit.yaml").write_text(
        "secrets: {x: {environment: MYSEC}}\nservices:\n  a: {command: 'run-${MYSEC}', environment: {URL: 'pg://${MYSEC}@h'}}\n"
    )
    for command in ("config", "check", "plan"):
        done = subprocess.run(
            [sys.executable, "-I", "-S", LOADER, command, packed({})], capture_output=True, check=False
        )
        assert b"***" in done.stdout
        assert b"s3cr3t-text" not in done.stdout + done.stderr


def test_another_file_at_the_target_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a file that cohabit has written, also before a restart of the container, is replaced."""
    monkeypatch.setattr(secret_files, "_RECORD", str(tmp_path / "record"))
    target = tmp_path / "target"
    mount = f"{{source: c, target: {target}}}"
    text = f"configs: {{c: {{content: new}}}}\nservices:\n  a: {{command: x, configs: [{mount}]}}\n"
    made = draft(text)
    plan, _ = build(made)
    assert plan
    target.write_text("PRECIOUS")
    assert any("another file exists" in diagnostic.text for diagnostic in check_secret_files(plan, made, {}))
    target.unlink()
    assert list(check_secret_files(plan, made, {})) == []
    assert write_secret_files(plan, made, {}) == []
    changed = draft(text.replace("new", "newer"))
    assert list(check_secret_files(plan, changed, {})) == []
    climbing = draft(text.replace(str(target), f"{tmp_path}/x/../target"))
    assert any("contains .." in diagnostic.text for diagnostic in climbing.problems)
