"""Checks of a Dockerfile: each reports a bad one and accepts the corrected one."""

from pathlib import Path

import pytest

from cohabit.doctor.dockerfile import image_of, parse
from cohabit.doctor.findings import Finding
from cohabit.doctor.image import examine
from cohabit.doctor.replacement import HEALTHCHECK, recommended

CHECK = f"{HEALTHCHECK}\n"
GOOD = f'FROM debian\nENTRYPOINT ["cohabit"]\nCMD ["up"]\n{CHECK}'
UP = 'ENTRYPOINT ["cohabit", "up", "--"]\nHEALTHCHECK NONE'


def found(text: str) -> list[Finding]:
    """Return the findings on a Dockerfile with this text."""
    image = image_of(parse(text))
    assert image
    return examine(image, "Dockerfile")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD + "STOPSIGNAL SIGTERM\nUSER root\n",
        "FROM nginx\nSTOPSIGNAL TERM\n" + UP,
        'FROM debian\nENTRYPOINT ["/opt/venv/bin/cohabit"]\nCMD ["up"]\nHEALTHCHECK NONE\n',
        UP.replace("NONE", "--start-period=1m --interval=5s CMD cohabit health || exit 1").join(
            ["FROM debian\n", "\n"]
        ),
        'FROM debian\nENTRYPOINT ["python3", "-I", "-m", "cohabit", "up", "--"]\nHEALTHCHECK NONE\n',
        'FROM debian\nENTRYPOINT ["gosu", "app", "cohabit", "up", "--"]\nHEALTHCHECK NONE\n',
        'FROM debian\nENTRYPOINT ["env", "A=1", "cohabit", "up", "--"]\nHEALTHCHECK NONE\n',
        'FROM debian\nCMD ["sh", "-c", "exec cohabit up -f $FILE"]\nHEALTHCHECK NONE\n',
        'FROM debian\nCMD ["cohabit", "run", "a | b", "c && d"]\nHEALTHCHECK NONE\n',
        'FROM nginx\nENTRYPOINT ["cohabit", "init", "--"]\nCMD ["nginx", "-g", "daemon off;"]\n',
        "FROM debian\nRUN install -d -o app /run/cohabit\nUSER app\n" + UP,
        "FROM debian AS build\nCMD a & b\nVOLUME /run\nFROM debian\n" + UP,
        "FROM python:3-slim\nRUN apt-get install -y curl\n" + UP.replace("NONE", "CMD curl -f http://localhost"),
        "FROM python:3\n" + UP.replace("NONE", "CMD curl -f http://localhost"),
        GOOD + "# CMD a & b\n",
    ],
)
def test_a_good_dockerfile_has_no_findings(text: str) -> None:
    """No check reports it."""
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "level", "line", "what", "do"),
    [
        # Python that imports from the working directory
        (
            'ENTRYPOINT ["python3", "-m", "cohabit"]\nCMD ["up"]\nHEALTHCHECK NONE', "warning", 2, "without -I",
            'ENTRYPOINT ["python3", "-I", "-m", "cohabit", "…"]',
        ),
        (
            "CMD exec python3.12 -B -m cohabit up\nHEALTHCHECK NONE", "warning", 2, "without -I",
            'CMD ["python3.12", "-I", "-B", "-m", "cohabit", "…"]',
        ),
        # a shell as process 1
        ("CMD cohabit up\nHEALTHCHECK NONE", "warning", 2, "a shell is process 1", 'CMD ["cohabit", "up"]'),
        ('CMD ["sh", "-c", "cohabit up"]\nHEALTHCHECK NONE', "warning", 2, "a shell is", 'CMD ["cohabit", "up"]'),
        (
            "CMD ./a && cohabit up\nHEALTHCHECK NONE", "error", 2, "a shell is process 1",
            'CMD ["sh", "-c", "./a && exec cohabit up"], or use a pre_start hook for the commands before it',
        ),
        (
            "CMD cohabit up -f $FILE\nHEALTHCHECK NONE", "warning", 2, "a shell is process 1",
            'CMD ["sh", "-c", "exec cohabit up -f $FILE"]',
        ),
        ("ENTRYPOINT exec cohabit up\nHEALTHCHECK NONE", "hint", 2, "ENTRYPOINT is in shell form", "ENTRYPOINT"),
        ("CMD ./a & ./app", "error", 2, "in the background", 'CMD ["cohabit", "run", "./a", "./app"]'),
        ("CMD a x & b & wait -n", "error", 2, "in the background", 'CMD ["cohabit", "run", "a x", "b"]'),
        ('CMD ["bash", "-c", "a & b"]', "error", 2, "in the background", 'CMD ["cohabit", "run", "a", "b"]'),
        ("CMD service nginx start && tail -f /dev/null", "error", 2, "keeps the container alive with tail", "CMD"),
        ("CMD service nginx start; sleep infinity", "error", 2, "keeps the container alive with sleep", "CMD"),
        # shell syntax
        ("CMD ['cohabit', 'up']\nHEALTHCHECK NONE", "error", 2, "looks like a list", 'CMD ["cohabit", "up"]'),
        ('CMD ["cohabit", "up",]\nHEALTHCHECK NONE', "error", 2, "looks like a list", 'CMD ["cohabit", "up"]'),
        ("CMD [cohabit, up]\nHEALTHCHECK NONE", "error", 2, "looks like a list", 'CMD ["cohabit", "up"]'),
        ('CMD ["cohabit up"]\nHEALTHCHECK NONE', "error", 2, "a single string", 'CMD ["cohabit", "up"]'),
        (
            'ENTRYPOINT ["cohabit"]\nCMD up -q\nHEALTHCHECK NONE', "error", 3, "shell form, with an ENTRYPOINT",
            'CMD ["up", "-q"]',
        ),
        (
            'ENTRYPOINT ["cohabit", "up", "-f", "$FILE"]\nHEALTHCHECK NONE', "error", 2, "'$FILE' is an argument",
            'ENTRYPOINT ["sh", "-c", "exec cohabit up -f $FILE"]',
        ),
        ('ENTRYPOINT ["cohabit", "up", "&&", "x"]\nHEALTHCHECK NONE', "error", 2, "'&&' is an argument", "sh"),
        ('ENTRYPOINT ["cohabit"]\nHEALTHCHECK NONE', "warning", 2, "without a command", '"up", "--"]'),
        # daemons, and commands that only wait
        ("CMD php-fpm -D && nginx -g 'daemon off;'", "error", 2, "background", '"php-fpm -F", "nginx -g '),
        ("CMD nginx && gunicorn a:b", "error", 2, "background", """"nginx -g 'daemon off;'", "gunicorn a:b"]"""),
        ("CMD service ssh start && ./app", "error", 2, "background", '"/usr/sbin/sshd -D -e", "./app"]'),
        ("CMD apachectl start", "error", 2, "background", "apachectl -D FOREGROUND"),
        ("CMD (a &); b", "error", 2, "background", "line 2 (a block)"),
        ('CMD ["nginx"]', "error", 2, "nginx puts itself in the background", 'CMD ["nginx", "-g", "daemon off;"]'),
        ('ENTRYPOINT ["tini", "--"]\nCMD ["cron"]', "error", 2, "cron puts itself", "cron"),
        ('CMD ["php-fpm8.2", "-D"]', "error", 2, "puts itself", 'CMD ["php-fpm8.2", "-F"]'),
        ('CMD ["redis-server", "--daemonize", "yes"]', "error", 2, "puts itself", '"--daemonize", "no"]'),
        ('CMD bash -c "./a && sleep infinity"', "error", 2, "keeps the container alive with sleep", "cohabit"),
        ('CMD ["bash", "-c", "cron; tail -f /dev/null"]', "error", 2, "alive with tail", "cron -f"),
        ("CMD cron && tail -f /var/log/cron.log", "error", 2, "alive with tail", "cron -f"),
        ("CMD tail -f /dev/null", "warning", 2, "CMD keeps the container alive with tail", '"init", "--"]'),
        ("CMD sleep infinity", "warning", 2, "alive with sleep", '"init", "--"]'),
        ('CMD ["tail", "-f", "/dev/null"]', "warning", 2, "alive with tail", '"init", "--"]'),
        ('CMD ["sleep", "infinity"]', "warning", 2, "alive with sleep", '"init", "--"]'),
        ("CMD while :; do sleep 10; done", "warning", 2, "a loop that sleeps", '"init", "--"]'),
        # quotes
        ("""CMD ["nginx", "-g", "'daemon off;'"]""", "error", 2, "quotes of its own", '"-g", "daemon off;"]'),
        (r"""CMD ["nginx", "-g", "\"daemon off;\""]""", "error", 2, "quotes of its own", "daemon off;"),
        ("""ENTRYPOINT ["nginx"]\nCMD ["-g", "'daemon off;'"]""", "error", 3, "quotes", 'CMD ["-g", "daemon off;"]'),
        ("""CMD ["app", "--name", "'a b'"]""", "hint", 2, "quotes of its own", 'CMD ["app", "--name", "a b"]'),
        # before cohabit
        (
            'ENTRYPOINT ["tini", "--", "cohabit", "up", "--"]\nHEALTHCHECK NONE', "warning", 2, "tini is process 1",
            'ENTRYPOINT ["cohabit", "up", "--"]',
        ),
        (
            'ENTRYPOINT ["/usr/bin/dumb-init", "--"]\nCMD ["cohabit", "up", "--"]\nHEALTHCHECK NONE', "warning", 2,
            "/usr/bin/dumb-init is process 1", 'ENTRYPOINT ["cohabit", "up", "--"]',
        ),
        ('ENTRYPOINT ["/init"]\nCMD ["cohabit", "up", "--"]\nHEALTHCHECK NONE', "warning", 2, "/init is", "ENTR"),
        ('ENTRYPOINT ["/x.sh"]\nCMD ["cohabit", "up", "--"]\nHEALTHCHECK NONE', "hint", 2, "script /x", 'exec "$@"'),
        ('ENTRYPOINT ["sudo", "cohabit", "up", "--"]\nHEALTHCHECK NONE', "warning", 2, "sudo is process 1", "user:"),
        (
            'ENTRYPOINT ["gosu", "app", "tini", "--", "cohabit", "up", "--"]\nHEALTHCHECK NONE', "warning", 2,
            "tini is process 1", "ENTRYPOINT",
        ),
        # not cohabit
        ('CMD ["supervisord", "-n"]', "warning", 2, "supervisord runs the services", "cohabit"),
        ('ENTRYPOINT ["tini", "--"]\nCMD ["supervisord", "-n"]', "warning", 3, "supervisord runs", "cohabit"),
        ('ENTRYPOINT ["/init"]', "warning", 2, "/init runs the services", "cohabit"),
        ('ENTRYPOINT ["/x.sh"]\nCMD ["supervisord", "-n"]', "warning", 3, "CMD is supervisord, behind /x.sh", "up"),
        ('ENTRYPOINT ["/x.sh"]\nCMD ["/init"]', "warning", 3, "CMD is /init, behind /x.sh", "up"),
        ('ENTRYPOINT ["x"]\nCMD ["bundle", "exec", "foreman", "start"]', "hint", 2, "x is what", "up"),
        ('CMD ["bundle", "exec", "foreman", "start"]', "warning", 2, "foreman runs the services", "up"),
        ("CMD honcho start", "warning", 2, "honcho runs the services", "up"),
        ('CMD ["python3", "-m", "honcho", "start"]', "warning", 2, "honcho runs the services", "up"),
        ('CMD ["npx", "concurrently", "a", "b"]', "warning", 2, "concurrently runs the services", "up"),
        ('CMD ["monit", "-I"]', "warning", 2, "monit runs the services", "up"),
        ('CMD ["/usr/sbin/init"]', "warning", 2, "/usr/sbin/init runs the services", "up"),
        ("ENTRYPOINT /sbin/init", "warning", 2, "/sbin/init runs the services", "up"),
        # shell text: `fi`, `done`, `esac` are not programs
        ('CMD if [ -n "$X" ]; then a; else b; fi', "hint", 2, "a script of the shell (CMD) is what", "up"),
        ("CMD for i in 1 2; do a; done", "hint", 2, "a script of the shell (CMD) is what", "up"),
        ("CMD case $X in a) b;; esac", "hint", 2, "a script of the shell (CMD) is what", "up"),
        ("CMD while true; do a; sleep 1; done", "hint", 2, "a script of the shell (CMD) is what", "up"),
        ("CMD { a; b; }", "hint", 2, "b is what the container runs", "up"),
        ('CMD ["./app"]', "hint", 2, "./app is what the container runs, not cohabit", "cohabit"),
        ("RUN x", "hint", 1, "the base image's own, not cohabit", "cohabit"),
        # overridden or replaced
        ('CMD ["a"]\n' + UP + '\nCMD ["b"]', "error", 2, "this CMD is not used: line 5", "one service for each"),
        ('ENTRYPOINT ["a"]\n' + UP, "warning", 2, "this ENTRYPOINT is not used: line 3", "remove this line"),
        (
            'CMD ["cohabit", "up"]\nHEALTHCHECK NONE', "hint", 2, "without ENTRYPOINT",
            recommended(),
        ),
        # stop signal
        (UP + "\nSTOPSIGNAL SIGUSR1", "error", 4, "STOPSIGNAL is SIGUSR1", "STOPSIGNAL SIGTERM"),
        (UP + "\nSTOPSIGNAL 1", "error", 4, "STOPSIGNAL is SIGHUP", "STOPSIGNAL SIGTERM"),
        (UP + "\nSTOPSIGNAL KILL", "error", 4, "STOPSIGNAL is SIGKILL", "STOPSIGNAL SIGTERM"),
        (UP + "\nSTOPSIGNAL SIGFOO", "error", 4, "STOPSIGNAL is SIGFOO", "STOPSIGNAL SIGTERM"),
        # health
        ('ENTRYPOINT ["cohabit", "up", "--"]', "warning", 2, "no HEALTHCHECK", HEALTHCHECK),
        (UP.replace("NONE", "CMD curl -f http://x"), "hint", 3, "needs curl, which debian does not contain", "cohabit"),
        (UP.replace("NONE", 'CMD ["wget", "-q", "http://x"]'), "hint", 3, "needs wget", "cohabit"),
        (UP.replace("NONE", "CMD cohabit health"), "hint", 3, "default interval", HEALTHCHECK),
        (UP.replace("NONE", '--start-interval=1s CMD ["cohabit", "health"]'), "hint", 3, "default start period", "5m"),
        (UP.replace("NONE", '--start-period=5m CMD ["cohabit", "health"]'), "hint", 3, "default interval", "5m"),
        # directories
        ("VOLUME /run/\n" + UP, "warning", 2, "VOLUME /run/", "--tmpfs /run"),
        ('VOLUME ["/data", "/var/run"]\n' + UP, "warning", 2, "VOLUME /var/run", "--tmpfs /run"),
        ("USER app:app\n" + UP, "hint", 2, "runs as app", "RUN install -d -o app /run/cohabit"),
    ],
)  # fmt: skip
def test_a_bad_dockerfile_has_one_finding(text: str, level: str, line: int, what: str, do: str) -> None:
    """With its level, its line, and what to write."""
    (finding,) = found(f"FROM debian\n{text}")
    assert (finding.level, str(finding.place)) == (level, f"Dockerfile:{line}")
    assert what in finding.what
    assert do in finding.do


@pytest.mark.parametrize(
    ("base", "level", "signal"),
    [
        ("nginx", "hint", "SIGQUIT"),
        ("nginx:1.27-alpine@sha256:abc", "hint", "SIGQUIT"),
        ("docker.io/library/postgres:16", "hint", "SIGINT"),
        ("httpd:2.4", "error", "SIGWINCH"),
        ("php:8.3-apache", "error", "SIGWINCH"),
        ("php:8.3-fpm-alpine", "hint", "SIGQUIT"),
        ("wordpress:6", "error", "SIGWINCH"),
        ("registry.example:5000/haproxy", "error", "SIGUSR1"),
        ("haproxytech/haproxy-alpine:3.0", "error", "SIGUSR1"),
    ],
)
def test_an_inherited_stop_signal(base: str, level: str, signal: str) -> None:
    """An error if it does not stop cohabit, otherwise a hint; STOPSIGNAL SIGTERM corrects both."""
    (finding,) = found(f"FROM {base}\n{UP}")
    assert (finding.level, str(finding.place), finding.do) == (level, "Dockerfile:1", "STOPSIGNAL SIGTERM")
    assert f"has STOPSIGNAL {signal}" in finding.what
    assert found(f"FROM {base}\n{UP}\nSTOPSIGNAL SIGTERM") == []


@pytest.mark.parametrize(
    "base", ["php:8.3-cli", "debian", "wordpress:cli", "redis", "example.com/nginx-like", "${BASE}"]
)
def test_no_stop_signal_to_inherit(base: str) -> None:
    """Images without one, and unknown images, have no finding."""
    assert found(f"FROM {base}\n{UP}") == []


@pytest.mark.parametrize("base", ["lscr.io/linuxserver/nginx", "linuxserver/x:latest", "quay.io/jupyter/base-notebook"])
def test_an_inherited_init(base: str) -> None:
    """An ENTRYPOINT of the base runs before CMD; a new ENTRYPOINT replaces it."""
    texts = [one.what for one in found(f'FROM {base}\nCMD ["cohabit", "up", "--"]\nHEALTHCHECK NONE')]
    assert any(f"the ENTRYPOINT of {base}, not cohabit" in text for text in texts)
    assert found(f"FROM {base}\n{UP}") == []


def test_an_unknown_base_may_have_a_healthcheck() -> None:
    """Official images have none; for others the finding is a hint."""
    (finding,) = found('FROM example.com/base\nENTRYPOINT ["cohabit", "up", "--"]')
    assert finding.level == "hint"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'FROM x AS b\nENTRYPOINT ["tini"]\nFROM b\nCMD cohabit up\nHEALTHCHECK NONE\n',
            {("warning", 4, "a shell runs between tini and cohabit (CMD)"),
             ("warning", 2, "tini is process 1, not cohabit")},
        ),
        (
            'FROM x AS b\nENTRYPOINT ["tini", "--"]\nFROM b\nCMD ["sh", "-c", "exec cohabit up"]\nHEALTHCHECK NONE\n',
            {("warning", 2, "tini is process 1, not cohabit")},
        ),
        (
            'FROM x AS b\nENTRYPOINT ["tini", "--"]\nFROM b\nCMD a & b\n',
            {("error", 4, "the shell of CMD starts programs in the background")},
        ),
        (
            'FROM x AS b\nENTRYPOINT ["/entry.sh"]\nFROM b\nCMD exec cohabit up\nHEALTHCHECK NONE\n',
            {("hint", 2, "the script /entry.sh starts cohabit")},
        ),
    ],
)  # fmt: skip
def test_an_entrypoint_of_an_earlier_stage(text: str, expected: set[tuple[str, int, str]]) -> None:
    """It runs before the CMD of the last stage, in either form."""
    reported = {(one.level, one.place.line, one.what) for one in found(text)}
    assert reported == expected


def test_a_shell_text_that_is_not_understood() -> None:
    """It is said once, and no program is named."""
    judged, runs = found("FROM debian\nCMD echo 'a && b &")
    assert (judged.rule, judged.what) == ("script-not-examined", "the shell of CMD could not be judged")
    assert (runs.rule, runs.what) == (
        "not-cohabit",
        "a script of the shell (CMD) is what the container runs, not cohabit",
    )


@pytest.mark.parametrize(
    "base", ["lscr.io/linuxserver/nginx", "ghcr.io/linuxserver/baseimage-alpine:3.20", "phusion/baseimage:noble-1.0.0"]
)
def test_a_supervisor_of_the_base_image(base: str) -> None:
    """Without ENTRYPOINT it runs the services."""
    (finding,) = found(f"FROM {base}\nRUN x\n")
    assert (finding.rule, finding.level, finding.place.line) == ("other-supervisor", "warning", 1)
    assert base in finding.what


@pytest.mark.parametrize(
    "text",
    [
        'CMD ["nginx", "-g", "daemon off;"]',
        'RUN echo "daemon off;" >> /etc/nginx/nginx.conf\nCMD ["nginx"]',
        'RUN echo "daemon off;" >> /etc/nginx/nginx.conf\nCMD php-fpm -F && nginx',
        'CMD ["nginx", "-t"]',
        'FROM example.com/team/nginx\nCMD ["nginx"]',
        'CMD ["nginx", "-c", "/my.conf"]',
        'CMD ["php-fpm"]',
        'CMD ["apachectl", "-D", "FOREGROUND"]',
        'CMD ["apachectl", "configtest"]',
        'CMD ["/usr/sbin/sshd", "-D"]',
        'CMD ["supervisor-like"]',
        """CMD ["python", "-c", "'a b'"]""",
        """CMD ["sh", "-c", "'a b'"]""",
        """CMD ["app", "it's"]""",
        'CMD ["tail", "-f", "/var/log/app.log"]',
        'CMD ["sleep", "60"]',
        "CMD sleep 60 && ./app",
        "CMD ./wait-for db && ./app",
        "CMD ./app 2>&1 | tee log",
        "CMD curl 'http://x/?a=1&b=2'",
        "CMD echo '&' && ./app",
    ],
)
def test_commands_without_a_fault(text: str) -> None:
    """There is only the hint that it is not cohabit."""
    assert [one.rule for one in found(f"FROM debian\n{text}")] == ["not-cohabit"]


def test_the_readme_has_what_is_proposed() -> None:
    """Its Dockerfile has no finding, and the recommended lines."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    text = readme.partition("```dockerfile\n")[2].partition("```")[0]
    assert found(text) == []
    assert HEALTHCHECK in text
    assert recommended() in text
