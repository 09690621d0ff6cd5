"""Secrets and configs: declared, granted, told from other variables, put where they are looked for, and never shown."""

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
from cohabit.config import secret_files, show
from cohabit.config.secret_files import check_deliveries, deliver
from cohabit.config.values.file_variables import resolve
from cohabit.plan.build import build
from cohabit.plan.model import FileMount, Plan, Secret, Service
from cohabit.plan.record import from_plain
from unit.file_story import complaint, draft, told

pytestmark = pytest.mark.usefixtures("here")
LOADER = os.path.join(os.path.dirname(cohabit.__file__), "config", "__main__.py")
TEXT = "hunter2"


def resolved(keys: str, environ: dict[str, str], top: str = "") -> tuple[Service, list[str]]:
    """The service web after X_FILE, and what is wrong."""
    made = resolve(draft(f"services:\n  web: {{command: [x], {keys}}}\n{top}"), environ)
    return made.services["web"].service, [str(problem).partition(": ")[2] for problem in made.problems]


class TestDeclared:
    """What the top of the file and a service say."""

    def test_every_source(self) -> None:
        """A file is looked for beside ours."""
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
        ("top", "says"),
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
            ("secrets: {a/b: {file: x}}", "secrets.a/b: it can have no such name (letters, digits, . _ -)"),
            ("secrets: {..: {file: x}}", "secrets...: it can have no such name"),
        ],
    )
    def test_what_is_wrong_with_a_source(self, top: str, says: str) -> None:
        """Exactly one source, and a name that can be a file's."""
        first = told(f"services: {{a: {{command: x}}}}\n{top}\n")[0]
        assert first.startswith(f"2: {says}")

    @pytest.mark.parametrize(
        ("entry", "grant"),
        [
            ("db", FileMount("db", "/run/secrets/db")),
            ("{source: db, target: password}", FileMount("db", "/run/secrets/password")),
            ("{source: db, target: /etc/app/password, mode: 0440}", FileMount("db", "/etc/app/password", mode=0o440)),
            ("{source: db, uid: '4321', gid: '99', mode: '400'}", FileMount("db", "/run/secrets/db", 4321, 99, 0o400)),
        ],
    )
    def test_a_grant(self, entry: str, grant: FileMount) -> None:
        """Short and long form; a name is one in /run/secrets."""
        made = draft(f"services: {{web: {{command: x, secrets: [{entry}]}}}}\nsecrets: {{db: {{file: x}}}}\n")
        assert made.problems == ()
        assert made.services["web"].service.secrets == (grant,)

    def test_a_config_stands_in_the_root(self) -> None:
        """As in Compose."""
        made = draft("services: {web: {command: x, configs: [app.conf]}}\nconfigs: {app.conf: {file: x}}\n")
        assert made.services["web"].service.configs == (FileMount("app.conf", "/app.conf"),)

    @pytest.mark.parametrize(
        ("keys", "says"),
        [
            ("secrets: [db]", "secrets: there is no secret 'db' (write it below secrets: at the top of the file)"),
            ("configs: [{source: x}]", "configs: there is no config 'x' (write it below configs: at the top"),
        ],
    )
    def test_a_name_that_nobody_declared(self, keys: str, says: str) -> None:
        """It says where to write it."""
        assert complaint(keys).startswith(says)

    def test_the_nearest_name_is_told(self) -> None:
        """A slip of the pen."""
        problems = told("services: {web: {command: x, secrets: [db_pasword]}}\nsecrets: {db_password: {file: x}}\n")
        assert problems == ["1: services.web.secrets: there is no secret 'db_pasword' (did you mean 'db_password'?)"]

    def test_a_target_that_is_a_directory(self) -> None:
        """A file is meant."""
        problems = told(
            "services: {web: {command: x, secrets: [{source: a, target: /etc/}]}}\nsecrets: {a: {file: x}}\n"
        )
        assert problems == ["1: services.web.secrets: the target '/etc/' is a directory (name a file in it)"]


class TestFileVariables:
    """X_FILE."""

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
    def test_which_variables_are_meant(self, name: str, path: str, variable: str) -> None:
        """Those whose file is where secrets are, and those that say so; others are left alone."""
        made, problems = resolved(f"environment: {{{name}: '{path}'}}", {})
        assert problems == []
        assert made.secret_files == ({variable: path} if variable else {})
        assert made.environment == ({} if variable else {name: path})

    def test_a_secret_that_it_is_handed_may_be_anywhere(self) -> None:
        """A config may not: a variable that names one wants its path."""
        keys = (
            "environment: {A_FILE: /etc/a, B_FILE: /etc/b}, secrets: [{source: s, target: /etc/a}], "
            "configs: [{source: c, target: /etc/b}]"
        )
        made, _ = resolved(keys, {}, "secrets: {s: {file: x}}\nconfigs: {c: {file: x}}\n")
        assert (made.secret_files, made.environment) == ({"A": "/etc/a"}, {"B_FILE": "/etc/b"})

    def test_the_containers_own_count_for_every_service(self) -> None:
        """Then the variable that said so is taken away, too."""
        made, problems = resolved("environment: {B: b}", {"A_FILE": "/run/secrets/a", "X": "x"})
        assert (made.secret_files, made.environment, problems) == (
            {"A": "/run/secrets/a"},
            {"B": "b", "A_FILE": None},
            [],
        )

    def test_but_roots_secret_is_not_for_everybody(self, tmp_path: Path) -> None:
        """A service that could not read the file gets its text only if its own environment says so."""
        secret = tmp_path / "secret"
        secret.write_text("x")
        for mode, theirs in ((0o400, {}), (0o444, {"A": str(secret)})):
            secret.chmod(mode)
            assert resolved("user: '4321'", {"FILE__A": str(secret)})[0].secret_files == theirs
        secret.chmod(0o400)
        keys = f"user: '4321', environment: {{FILE__A: {secret}}}"
        assert resolved(keys, {})[0].secret_files == {"A": str(secret)}

    @pytest.mark.parametrize(
        ("keys", "environ", "says"),
        [
            ("environment: {A: a, A_FILE: /run/secrets/a}", {}, "both A and A_FILE are set (remove one)"),
            ("environment: {A_FILE: /run/secrets/a}", {"A": "a"}, "both A and A_FILE are set (remove one)"),
            ("environment: {A: a}", {"A_FILE": "/run/secrets/a"}, "both A and A_FILE are set (remove one)"),
            ("environment: {FILE__A: /x, A_FILE: /run/secrets/a}", {}, "both FILE__A and A_FILE are set (remove one)"),
            ("environment: {FILE__A: x}", {}, "FILE__A must be a whole path, beginning with /"),
        ],
    )
    def test_both_is_a_problem(self, keys: str, environ: dict[str, str], says: str) -> None:
        """As in the entrypoints of official images; nobody could tell which one counts."""
        assert resolved(keys, environ)[1] == [f"services.web.environment: {says}"]

    def test_an_empty_one_counts_as_none(self) -> None:
        """As in those entrypoints, too; null takes it away."""
        for environ, keys in (({}, "A: '', "), ({"A": "a"}, "A: '', "), ({"A": ""}, "")):
            made, problems = resolved(f"environment: {{{keys}A_FILE: /run/secrets/a}}", environ)
            assert (made.secret_files, problems) == ({"A": "/run/secrets/a"}, [])

    def test_a_secrets_variable_is_nobodys(self) -> None:
        """Unless a service is given it by name."""
        top = "secrets: {s: {environment: PASSWORD}}\n"
        assert resolved("environment: {A: a}", {"PASSWORD": TEXT}, top)[0].environment == {"PASSWORD": None, "A": "a"}
        assert resolved("environment: {PASSWORD: x}", {"PASSWORD": TEXT}, top)[0].environment == {"PASSWORD": "x"}


def delivered(top: str, *services: str, environ: dict[str, str] | None = None) -> list[str]:
    """Put there what these services are handed; what is wrong."""
    listed = "".join(f"  s{i}: {{command: x, {keys}}}\n" for i, keys in enumerate(services))
    made = draft(f"services:\n{listed}{top}")
    plan, problems = build(made)
    assert plan is not None, problems
    found = list(check_deliveries(plan, made, environ or {})) or deliver(plan, made, environ or {})
    return [str(problem) for problem in found]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
class TestDelivery:
    """The files themselves. Targets are in the test's own directory."""

    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        """Give a directory that is not there yet."""
        return tmp_path / "out"

    def test_each_source(self, out: Path) -> None:
        """The whole text, newlines and all."""
        Path("a.txt").write_text(f"{TEXT}\n")
        grants = ", ".join(f"{{source: {name}, target: {out}/{name}}}" for name in ("a", "b"))
        top = "secrets: {a: {file: a.txt}, b: {environment: B}}\nconfigs: {c: {content: 'x=1'}}\n"
        keys = f"user: '4321:99', secrets: [{grants}], configs: [{{source: c, target: {out}/c}}]"
        assert delivered(top, keys, environ={"B": TEXT}) == []
        found = {path.name: path.stat() for path in out.iterdir()}
        assert {name: (one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) for name, one in found.items()} == {
            "a": (4321, 99, 0o400),
            "b": (4321, 99, 0o400),
            "c": (0, 0, 0o444),
        }
        assert [(out / name).read_text() for name in "abc"] == [f"{TEXT}\n", TEXT, "x=1"]

    def test_owner_and_mode_as_written(self, out: Path) -> None:
        """Numbers of the long form."""
        keys = f"secrets: [{{source: a, target: {out}/a, uid: '1', gid: '2', mode: 0640}}]"
        assert delivered("secrets: {a: {environment: A}}\n", keys, environ={"A": TEXT}) == []
        found = (out / "a").stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1, 2, 0o640)

    def test_what_several_users_share_all_can_read(self, out: Path) -> None:
        """As Compose's secrets; the same user changes nothing."""
        grant = f"secrets: [{{source: a, target: {out}/a}}]"
        for users, mode in ((("'1'", "'2'", "'1'"), 0o444), (("'1'", "'1'"), 0o400)):
            keys = [f"user: {user}, {grant}" for user in users]
            assert delivered("secrets: {a: {environment: A}}\n", *keys, environ={"A": TEXT}) == []
            assert stat.S_IMODE((out / "a").stat().st_mode) == mode

    def test_what_does_not_go_together(self, out: Path) -> None:
        """One container has one such file."""
        top = "secrets: {a: {environment: A}, b: {environment: A}}\n"
        one = f"secrets: [{{source: a, target: {out}/x, mode: 0400}}]"
        other = f"secrets: [{{source: a, target: {out}/x, mode: 0444}}]"
        third = f"secrets: [{{source: b, target: {out}/x}}]"
        owners = "cannot belong to several users (write the same uid, gid and mode for all)"
        taken = "already (give one of them another target)"
        assert delivered(top, one, other, third, environ={"A": TEXT}) == [
            f"cohabit.yaml:3: services.s1.secrets: {out}/x {owners}",
            f"cohabit.yaml:4: services.s2.secrets: the secret a is at {out}/x {taken}",
        ]

    def test_a_later_text_replaces_an_earlier_one(self, out: Path) -> None:
        """After a reload; nothing is left beside it."""
        keys = f"secrets: [{{source: a, target: {out}/a}}]"
        for text in ("first", "second"):
            assert delivered("secrets: {a: {environment: A}}\n", keys, environ={"A": text}) == []
            assert (out / "a").read_text() == text
        assert os.listdir(out) == ["a"]

    def test_what_the_engine_mounted_is_used_as_it_is(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Alone or with its folder; our own source is not even looked for."""
        out.mkdir()
        (out / "a").write_text("mounted")
        for mount in (out, out / "a"):
            monkeypatch.setattr(secret_files, "_mounts", lambda mount=mount: frozenset({str(mount)}))
            keys = f"secrets: [{{source: a, target: {out}/a}}]"
            for source in ("file: gone.txt", "environment: A", "external: true"):
                assert delivered(f"secrets: {{a: {{{source}}}}}\n", keys, environ={"A": TEXT}) == []
                assert (out / "a").read_text() == "mounted"

    @pytest.mark.parametrize(
        ("source", "says"),
        [
            ("file: gone.txt", "gone.txt is not there, and neither is OUT/a (mount one of them)"),
            ("environment: GONE", "the variable GONE is not set (set it for the container, or mount OUT/a)"),
            (
                "external: true",
                "OUT/a is not there, and it is external (mount it there, or write file: or environment:)",
            ),
        ],
    )
    def test_a_source_that_is_not_there(self, out: Path, source: str, says: str) -> None:
        """Told before anything starts; but what is there already will do."""
        keys = f"secrets: [{{source: a, target: {out}/a}}]"
        (problem,) = delivered(f"secrets: {{a: {{{source}}}}}\n", keys)
        assert problem.startswith("cohabit.yaml:2: cannot hand over the secret a: ")
        assert problem.endswith(says.replace("OUT", str(out)))
        out.mkdir()
        (out / "a").write_text("baked in")
        assert delivered(f"secrets: {{a: {{{source}}}}}\n", keys) == []

    def test_where_nothing_can_be_written(self, out: Path) -> None:
        """A directory, or something else, is in the way."""
        (out / "a").mkdir(parents=True)
        (out / "file").write_text("")
        for target, says in (
            (out / "a", f"{out}/a is a directory"),
            (out / "file" / "a", f"{out}/file is no directory"),
        ):
            keys = f"configs: [{{source: a, target: {target}}}]"
            (problem,) = delivered("configs: {a: {content: x}}\n", keys)
            assert f"cannot hand over the config a: {says}" in problem


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


def loader(verb: str, text: str) -> subprocess.CompletedProcess[bytes]:
    """Ask the loader, with the secret in its environment."""
    Path("cohabit.yaml").write_text(text)
    request: dict[str, Any] = {"verb": "up", "files": [], "profiles": [], "services": []}
    command = [sys.executable, "-I", LOADER, verb, repr(request)]
    return subprocess.run(command, env={**os.environ, "PASSWORD": TEXT}, capture_output=True, check=False)


def test_no_text_of_a_secret_comes_out_of_the_loader(tmp_path: Path) -> None:
    """Not in a Plan, not in what `config` prints, not in any problem; and nothing is written but for a good Plan."""
    Path("key.txt").write_text(TEXT)
    wrong = FILE.replace("OUT", str(tmp_path / "out"))
    for verb in ("plan", "check", "config"):
        done = loader(verb, wrong)
        assert TEXT.encode() not in done.stdout + done.stderr
        assert not (tmp_path / "out").exists()
    good = "\n".join(line for line in wrong.splitlines() if "gone" not in line and "api" not in line)
    good = good.replace("DB_PASSWORD_FILE: /run/secrets/x, ", "")
    for verb in ("check", "config"):
        done = loader(verb, good)
        assert (done.returncode, done.stderr) == (0, b"")
        assert TEXT.encode() not in done.stdout
        assert not (tmp_path / "out").exists()
    done = loader("plan", good)
    assert TEXT.encode() not in done.stdout + done.stderr
    answer = marshal.loads(done.stdout)  # noqa: S302 - our own child's
    assert answer["problems"] == []
    plan = from_plain(answer["plan"])
    assert isinstance(plan, Plan)
    assert plan.services["web"].secret_files == {"KEY": f"{tmp_path}/out/key"}
    assert plan.services["web"].environment == {"PASSWORD": None}
    assert sorted(os.listdir(tmp_path / "out")) == ["env", "key"]


def test_what_is_shown_means_the_same(tmp_path: Path) -> None:
    """References only, and they lead back to the same Plan."""
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
        plan, problems = build(resolve(draft(text), environ))
        assert plan is not None, problems
        plans.append(plan)
        text = "\n".join(show.lines(plan)) + "\n"
        assert TEXT not in text
        assert ("null" in text, text.count("PASSWORD")) == (False, 1)
    assert plans[0] == plans[1]


def test_what_a_variable_hides_is_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpolation may put a secret anywhere; `config` and every message show stars in its place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYSEC", "s3cr3t-text")
    (tmp_path / "cohabit.yaml").write_text(
        "secrets: {x: {environment: MYSEC}}\nservices:\n  a: {command: 'run-${MYSEC}', environment: {URL: 'pg://${MYSEC}@h'}}\n"
    )
    for verb in ("config", "check", "plan"):
        done = subprocess.run(
            [sys.executable, "-I", LOADER, verb, repr({"verb": "up"})], capture_output=True, check=False
        )
        assert b"***" in done.stdout
        assert b"s3cr3t-text" not in done.stdout + done.stderr


def test_another_file_at_the_target_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what we put there ourselves, in whatever life of the container, gives way to another text."""
    monkeypatch.setattr(secret_files, "_RECORD", str(tmp_path / "record"))
    target = tmp_path / "target"
    grant = f"{{source: c, target: {target}}}"
    text = f"configs: {{c: {{content: new}}}}\nservices:\n  a: {{command: x, configs: [{grant}]}}\n"
    made = draft(text)
    plan, _ = build(made)
    assert plan
    target.write_text("PRECIOUS")
    assert any("there is another file" in problem.text for problem in check_deliveries(plan, made, {}))
    target.unlink()
    assert list(check_deliveries(plan, made, {})) == []
    assert deliver(plan, made, {}) == []
    changed = draft(text.replace("new", "newer"))
    assert list(check_deliveries(plan, changed, {})) == []
    climbing = draft(text.replace(str(target), f"{tmp_path}/x/../target"))
    assert any("has .. in it" in problem.text for problem in climbing.problems)
