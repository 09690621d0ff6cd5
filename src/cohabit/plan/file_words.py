"""The words of the file in which a service is written: keys of a cohabit.yaml, or options of a supervisord.conf.

All hints that name a key take it from this table. A service comes from a supervisord.conf if it has `startup`.
"""

from __future__ import annotations

# What is meant -> the words for a cohabit.yaml, and for a supervisord.conf.
_WORDS = {
    "no autostart": ("autostart: false", "autostart=false"),
    "daemon": ("run it in the foreground, or set pid_file in cohabit.yaml", "run it in the foreground"),
    "more time to start": ("if it only needs more time to start: raise `healthcheck: start_period`",
                         "if it only needs more time to start: raise `healthcheck_start_period`"),
    "essential": ("essential: true", "essential=true"),
    "exit if unhealthy": ("on_failure: exit", "healthcheck_on_failure=exit"),
    "restart if unhealthy": ("on_failure: restart", "healthcheck_on_failure=restart"),
    "grace": ("stop_grace_period", "stopwaitsecs"),
    "total grace": ("x-cohabit: stop_grace_period", "[x-cohabit] stop_grace_period"),
    "signal": ("stop_signal", "stopsignal"),
    "signal to all": ("kill_mode: control-group", "stopasgroup=true"),
    "job": ("set `essential: false` and depend on it with `condition: service_completed_successfully`",
            "set `startsecs=0` and `autorestart=false`"),
    "or daemon": (", or set `pid_file:`", ""),
    "is a job": ("`restart: on-failure`, `essential: false`", "`startsecs=0`, `autorestart=false`"),
    "restart on failure": ("restart: on-failure", "autorestart=unexpected"),
    "always restarted": ("restart: always", "autorestart=true"),
    "stale file": ("name it in `remove_before_start:`", "remove it in a script before the start"),
    "user": ("user:", "user="),
    "directory": ("working_dir:", "directory="),
    "environment": ("environment:", "environment="),
    "terminal": ("; or set `tty: true`", ""),
    "path of a log": ("path:", "stdout_logfile="),
    "dropping lines": ("set `mode: non-blocking` in the options of `logging:`",
                       "set `logging` and `logging_mode=non-blocking` in its section [x-cohabit:NAME]"),
    "blocking": ("logging: mode: blocking", "logging_mode=blocking"),
    "healthcheck": ("healthcheck:", "healthcheck="),
    "start period": ("start_period", "healthcheck_start_period"),
    "probe timeout": ("timeout", "healthcheck_timeout"),
}  # fmt: skip


def word(meaning: str, *, supervisord: bool) -> str:
    """What a person writes in the file for a meaning."""
    return _WORDS[meaning][supervisord]
