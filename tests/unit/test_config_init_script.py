"""The pid file that an init script names: read as text, and only if it is plain."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cohabit.config import init_script
from cohabit.config.init_script import pid_file_in, with_pid_files
from cohabit.plan.model import Plan, Service

if TYPE_CHECKING:
    from pathlib import Path

REDIS = """#! /bin/sh
### BEGIN INIT INFO
# Provides:          redis-server
### END INIT INFO
NAME=redis-server
RUNDIR=/var/run/redis
PIDFILE=$RUNDIR/${NAME}.pid  # of the server
case "$1" in
  start)
    if start-stop-daemon --start --quiet --oknodo --umask 007 --pidfile $PIDFILE --exec $DAEMON -- $DAEMON_ARGS
    then :; fi ;;
esac
"""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (REDIS, "/var/run/redis/redis-server.pid"),
        ("PIDFILE=/var/run/crond.pid\n", "/var/run/crond.pid"),
        ("  export PID_FILE='/run/x.pid'\n", "/run/x.pid"),
        ('DESC=x\nstart-stop-daemon --start --pidfile "/run/sshd.pid" --exec /usr/sbin/sshd\n', "/run/sshd.pid"),
        ("start-stop-daemon --start \\\n  --pidfile=/run/x.pid\n", "/run/x.pid"),
        ("# chkconfig: - 85 15\n# pidfile: /var/run/httpd/httpd.pid\n", "/var/run/httpd/httpd.pid"),
        ('#!/sbin/openrc-run\npidfile="/run/${RC_SVCNAME}.pid"\n', "/run/web.pid"),
        ("DOCKER_PIDFILE=/run/d.pid\n", "/run/d.pid"),
        # not plain, or not known
        ("PIDFILE=$(. /etc/x && echo $P)\n", ""),
        ("PIDFILE=`cat /etc/x`\n", ""),
        ("PIDFILE=${PIDFILE:-/run/x.pid}\n", ""),
        ("PIDFILE=$UNKNOWN/x.pid\n", ""),
        ("PIDFILE=none\n", ""),
        ("PIDFILE=x.pid\n", ""),
        ("PIDFILE='/run/$NAME.pid'\n", ""),
        ("PIDFILE=/run/../etc/x\n", ""),
        ("PIDFILE=/run/x y.pid\n", ""),
        ("#PIDFILE=/run/x.pid\n# start-stop-daemon --pidfile /run/y.pid\n", ""),
        # several
        ("PIDFILE=/run/a.pid\nPIDFILE=/run/b.pid\n", ""),
        ("PIDFILE=/run/a.pid\nPIDFILE=$(x)\n", ""),
        ("A=/run/a.pid\nPIDFILE=$A\nstart-stop-daemon --pidfile /run/b.pid\n", ""),
        ("SSD_PIDFILE=/run/a.pid\nPIDFILE=/run/b.pid\n", ""),
        ("PIDFILE=/run/a.pid\nPIDFILE=/run/a.pid\n", "/run/a.pid"),
        ("", ""),
    ],
)
def test_the_pid_file_in_a_script(text: str, path: str) -> None:
    assert pid_file_in(text, "web") == path


@pytest.mark.parametrize(
    ("command", "script"),
    [
        (("service", "cron", "start"), "/etc/init.d/cron"),
        (("/usr/sbin/service", "cron", "restart"), "/etc/init.d/cron"),
        (("invoke-rc.d", "php8.2-fpm", "start"), "/etc/init.d/php8.2-fpm"),
        (("/etc/init.d/redis-server", "start"), "/etc/init.d/redis-server"),
        (("service", "cron", "stop"), ""),
        (("service", "../x", "start"), ""),
        (("service", "cron"), ""),
        (("/etc/init.d/../x", "start"), ""),
        (("/opt/init.d/x", "start"), ""),
        (("cron", "-f"), ""),
        ((), ""),
    ],
)
def test_the_script_of_a_command(command: tuple[str, ...], script: str) -> None:
    assert init_script._script_of(command) == script


def test_only_a_script_that_no_other_user_can_change_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that others can write, nor one in a directory of theirs, nor a large one."""
    if os.geteuid():
        pytest.skip("needs root")
    script = tmp_path / "web"
    script.write_text("PIDFILE=/run/web.pid\n")
    script.chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setattr(init_script, "_script_of", lambda _: str(script))

    def found(**fields: object) -> str:
        web = Service("web", ("service", "web", "start")).replace(**fields)
        return with_pid_files(Plan({"web": web})).services["web"].pid_file

    assert found() == "/run/web.pid"
    assert found(pid_file="/own.pid") == "/own.pid"
    assert found(job=True) == ""
    script.chmod(0o777)
    assert found() == ""
    script.chmod(0o755)
    os.chown(tmp_path, 12345, 12345)
    assert found() == ""
    os.chown(tmp_path, 0, 0)
    script.write_text("PIDFILE=/run/web.pid\n" + "#" * 70_000)
    assert found() == ""
    script.unlink()
    assert found() == ""
