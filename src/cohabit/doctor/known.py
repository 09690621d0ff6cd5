"""Literal tables about third-party programs, images and platforms.

Each row names its source: [image] the official image's Dockerfile or entrypoint, [manual] the program's manual page,
[unit] its systemd unit in Debian 12 (ExecStart, KillSignal, Type), [tried] an experiment.
"""

from __future__ import annotations

from cohabit.plan.record import Record

# --- programs that run as process 1 ----------------------------------------------------------------------

RELAY, SUPERVISOR, SHELL, PLATFORM = "relay", "supervisor", "shell", "platform"


class Init(Record):
    """A program that may be process 1 instead of cohabit. kind: RELAY (one child, signals forwarded), ..."""

    kind: str
    behaviour: str


_RELAY_BEHAVIOUR = "runs one command, forwards signals to it and reaps orphans, as cohabit does itself"
_S6_BEHAVIOUR = (
    "is s6-overlay: on a stop it sends TERM to all processes at once, and KILL 3 s later (S6_KILL_GRACETIME)"
)
_SHELL_BEHAVIOUR = "does not forward TERM, so `docker stop` ends with SIGKILL for all processes"
_PROCFILE_BEHAVIOUR = "restarts nothing: when one process ends, it sends TERM to all, and KILL 5 s later"
INITS = {
    "tini": Init(RELAY, _RELAY_BEHAVIOUR),  # [manual] github.com/krallin/tini
    "tini-static": Init(RELAY, _RELAY_BEHAVIOUR),
    "docker-init": Init(RELAY, _RELAY_BEHAVIOUR),  # [tried] docker run --init: a static tini
    "podman-init": Init(RELAY, _RELAY_BEHAVIOUR),  # [manual] podman-run(1): catatonit, mounted at /run/podman-init
    "catatonit": Init(RELAY, _RELAY_BEHAVIOUR),
    "dumb-init": Init(RELAY, f"{_RELAY_BEHAVIOUR} (it signals its whole process group)"),  # [manual]
    "pid1": Init(RELAY, _RELAY_BEHAVIOUR),
    "s6-svscan": Init(SUPERVISOR, _S6_BEHAVIOUR),  # [manual] s6-overlay's README
    "s6-overlay-suexec": Init(SUPERVISOR, _S6_BEHAVIOUR),
    "supervisord": Init(  # [tried] supervisor 4.2: exit 0 after FATAL; issues 712, 733, 1182
        SUPERVISOR, "exits with 0 whatever failed, and keeps the container running when a program is FATAL"
    ),
    "runsvdir": Init(SUPERVISOR, "is runit: it stops its services on HUP, not on TERM"),  # [manual] runsvdir(8)
    "my_init": Init(
        SUPERVISOR, "is the init of phusion/baseimage: it starts runit, and on a stop it kills after 5 s"
    ),  # [image]
    "systemd": Init(SUPERVISOR, "is a system manager: its services are defined by unit files"),
    "foreman": Init(SUPERVISOR, _PROCFILE_BEHAVIOUR),  # [manual] foreman(1), --timeout
    "honcho": Init(SUPERVISOR, _PROCFILE_BEHAVIOUR),  # [manual] honcho.readthedocs.io; KILL_WAIT = 5
    "goreman": Init(SUPERVISOR, "is another supervisor: it starts the lines of a Procfile through a shell"),  # [manual]
    "forego": Init(SUPERVISOR, "is another supervisor: it starts the lines of a Procfile"),  # [manual]
    "hivemind": Init(SUPERVISOR, "is another supervisor: it starts the lines of a Procfile"),  # [manual]
    "overmind": Init(SUPERVISOR, "is another supervisor: it starts the lines of a Procfile in tmux"),  # [manual]
    "concurrently": Init(  # [manual] --kill-others, --restart-tries
        SUPERVISOR, "starts its commands through a shell, and without --kill-others it continues when one of them fails"
    ),
    "npm-run-all": Init(SUPERVISOR, "starts npm scripts in parallel and restarts none of them"),  # [manual]
    "run-p": Init(SUPERVISOR, "starts npm scripts in parallel and restarts none of them"),
    "monit": Init(  # [manual] monit(1), "set daemon"
        SUPERVISOR, "starts services as daemons, knows them by pid files, and looks at them at intervals"
    ),
    "process-compose": Init(SUPERVISOR, "is another supervisor with its own services"),
    "runit": Init(SUPERVISOR, "is runit: it stops its services on HUP and CONT, not on TERM"),  # [manual] runit(8)
    "runit-init": Init(SUPERVISOR, "is runit: it stops its services on HUP and CONT, not on TERM"),
    "circusd": Init(SUPERVISOR, "is another supervisor with its own services"),
    "pm2-runtime": Init(SUPERVISOR, "is another supervisor with its own services"),
    "sh": Init(SHELL, _SHELL_BEHAVIOUR),  # [tried] dash, bash
    "bash": Init(SHELL, _SHELL_BEHAVIOUR),
    "dash": Init(SHELL, _SHELL_BEHAVIOUR),
    "ash": Init(SHELL, _SHELL_BEHAVIOUR),
    "busybox": Init(SHELL, _SHELL_BEHAVIOUR),
    "zsh": Init(SHELL, _SHELL_BEHAVIOUR),
    "pause": Init(PLATFORM, "belongs to the pod (shareProcessNamespace) and reaps orphans of all its containers"),
    "fly-init": Init(PLATFORM, "belongs to the platform"),
}
# systemd, or an init that expects a whole system. [image] of systemd images
SYSTEM_INITS = frozenset({"/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd"})
S6_PATH = "/init"  # [image] ENTRYPOINT of every image with s6-overlay
SHELLS = frozenset(name for name, init in INITS.items() if init.kind == SHELL) - {"busybox"} | {"ksh"}

# These exec their command, so that no parent remains. [manual] of each
EXEC_WRAPPERS = frozenset(
    {
        "env",
        "gosu",
        "su-exec",
        "setpriv",
        "nice",
        "ionice",
        "chrt",
        "nohup",
        "stdbuf",
        "chpst",
        "setuidgid",
        "s6-setuidgid",
        "taskset",
        "numactl",
        "exec",
    }
)
# The first argument of these is a user. [manual]
SWITCHES_USER = frozenset({"gosu", "su-exec", "setuidgid", "s6-setuidgid", "chpst"})
# These remain as the parent of their command. [manual] su(1), sudo(8), timeout(1), script(1), unshare(1) with --fork
FORKING_WRAPPERS = frozenset(
    {
        "su",
        "sudo",
        "runuser",
        "timeout",
        "script",
        "watch",
        "xvfb-run",
        "dbus-run-session",
        "faketime",
    }
)


# --- base images -----------------------------------------------------------------------------------------


class Base(Record):
    """A base image.

    stop_signal: its STOPSIGNAL. tags: its tag must contain one of these; not_tags: its tag must contain none of these.
    init: the program that its ENTRYPOINT runs before any command.
    """

    stop_signal: str = ""
    tags: tuple[str, ...] = ()
    not_tags: tuple[str, ...] = ()
    init: str = ""


# By name without registry, "library/" and tag. A name that ends with / or - is a prefix.
BASES: dict[str, tuple[Base, ...]] = {
    "nginx": (Base("SIGQUIT"),),  # [image]
    "nginxinc/nginx-unprivileged": (Base("SIGQUIT"),),  # [image]
    "openresty/openresty": (Base("SIGQUIT"),),  # [image]
    "postgres": (Base("SIGINT"),),  # [image]
    "postgis/postgis": (Base("SIGINT"),),  # FROM postgres
    "pgvector/pgvector": (Base("SIGINT"),),  # FROM postgres
    "timescale/timescaledb": (Base("SIGINT"),),  # FROM postgres
    "httpd": (Base("SIGWINCH"),),  # [image]
    "php": (Base("SIGQUIT", tags=("fpm",)), Base("SIGWINCH", tags=("apache",))),  # [image]
    "wordpress": (Base("SIGQUIT", tags=("fpm",)), Base("SIGWINCH", not_tags=("fpm", "cli"))),  # FROM php
    "nextcloud": (Base("SIGQUIT", tags=("fpm",)), Base("SIGWINCH", not_tags=("fpm",))),  # FROM php
    "drupal": (Base("SIGQUIT", tags=("fpm",)), Base("SIGWINCH", not_tags=("fpm",))),  # FROM php
    "joomla": (Base("SIGQUIT", tags=("fpm",)), Base("SIGWINCH", not_tags=("fpm",))),  # FROM php
    "phpmyadmin": (Base("SIGQUIT", tags=("fpm",)), Base("SIGWINCH", not_tags=("fpm",))),  # FROM php
    "haproxy": (Base("SIGUSR1"),),  # [image]
    "haproxytech/haproxy-": (Base("SIGUSR1"),),  # [image]
    "linuxserver/": (Base(init=S6_PATH),),  # [image] ENTRYPOINT ["/init"]
    "home-assistant/": (Base(init=S6_PATH),),  # [image] same
    "hassio-addons/": (Base(init=S6_PATH),),  # [image] same
    "hotio/": (Base(init=S6_PATH),),  # [image] same
    "phusion/baseimage": (Base(init="my_init"),),  # [image] CMD ["/sbin/my_init"]
    "phusion/passenger-": (Base(init="my_init"),),  # [image] FROM phusion/baseimage
    "jupyter/": (Base(init="tini"),),  # [image] ENTRYPOINT ["tini", "-g", "--", "start.sh"]
}
# Images without curl: all tags, or tags that contain one of these. [image]
WITHOUT_CURL: dict[str, tuple[str, ...]] = {
    "debian": (),
    "ubuntu": (),
    "alpine": (),
    "busybox": (),
    "scratch": (),
    "python": ("slim", "alpine"),
    "node": ("slim", "alpine"),
    "ruby": ("slim", "alpine"),
    "rust": ("slim", "alpine"),
    "golang": ("alpine",),
}
# Images without wget: as above, except Alpine and busybox.
WITHOUT_WGET: dict[str, tuple[str, ...]] = {
    "debian": (),
    "ubuntu": (),
    "scratch": (),
    "python": ("slim",),
    "node": ("slim",),
    "ruby": ("slim",),
    "rust": ("slim",),
}


# --- services: stop signals ------------------------------------------------------------------------------


class Stop(Record):
    """The stop signal of a program, and the effect of TERM instead. unless: an argument that makes TERM correct."""

    signal: str
    term_effect: str
    level: str = "hint"
    unless: str = ""


STOPS = {
    "postgres": Stop(  # [image] STOPSIGNAL SIGINT; [manual] postgres(1)
        "SIGINT",
        "a smart shutdown: it waits until all clients disconnect, is then killed, and must recover",
        "warning",
    ),
    "nginx": Stop("SIGQUIT", "a fast shutdown: it aborts requests in progress"),  # [image] [manual]
    "openresty": Stop("SIGQUIT", "a fast shutdown: it aborts requests in progress"),
    "php-fpm": Stop("SIGQUIT", "a fast shutdown: it aborts running scripts"),  # [image] [manual]
    "apache2": Stop("SIGWINCH", "a fast shutdown: it aborts requests in progress"),  # [image] [manual]
    "httpd": Stop("SIGWINCH", "a fast shutdown: it aborts requests in progress"),
    "apache2-foreground": Stop("SIGWINCH", "a fast shutdown: it aborts requests in progress"),
    "httpd-foreground": Stop("SIGWINCH", "a fast shutdown: it aborts requests in progress"),
    "haproxy": Stop("SIGUSR1", "a hard stop: it closes open connections"),  # [image] [manual]
    "uwsgi": Stop(  # [manual] uWSGI 2.0, "TERM: reload"; [unit] KillSignal=SIGQUIT
        "SIGQUIT",
        "a reload: it does not stop, and is killed after its grace period",
        "error",
        "die-on-term",
    ),
}

# --- services: daemons -----------------------------------------------------------------------------------

ALWAYS = ("",)


class Daemon(Record):
    """How the command line of a program decides whether it daemonizes.

    foreground_flags: any of these keeps it in the foreground: "-f" (also combined, as in -xf, if `joined`), "--long",
    or "text…" for text within an argument. background_flags: any of these makes it daemonize; () if it does by default.
    foreground_command: the command to use instead. config_flags: arguments that name a configuration file, which may
    decide otherwise. certain: False if a default configuration file may decide otherwise.
    """

    foreground_flags: tuple[str, ...] = ()
    background_flags: tuple[str, ...] = ()
    foreground_command: str = ""
    config_flags: tuple[str, ...] = ()
    joined: bool = False
    certain: bool = True


DAEMONS = {
    "nginx": Daemon(
        ("daemon off…", "-t", "-T", "-v", "-V", "-s", "-h"),
        foreground_command="nginx -g 'daemon off;'",
        config_flags=("-c",),
    ),  # [image]
    "openresty": Daemon(
        ("daemon off…", "-t", "-T", "-v", "-V", "-s"),
        foreground_command="openresty -g 'daemon off;'",
        config_flags=("-c",),
    ),
    "php-fpm": Daemon(  # [manual] -F; the official image's own configuration says daemonize = no
        ("-F", "--nodaemonize", "-t", "-v", "-i", "-m"),
        foreground_command="php-fpm -F",
        config_flags=("-y", "--fpm-config"),
        joined=True,
        certain=False,
    ),
    "redis-server": Daemon(
        background_flags=("--daemonize yes",), foreground_command="redis-server --daemonize no"
    ),  # [manual]
    "valkey-server": Daemon(background_flags=("--daemonize yes",), foreground_command="valkey-server --daemonize no"),
    "sshd": Daemon(
        ("-D", "-d", "-i", "-t", "-T"), foreground_command="/usr/sbin/sshd -D -e", joined=True
    ),  # [manual] [unit]
    "cron": Daemon(("-f",), foreground_command="cron -f", joined=True),  # [manual] [unit]
    "crond": Daemon(
        ("-f", "-n", "-s", "-x"), foreground_command="crond -f (busybox) or crond -n (cronie)", joined=True
    ),  # [manual] busybox -f, cronie -n
    "atd": Daemon(("-f",), foreground_command="atd -f", joined=True),  # [manual] [unit]
    "apache2ctl": Daemon(
        ("-DFOREGROUND", "-D FOREGROUND", "-X", "-t", "-S"), foreground_command="apache2ctl -D FOREGROUND"
    ),  # [manual]
    "apachectl": Daemon(
        ("-DFOREGROUND", "-D FOREGROUND", "-X", "-t", "-S"), foreground_command="apachectl -D FOREGROUND"
    ),
    "apache2": Daemon(
        ("-DFOREGROUND", "-D FOREGROUND", "-X", "-t", "-S", "-v"), foreground_command="apache2ctl -D FOREGROUND"
    ),
    "httpd": Daemon(  # [image] httpd-foreground; busybox has another of that name, with -f
        ("-DFOREGROUND", "-D FOREGROUND", "-X", "-t", "-S", "-v", "-f"), foreground_command="httpd -D FOREGROUND"
    ),
    "rsyslogd": Daemon(("-n", "-N", "-v"), foreground_command="rsyslogd -n", joined=True),  # [manual] [unit]
    "syslog-ng": Daemon(
        ("-F", "--foreground", "-s", "-V"), foreground_command="syslog-ng -F", joined=True
    ),  # [manual] [unit]
    "supervisord": Daemon(  # [manual] -n
        ("-n", "--nodaemon", "-v", "--version"),
        foreground_command="supervisord -n, or one service for each of its programs",
        config_flags=("-c",),
        joined=True,
        certain=False,
    ),
    "gunicorn": Daemon(background_flags=("--daemon", "-D"), foreground_command="gunicorn without --daemon"),  # [manual]
    "uwsgi": Daemon(
        background_flags=("--daemonize…", "-d"), foreground_command="uwsgi without --daemonize"
    ),  # [manual]
    "celery": Daemon(
        background_flags=("--detach", "-D", "multi"), foreground_command="celery worker without --detach"
    ),  # [manual]
    "pg_ctl": Daemon(
        background_flags=("start", "restart"), foreground_command="postgres itself, not pg_ctl"
    ),  # [manual]
    "pg_ctlcluster": Daemon(
        ("--foreground",),
        background_flags=("start", "restart"),
        foreground_command="pg_ctlcluster --foreground VERSION CLUSTER start",
    ),
    "memcached": Daemon(background_flags=("-d", "--daemon"), foreground_command="memcached without -d"),  # [manual]
    "haproxy": Daemon(background_flags=("-D",), foreground_command="haproxy -W -db"),  # [manual]
    "mongod": Daemon(background_flags=("--fork",), foreground_command="mongod without --fork"),  # [manual]
    "mosquitto": Daemon(background_flags=("-d", "--daemon"), foreground_command="mosquitto without -d"),  # [manual]
    "dnsmasq": Daemon(
        ("-k", "--keep-in-foreground", "-d", "--no-daemon", "--test"), foreground_command="dnsmasq -k", joined=True
    ),  # [manual]
    "varnishd": Daemon(("-F", "-d", "-V", "-C"), foreground_command="varnishd -F", joined=True),  # [manual]
    "lighttpd": Daemon(("-D", "-t", "-tt", "-v"), foreground_command="lighttpd -D", joined=True),  # [manual] [unit]
    "squid": Daemon(
        ("-N", "--foreground", "-z", "-k", "-v"), foreground_command="squid -N", joined=True
    ),  # [manual] [tried]: with --foreground a child runs without stdout, so that stdio:/dev/stdout has no output
    "proftpd": Daemon(
        ("-n", "--nodaemon", "-t", "-v"), foreground_command="proftpd --nodaemon", joined=True
    ),  # [manual]
    "postfix": Daemon(background_flags=("start",), foreground_command="postfix start-fg"),  # [manual] postfix(1)
    "dovecot": Daemon(("-F", "-n", "-a", "--version"), foreground_command="dovecot -F"),  # [manual] [unit]
    "named": Daemon(("-f", "-g", "-v", "-V"), foreground_command="named -f", joined=True),  # [manual] [unit]
    "slapd": Daemon(("-d", "-d0…"), foreground_command="slapd -d 0", joined=True),  # [manual]
    "smbd": Daemon(
        ("-F", "--foreground", "-i", "--interactive"), foreground_command="smbd --foreground", joined=True
    ),  # [manual] [unit]
    "nmbd": Daemon(("-F", "--foreground", "-i", "--interactive"), foreground_command="nmbd --foreground", joined=True),
    "winbindd": Daemon(
        ("-F", "--foreground", "-i", "--interactive"), foreground_command="winbindd --foreground", joined=True
    ),
    "snmpd": Daemon(("-f", "-v", "-h"), foreground_command="snmpd -f", joined=True),  # [manual] [unit]
    "ntpd": Daemon(("-n", "-d", "-q", "--nofork"), foreground_command="ntpd -n", joined=True),  # [manual]
    "chronyd": Daemon(("-d", "-n", "-x -d", "-q", "-Q"), foreground_command="chronyd -d", joined=True),  # [manual]
    "dbus-daemon": Daemon(
        ("--nofork",), background_flags=("--system", "--fork"), foreground_command="dbus-daemon --system --nofork"
    ),  # [manual] [unit]
    "avahi-daemon": Daemon(
        background_flags=("-D", "--daemonize"), foreground_command="avahi-daemon without --daemonize"
    ),  # [manual]
    "transmission-daemon": Daemon(
        ("-f", "--foreground"), foreground_command="transmission-daemon -f", joined=True
    ),  # [manual] [unit]
    "openvpn": Daemon(background_flags=("--daemon",), foreground_command="openvpn without --daemon"),  # [manual]
    "x11vnc": Daemon(background_flags=("-bg",), foreground_command="x11vnc without -bg"),  # [manual]
    "start-stop-daemon": Daemon(
        background_flags=("-b", "--background"), foreground_command="the program itself"
    ),  # [manual]
    "pm2": Daemon(
        ("--no-daemon",),
        background_flags=("start",),
        foreground_command="pm2-runtime, or node with the script (cohabit restarts it)",
    ),  # [manual]
    "service": Daemon(
        background_flags=("start…", "restart…"),
        foreground_command="the program itself in the foreground, not `service`",
    ),  # [manual]
    "systemctl": Daemon(
        background_flags=("start", "restart"),
        foreground_command="the program of the unit's ExecStart= line, not `systemctl`",
    ),
    "mysqld": Daemon(background_flags=("--daemonize", "-D"), foreground_command="mysqld"),  # [manual]
    "exim": Daemon(background_flags=("-bd",), foreground_command="exim -bdf"),  # [manual]
    "exim4": Daemon(background_flags=("-bd",), foreground_command="exim4 -bdf"),
}
# These remain as the parent of the server, restart it, and hide its exit code. [manual]
RESTARTING_WRAPPERS = {
    "mysqld_safe": "mysqld --user=mysql",
    "mariadbd-safe": "mariadbd --user=mysql",
}

# --- services: slow starts, and their health checks -------------------------------------------------------


class Slow(Record):
    """A slow server. test: its health check, with {port}. port: the default; flags: arguments that set the port."""

    test: str
    port: int = 0
    flags: tuple[str, ...] = ("--port",)


SLOW = {
    "postgres": Slow('[CMD, pg_isready, -q, -h, 127.0.0.1, -p, "{port}"]', 5432, ("-p", "--port")),
    "mysqld": Slow("[TCP, 127.0.0.1:{port}]", 3306, ("-P", "--port")),
    "mariadbd": Slow("[TCP, 127.0.0.1:{port}]", 3306, ("-P", "--port")),
    "mongod": Slow("[TCP, 127.0.0.1:{port}]", 27017),
    "rabbitmq-server": Slow("[CMD, rabbitmq-diagnostics, -q, ping]"),
    "elasticsearch": Slow("[HTTP, http://127.0.0.1:{port}]", 9200, ()),
    "opensearch": Slow("[TCP, 127.0.0.1:{port}]", 9200, ()),
    "clickhouse-server": Slow("[HTTP, http://127.0.0.1:{port}/ping]", 8123, ()),
}

# These use more than 64 MiB of shared memory in normal operation. [manual] of PostgreSQL and of Chromium in containers
LARGE_SHM = frozenset(
    {"postgres", "chrome", "google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "firefox"}
)

# --- platforms -------------------------------------------------------------------------------------------


class Platform(Record):
    """A container platform and its grace period between TERM and KILL.

    variables, files: one of these exists on the platform. grace_seconds: the default. grace_variable: a variable with
    the actual grace period. extension: how to extend it.
    """

    name: str
    grace_seconds: float
    extension: str
    variables: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    grace_variable: str = ""


# The first match is used, since the file of Docker also exists on other platforms.
PLATFORMS = (
    Platform("Fly.io", 5, "kill_timeout in fly.toml, at most 300", ("FLY_MACHINE_ID", "FLY_APP_NAME")),
    Platform(
        "Railway",
        0,
        "the variable RAILWAY_DEPLOYMENT_DRAINING_SECONDS",
        ("RAILWAY_ENVIRONMENT", "RAILWAY_SERVICE_ID", "RAILWAY_PROJECT_ID"),
        grace_variable="RAILWAY_DEPLOYMENT_DRAINING_SECONDS",
    ),
    Platform("Heroku", 30, "it is fixed", ("DYNO",)),
    Platform("Cloud Run", 10, "it is fixed", ("K_SERVICE", "CLOUD_RUN_JOB")),
    Platform(
        "ECS", 30, "stopTimeout in the task definition, at most 120 on Fargate", ("ECS_CONTAINER_METADATA_URI_V4",)
    ),
    Platform("Kubernetes", 30, "terminationGracePeriodSeconds of the pod", ("KUBERNETES_SERVICE_HOST",)),
    Platform("Podman", 10, "podman run --stop-timeout", files=("/run/.containerenv",)),
    Platform("Docker", 10, "docker run --stop-timeout, or stop_grace_period in Compose", files=("/.dockerenv",)),
)


# Programs that do not start while their pid or lock file names a running process. [tried]: apache2 says "already
# running" and ends with 0, squid ends with 1; Xvfb says "Server is already active for display".
PID_FILES = {
    "apache2": "/run/apache2/apache2.pid",
    "httpd": "/usr/local/apache2/logs/httpd.pid",
    "squid": "/run/squid.pid",
    "Xvfb": "/tmp/.X{display}-lock",  # noqa: S108 - the path is Xvfb's
}
