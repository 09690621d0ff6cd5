"""Checks of services: each reports a bad one and accepts the corrected one."""

import pytest

from cohabit.doctor import known, reading
from cohabit.doctor.findings import Finding
from cohabit.doctor.services import examine, known_name, program
from cohabit.rendering.advice import FOREGROUND_COMMANDS

pytestmark = pytest.mark.usefixtures("here")


def found(text: str) -> list[Finding]:
    """Return the findings on the services of a file."""
    with open("cohabit.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    what = reading.read("cohabit.yaml", {})
    assert not what.problems
    return examine(what.written, what.total_seconds, what.file)


def of_service(keys: str) -> list[Finding]:
    """Return the findings on one service with these keys."""
    return found(f"services:\n  web:\n    {keys}\n")


GOOD = """
services:
  db:
    command: postgres -D /data
    stop_signal: SIGINT
    healthcheck: {test: [CMD, pg_isready]}
  web:
    command: ["sh", "-c", "cd /srv && exec ./web > /dev/null"]
    restart: on-failure
    essential: false
    depends_on: {db: {condition: service_healthy}}
  proxy:
    command: nginx -g 'daemon off;'
    stop_signal: SIGQUIT
    depends_on: [web]
  php: {command: php-fpm8.2 --nodaemonize, stop_signal: SIGQUIT}
  sshd: {command: /usr/sbin/sshd -eD}
  cron: {command: crond -fl 8}
  apache: {command: apache2ctl -D FOREGROUND}
  nightly: {command: pg_ctl start, schedule: "0 3 * * *"}
  fetch: {command: curl http://h/?a=1&b=2 --allow=*}
  old: {command: mydaemon, pid_file: /run/x.pid}
  bound: {command: named, pid_file: /run/named.pid}
  uw: {command: "uwsgi --die-on-term --http :80"}
x-cohabit: {stop_grace_period: 9s}
"""


def test_a_good_file_has_no_findings() -> None:
    """No check reports it."""
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("command", "level", "signal"),
    [
        ("postgres -D /x", "warning", "SIGINT"),
        ("/usr/lib/postgresql/15/bin/postgres", "warning", "SIGINT"),
        ("docker-entrypoint.sh postgres", "warning", "SIGINT"),
        ("gosu postgres postgres", "warning", "SIGINT"),
        ("setpriv --reuid=5 --clear-groups postgres", "warning", "SIGINT"),
        ('["sh", "-c", "exec postgres"]', "warning", "SIGINT"),
        ("nginx -g 'daemon off;'", "hint", "SIGQUIT"),
        ("php-fpm8.2 -F", "hint", "SIGQUIT"),
        ("httpd-foreground", "hint", "SIGWINCH"),
        ("haproxy -f /x", "hint", "SIGUSR1"),
        ("uwsgi --socket /x", "error", "SIGQUIT"),
        ("uwsgi /etc/x.ini", "hint", "SIGQUIT"),
    ],
)
def test_a_program_with_a_stop_signal_of_its_own(command: str, level: str, signal: str) -> None:
    """A program that needs another signal than TERM is reported; a stop_signal in the file is accepted."""
    (finding,) = of_service(f"command: {command}")
    assert (finding.level, finding.do, str(finding.place)) == (level, f"stop_signal: {signal}", "cohabit.yaml:3")
    assert of_service(f"command: {command}\n    stop_signal: {signal}") == []
    assert of_service(f"command: {command}\n    stop_signal: SIGTERM") == []


DAEMONS = [
    ("cron", "cron -f"),
    ("crond -l 8", "crond -l 8 -f"),
    ("/usr/sbin/sshd", "/usr/sbin/sshd -D"),
    ("apachectl start", "apachectl -DFOREGROUND"),
    ("rsyslogd", "rsyslogd -n"),
    ("redis-server --daemonize yes", "redis-server --daemonize no"),
    ("redis-server --daemonize=yes", "redis-server"),
    ("gunicorn app:app --daemon", "gunicorn app:app"),
    ("memcached -d -u nobody", "memcached -u nobody"),
    ("mongod --fork", "mongod"),
    ("pg_ctl -D /x start", "pg_ctl -D /x status"),
    ("service nginx start", "service nginx status"),
    ("mysqld_safe", "mysqld"),
    ("postfix start", "postfix start-fg"),
    ("named", "named -g"),
    ("dbus-daemon --system", "dbus-daemon --system --nofork"),
]


@pytest.mark.parametrize(("bad", "good"), DAEMONS)
def test_a_daemon_is_reported(bad: str, good: str) -> None:
    """With a warning; in the foreground it has no finding."""
    (finding,) = of_service(f"command: {bad}")
    assert finding.level == "warning"
    assert of_service(f"command: {good}") == []


@pytest.mark.parametrize(
    ("command", "level"),
    [
        ("nginx", "warning"),
        ("nginx -c /x.conf", "hint"),
        ("php-fpm", "hint"),
        ("php-fpm8.2", "warning"),
        ("php-fpm8.2 -y /x", "hint"),
        ("supervisord", "hint"),
    ],
)
def test_a_daemon_whose_configuration_may_decide(command: str, level: str) -> None:
    """If a configuration file may keep it in the foreground, the finding is a hint."""
    (finding,) = of_service(f"command: {command}\n    stop_signal: SIGQUIT")
    assert finding.level == level
    assert "daemonizes" in finding.what


@pytest.mark.parametrize(
    ("command", "what", "level"),
    [
        ("a && b", "&&", "error"),
        ("a | b", "|", "error"),
        ("a; b", ";", "error"),
        ("a &", "&", "error"),
        ("a > /log", ">", "error"),
        ("a 2>/log", "2>", "error"),
        ("a 2>&1", "2>", "error"),
        ("A=1 b", "A=1", "error"),
        ("cd /x", "cd", "error"),
        ("a $$HOME", "$HOME", "error"),
        ('a "x $$HOME"', "$HOME", "error"),
        ("a `b`", "`b`", "error"),
        ("a /srv/*.conf", "/srv/*.conf", "hint"),
        ("a ~/x", "~/x", "hint"),
    ],
)
def test_a_string_that_requires_a_shell(command: str, what: str, level: str) -> None:
    """A string is run without a shell; the finding has a list with `sh -c`."""
    (finding,) = of_service(f"command: {json_of(command)}")
    assert (finding.level, str(finding.place)) == (level, "cohabit.yaml:3")
    assert repr(what) in finding.what or what in finding.what
    assert of_service(finding.do) == []


def json_of(text: str) -> str:
    """Return a YAML string in double quotes."""
    return '"' + text.replace('"', '\\"') + '"'


@pytest.mark.parametrize(
    "command",
    [
        "a 'b && c'", 'a "b | c"', "a http://x/?a=1&b=2;c", "a --allow=*", "find . -exec x {} \\;",
        "a $HOME", "a ${X:-y}",
        "a '$$HOME'", "a [::]:80", "a x>y", "echo hi",
    ],
)  # fmt: skip
def test_a_string_that_does_not_require_a_shell(command: str) -> None:
    """Quotes, URLs, stars outside a path, and interpolated variables."""
    assert of_service(f"command: {json_of(command)}".replace("\\;", "\\\\;")) == []


def test_hooks_and_lists() -> None:
    """The string of a hook is reported with its line; a list is accepted."""
    (finding,) = of_service("command: [x, '&&']\n    pre_start:\n      - command: a && b")
    assert str(finding.place) == "cohabit.yaml:5"


@pytest.mark.parametrize(
    ("server", "test"),
    [
        ("postgres -p 5433", '"5433"'),
        ("mysqld --port=3307", "127.0.0.1:3307"),
        ("mariadbd", "127.0.0.1:3306"),
        ("rabbitmq-server", "rabbitmq-diagnostics"),
    ],
)
def test_a_dependency_on_a_slow_server_without_health_check(server: str, test: str) -> None:
    """A hint for services that depend on it with service_started; none with a health check."""
    db = f"services:\n  db: {{command: {server}, stop_signal: SIGINT"
    (finding,) = found(db + "}\n  web: {command: x, depends_on: [db]}\n")
    assert (finding.level, finding.service, str(finding.place)) == ("hint", "web", "cohabit.yaml:3")
    assert test in finding.do
    assert found(db + ", healthcheck: {test: [TCP, localhost:1]}}\n  web: {command: x, depends_on: [db]}\n") == []
    assert found(db + "}\n  web: {command: x}\n") == []


def test_a_program_that_refuses_to_start_again() -> None:
    """Its pid or lock file survives `docker restart`; remove_before_start or a pre_start hook is the cure."""
    (finding,) = of_service("command: Xvfb :99\n    essential: true")
    assert (finding.level, finding.do) == ("hint", "remove_before_start: [/tmp/.X99-lock]")
    assert of_service("command: Xvfb :99\n    remove_before_start: [/tmp/.X99-lock]") == []
    assert of_service("command: Xvfb :99\n    pre_start: [{command: rm -f /tmp/.X99-lock}]") == []


def test_an_end_without_effect() -> None:
    """Not essential and never restarted; jobs have no finding."""
    (finding,) = of_service("command: x\n    essential: false")
    assert (finding.level, str(finding.place)) == ("hint", "cohabit.yaml:4")
    assert of_service("command: x\n    essential: false\n    restart: always") == []
    assert of_service('command: x\n    essential: false\n    schedule: "* * * * *"') == []


def test_graces_that_add_up() -> None:
    """A chain of explicit grace periods that exceeds the total; defaults and independent services do not count."""
    chain = "services:\n  a: {command: x, stop_grace_period: 5s}\n  "
    chain += "b: {command: x, stop_grace_period: 6s, depends_on: [%s]}\n"
    (finding,) = found(chain % "a")
    assert (finding.level, str(finding.place)) == ("warning", "cohabit.yaml")
    assert "11s" in finding.what
    assert found(chain % "") == []
    assert found(chain % "a" + "x-cohabit: {stop_grace_period: 11s}\n") == []


def test_replicas_are_one_service() -> None:
    """A problem is reported once for all replicas."""
    (finding,) = of_service("command: cron\n    scale: 3")
    assert finding.service == "web"
    assert reading.read("cohabit.yaml", {}).instances == 3


def test_a_wrong_file_is_one_finding() -> None:
    """`cohabit check` reports all errors; services that could be read are checked."""
    with open("cohabit.yaml", "w", encoding="utf-8") as file:
        file.write("services:\n  a: {command: cron, restart: x}\n  b: {command: [x], depends_on: [c]}\n")
    what = reading.read("cohabit.yaml", {})
    (problem,) = what.problems
    assert "cohabit check" in problem.do
    assert "(and 1 more)" in problem.what
    assert [one.service for one in examine(what.written, what.total_seconds, what.file)] == ["a"]


def test_no_secret_is_printed() -> None:
    """A problem may contain a secret by interpolation; then its text is not repeated."""
    with open("cohabit.yaml", "w", encoding="utf-8") as file:
        file.write("services:\n  a: {command: x, restart: $TOKEN}\nsecrets:\n  t: {environment: TOKEN}\n")
    what = reading.read("cohabit.yaml", {"TOKEN": "s3cr3t"})
    assert what.problems
    assert "s3cr3t" not in str(what.problems)


def test_a_cycle_is_not_followed() -> None:
    """Services that wait for each other have no longest chain."""
    with open("cohabit.yaml", "w", encoding="utf-8") as file:
        file.write("services:\n  a: {command: x, depends_on: [b]}\n  b: {command: x, depends_on: [a]}\n")
    assert reading.read("cohabit.yaml", {}).written == {}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], ("", ())),
        (["env", "A=1"], ("A=1", ())),
        (["env"], ("env", ())),
        (["exec", "exec"], ("exec", ())),
        (["sh", "-c", "a && b"], ("sh", ("-c", "a && b"))),
        (["/bin/sh", "-c", "exec nginx -g x"], ("nginx", ("-g", "x"))),
    ],
)
def test_the_program_of_a_command(argv: list[str], expected: tuple[str, tuple[str, ...]]) -> None:
    """It is found behind wrappers that exec it."""
    assert program(argv) == expected


def test_versions_in_names() -> None:
    """A version is removed, php-fpm8.2 is php-fpm; a known name with a number is kept."""
    assert [known_name(name) for name in ("php-fpm8.2", "php-fpm83", "postmaster", "exim4", "s3")] == [
        "php-fpm", "php-fpm", "postgres", "exim4", "s3",
    ]  # fmt: skip


def test_the_tables_are_consistent() -> None:
    """Every program in a table is found by its own name."""
    assert all(known_name(name) == name for name in (*known.DAEMONS, *known.STOPS, *known.SLOW))


def test_doctor_and_why_advise_the_same_foreground_commands() -> None:
    """A program in both tables has the same command; apache2 needs the variables that apache2ctl sets."""
    common = FOREGROUND_COMMANDS.keys() & known.DAEMONS.keys()
    assert len(common) >= 20
    assert {name: known.DAEMONS[name].foreground_command for name in common} == {
        name: FOREGROUND_COMMANDS[name] for name in common
    }
    assert FOREGROUND_COMMANDS["apache2"] == "apache2ctl -D FOREGROUND"
