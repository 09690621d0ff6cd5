"""What is known of other people's programs and images: literal tables, no code that decides.

Sources are behind the rows: [image] the official image's Dockerfile or entrypoint, [manual] the program's manual page,
[unit] its systemd unit in Debian 12 (ExecStart, KillSignal, Type), [tried] seen in an experiment of ours.
"""

from __future__ import annotations

from cohabit.plan.record import Record

# --- who stands at process 1 -----------------------------------------------------------------------------

RELAY, SUPERVISOR, SHELL, PLATFORM = "relay", "supervisor", "shell", "platform"


class Init(Record):
    """What a program does when it is process 1 in our place. kind: RELAY (one child, signals passed on), ..."""

    kind: str
    does: str


_RELAYS = "starts one command, passes signals on to it and reaps: what cohabit does itself"
_S6 = "is s6-overlay: on a stop it sends TERM to everybody at once and, 3 s later, KILL (S6_KILL_GRACETIME)"
INITS = {
    "tini": Init(RELAY, _RELAYS),  # [manual] github.com/krallin/tini
    "tini-static": Init(RELAY, _RELAYS),
    "docker-init": Init(RELAY, _RELAYS),  # [tried] docker run --init: a static tini
    "podman-init": Init(RELAY, _RELAYS),  # [manual] podman-run(1): catatonit, mounted at /run/podman-init
    "catatonit": Init(RELAY, _RELAYS),
    "dumb-init": Init(RELAY, f"{_RELAYS} (it signals its whole process group)"),  # [manual]
    "pid1": Init(RELAY, _RELAYS),
    "s6-svscan": Init(SUPERVISOR, _S6),  # [manual] s6-overlay's README
    "s6-overlay-suexec": Init(SUPERVISOR, _S6),
    "supervisord": Init(  # [tried] supervisor 4.2: exit 0 after FATAL; issues 712, 733, 1182
        SUPERVISOR, "ends with 0 whatever died, and keeps the container up when a program is FATAL"
    ),
    "runsvdir": Init(SUPERVISOR, "is runit: it ends its services only on HUP, not on TERM"),  # [manual] runsvdir(8)
    "my_init": Init(SUPERVISOR, "is phusion's init: it starts runit and, after 5 s, kills"),  # [image]
    "systemd": Init(SUPERVISOR, "is a whole system's manager: what is a service is in its unit files"),
    "circusd": Init(SUPERVISOR, "is another supervisor, with services of its own"),
    "pm2-runtime": Init(SUPERVISOR, "is another supervisor, with services of its own"),
    "sh": Init(SHELL, "does not pass TERM on, so `docker stop` ends in SIGKILL for everybody"),  # [tried] dash, bash
    "bash": Init(SHELL, "does not pass TERM on, so `docker stop` ends in SIGKILL for everybody"),
    "dash": Init(SHELL, "does not pass TERM on, so `docker stop` ends in SIGKILL for everybody"),
    "ash": Init(SHELL, "does not pass TERM on, so `docker stop` ends in SIGKILL for everybody"),
    "busybox": Init(SHELL, "does not pass TERM on, so `docker stop` ends in SIGKILL for everybody"),
    "zsh": Init(SHELL, "does not pass TERM on, so `docker stop` ends in SIGKILL for everybody"),
    "pause": Init(PLATFORM, "belongs to the pod (shareProcessNamespace) and reaps for all its containers"),
    "fly-init": Init(PLATFORM, "belongs to the platform"),
}
S6_PATH = "/init"  # [image] ENTRYPOINT of every image with s6-overlay
SHELLS = frozenset(name for name, init in INITS.items() if init.kind == SHELL) - {"busybox"} | {"ksh"}

# Become the program that they are given: nobody stays in front of it. [manual] of each
BECOMES_ITS_COMMAND = frozenset(
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
# Stay in front of it as its parent. [manual] su(1), sudo(8), timeout(1), script(1), unshare(1) with --fork
STAYS_IN_FRONT = frozenset(
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
    """An image that others are FROM.

    stop_signal: its STOPSIGNAL. tags: words of which its tag must have one ("" is every tag). init: what its ENTRYPOINT
    puts in front of any command.
    """

    stop_signal: str = ""
    tags: tuple[str, ...] = ()
    not_tags: tuple[str, ...] = ()
    init: str = ""


# Name without registry, "library/" and tag -> what is known. A name that ends in / stands for all below it.
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
    "jupyter/": (Base(init="tini"),),  # [image] ENTRYPOINT ["tini", "-g", "--", "start.sh"]
}
# Images that have no curl of their own: all tags, or those with one of these words. [image]
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
# And no wget: those of the above that are no Alpine and no busybox.
WITHOUT_WGET: dict[str, tuple[str, ...]] = {
    "debian": (),
    "ubuntu": (),
    "scratch": (),
    "python": ("slim",),
    "node": ("slim",),
    "ruby": ("slim",),
    "rust": ("slim",),
}


# --- services: how they want to be stopped ---------------------------------------------------------------


class Stop(Record):
    """The signal that a program wants, and what TERM does to it instead. unless: an argument that makes TERM right."""

    signal: str
    term: str
    level: str = "hint"
    unless: str = ""


STOPS = {
    "postgres": Stop(  # [image] STOPSIGNAL SIGINT; [manual] postgres(1)
        "SIGINT",
        "a smart shutdown: it waits until all clients have gone, then is killed, and must recover",
        "warning",
    ),
    "nginx": Stop("SIGQUIT", "a fast shutdown: requests that are being answered are cut off"),  # [image] [manual]
    "openresty": Stop("SIGQUIT", "a fast shutdown: requests that are being answered are cut off"),
    "php-fpm": Stop("SIGQUIT", "a fast shutdown: scripts that run are cut off"),  # [image] [manual]
    "apache2": Stop("SIGWINCH", "a fast shutdown: requests that are being answered are cut off"),  # [image] [manual]
    "httpd": Stop("SIGWINCH", "a fast shutdown: requests that are being answered are cut off"),
    "apache2-foreground": Stop("SIGWINCH", "a fast shutdown: requests that are being answered are cut off"),
    "httpd-foreground": Stop("SIGWINCH", "a fast shutdown: requests that are being answered are cut off"),
    "haproxy": Stop("SIGUSR1", "a hard stop: connections that are open are cut off"),  # [image] [manual]
    "uwsgi": Stop(  # [manual] uWSGI 2.0, "TERM: reload"; [unit] KillSignal=SIGQUIT
        "SIGQUIT",
        "a reload: it does not stop, and is killed when its time is over",
        "error",
        "die-on-term",
    ),
}

# --- services: which put themselves in the background ----------------------------------------------------

ALWAYS = ("",)


class Daemon(Record):
    """How a program's command line tells whether it goes into the background.

    stays: arguments of which one keeps it in the foreground: "-f" (also among joined letters, if `joined`), "--long",
    "text…" for text within an argument. goes: arguments of which one sends it there; () when it goes by itself.
    say: what to write. reads: arguments that name a file in which the same may stand, so that nothing is certain.
    """

    stays: tuple[str, ...] = ()
    goes: tuple[str, ...] = ()
    say: str = ""
    reads: tuple[str, ...] = ()
    joined: bool = False
    certain: bool = True


DAEMONS = {
    "nginx": Daemon(
        ("daemon off…", "-t", "-T", "-v", "-V", "-s", "-h"), say="nginx -g 'daemon off;'", reads=("-c",)
    ),  # [image]
    "openresty": Daemon(("daemon off…", "-t", "-T", "-v", "-V", "-s"), say="openresty -g 'daemon off;'", reads=("-c",)),
    "php-fpm": Daemon(  # [manual] -F; the official image's own configuration says daemonize = no
        ("-F", "--nodaemonize", "-t", "-v", "-i", "-m"),
        say="php-fpm -F",
        reads=("-y", "--fpm-config"),
        joined=True,
        certain=False,
    ),
    "redis-server": Daemon(goes=("--daemonize yes",), say="redis-server --daemonize no"),  # [manual]
    "valkey-server": Daemon(goes=("--daemonize yes",), say="valkey-server --daemonize no"),
    "sshd": Daemon(("-D", "-d", "-i", "-t", "-T"), say="/usr/sbin/sshd -D -e", joined=True),  # [manual] [unit]
    "cron": Daemon(("-f",), say="cron -f", joined=True),  # [manual] [unit]
    "crond": Daemon(("-f", "-n", "-s", "-x"), say="crond -f", joined=True),  # [manual] busybox -f, cronie -n
    "atd": Daemon(("-f",), say="atd -f", joined=True),  # [manual] [unit]
    "apache2ctl": Daemon(
        ("-DFOREGROUND", "-D FOREGROUND", "-X", "-t", "-S"), say="apache2ctl -D FOREGROUND"
    ),  # [manual]
    "apachectl": Daemon(("-DFOREGROUND", "-D FOREGROUND", "-X", "-t", "-S"), say="apachectl -D FOREGROUND"),
    "apache2": Daemon(("-DFOREGROUND", "-D FOREGROUND", "-X", "-t", "-S", "-v"), say="apache2ctl -D FOREGROUND"),
    "httpd": Daemon(  # [image] httpd-foreground; busybox has another of that name, with -f
        ("-DFOREGROUND", "-D FOREGROUND", "-X", "-t", "-S", "-v", "-f"), say="httpd-foreground"
    ),
    "rsyslogd": Daemon(("-n", "-N", "-v"), say="rsyslogd -n", joined=True),  # [manual] [unit]
    "syslog-ng": Daemon(("-F", "--foreground", "-s", "-V"), say="syslog-ng -F", joined=True),  # [manual] [unit]
    "supervisord": Daemon(  # [manual] -n
        ("-n", "--nodaemon", "-v", "--version"),
        say="each of its programs as a service of its own",
        reads=("-c",),
        joined=True,
        certain=False,
    ),
    "gunicorn": Daemon(goes=("--daemon", "-D"), say="gunicorn without --daemon"),  # [manual]
    "uwsgi": Daemon(goes=("--daemonize…", "-d"), say="uwsgi without --daemonize"),  # [manual]
    "celery": Daemon(goes=("--detach", "-D", "multi"), say="celery worker"),  # [manual]
    "pg_ctl": Daemon(
        goes=("start", "restart"), say='command: ["postgres", "-D", "/var/lib/postgresql/data"]'
    ),  # [manual]
    "pg_ctlcluster": Daemon(("--foreground",), goes=("start", "restart"), say="pg_ctlcluster --foreground … start"),
    "memcached": Daemon(goes=("-d", "--daemon"), say="memcached without -d"),  # [manual]
    "haproxy": Daemon(goes=("-D",), say="haproxy -W -db"),  # [manual]
    "mongod": Daemon(goes=("--fork",), say="mongod without --fork"),  # [manual]
    "mosquitto": Daemon(goes=("-d", "--daemon"), say="mosquitto without -d"),  # [manual]
    "dnsmasq": Daemon(
        ("-k", "--keep-in-foreground", "-d", "--no-daemon", "--test"), say="dnsmasq -k", joined=True
    ),  # [manual]
    "varnishd": Daemon(("-F", "-d", "-V", "-C"), say="varnishd -F", joined=True),  # [manual]
    "lighttpd": Daemon(("-D", "-t", "-tt", "-v"), say="lighttpd -D", joined=True),  # [manual] [unit]
    "squid": Daemon(("-N", "--foreground", "-z", "-k", "-v"), say="squid --foreground", joined=True),  # [manual] [unit]
    "proftpd": Daemon(("-n", "--nodaemon", "-t", "-v"), say="proftpd --nodaemon", joined=True),  # [manual]
    "postfix": Daemon(goes=("start",), say="postfix start-fg"),  # [manual] postfix(1)
    "dovecot": Daemon(("-F", "-n", "-a", "--version"), say="dovecot -F"),  # [manual] [unit]
    "named": Daemon(("-f", "-g", "-v", "-V"), say="named -f", joined=True),  # [manual] [unit]
    "slapd": Daemon(("-d", "-d0…"), say="slapd -d 0", joined=True),  # [manual]
    "smbd": Daemon(
        ("-F", "--foreground", "-i", "--interactive"), say="smbd --foreground", joined=True
    ),  # [manual] [unit]
    "nmbd": Daemon(("-F", "--foreground", "-i", "--interactive"), say="nmbd --foreground", joined=True),
    "winbindd": Daemon(("-F", "--foreground", "-i", "--interactive"), say="winbindd --foreground", joined=True),
    "snmpd": Daemon(("-f", "-v", "-h"), say="snmpd -f", joined=True),  # [manual] [unit]
    "ntpd": Daemon(("-n", "-d", "-q", "--nofork"), say="ntpd -n", joined=True),  # [manual]
    "chronyd": Daemon(("-d", "-n", "-x -d", "-q", "-Q"), say="chronyd -d", joined=True),  # [manual]
    "dbus-daemon": Daemon(
        ("--nofork",), goes=("--system", "--fork"), say="dbus-daemon --system --nofork"
    ),  # [manual] [unit]
    "avahi-daemon": Daemon(goes=("-D", "--daemonize"), say="avahi-daemon without --daemonize"),  # [manual]
    "transmission-daemon": Daemon(("-f", "--foreground"), say="transmission-daemon -f", joined=True),  # [manual] [unit]
    "openvpn": Daemon(goes=("--daemon",), say="openvpn without --daemon"),  # [manual]
    "x11vnc": Daemon(goes=("-bg",), say="x11vnc without -bg"),  # [manual]
    "start-stop-daemon": Daemon(goes=("-b", "--background"), say="the program itself"),  # [manual]
    "pm2": Daemon(("--no-daemon",), goes=("start",), say="node and the script: cohabit restarts it"),  # [manual]
    "service": Daemon(
        goes=("start…", "restart…"), say="the program that its script starts, in the foreground"
    ),  # [manual]
    "systemctl": Daemon(goes=("start", "restart"), say="the program of its ExecStart line; there is no systemd here"),
    "mysqld": Daemon(goes=("--daemonize", "-D"), say="mysqld"),  # [manual]
    "exim": Daemon(goes=("-bd",), say="exim -bdf"),  # [manual]
    "exim4": Daemon(goes=("-bd",), say="exim4 -bdf"),
}
# Stay in the foreground as the parent of the real one, restart it, and hide its end. [manual]
WRAPPERS = {
    "mysqld_safe": "mysqld --user=mysql",
    "mariadbd-safe": "mariadbd --user=mysql",
}

# --- services: slow to be ready, and how to ask them ------------------------------------------------------


class Slow(Record):
    """test: a healthcheck's test, with {port}. port: the default; flags: arguments behind which another one stands."""

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

# Use shared memory beyond 64 MiB in ordinary work. [manual] of PostgreSQL and of Chromium in containers
LARGE_SHM = frozenset(
    {"postgres", "chrome", "google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "firefox"}
)

# --- platforms -------------------------------------------------------------------------------------------


class Platform(Record):
    """Who runs the container, and how long it waits after TERM.

    variables: of which one is set there; files: of which one is there. grace_seconds: its default. told: a variable
    with the time itself. raise_it: how to give it more.
    """

    name: str
    grace_seconds: float
    raise_it: str
    variables: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    told: str = ""


# In this order: the first one that shows is it, and Docker's file is there on others, too.
PLATFORMS = (
    Platform("Fly.io", 5, "kill_timeout in fly.toml, at most 300", ("FLY_MACHINE_ID", "FLY_APP_NAME")),
    Platform(
        "Railway",
        0,
        "the variable RAILWAY_DEPLOYMENT_DRAINING_SECONDS",
        ("RAILWAY_ENVIRONMENT", "RAILWAY_SERVICE_ID", "RAILWAY_PROJECT_ID"),
        told="RAILWAY_DEPLOYMENT_DRAINING_SECONDS",
    ),
    Platform("Heroku", 30, "nothing raises it", ("DYNO",)),
    Platform("Cloud Run", 10, "nothing raises it", ("K_SERVICE", "CLOUD_RUN_JOB")),
    Platform(
        "ECS", 30, "stopTimeout in the task definition, at most 120 on Fargate", ("ECS_CONTAINER_METADATA_URI_V4",)
    ),
    Platform("Kubernetes", 30, "terminationGracePeriodSeconds of the pod", ("KUBERNETES_SERVICE_HOST",)),
    Platform("Podman", 10, "podman run --stop-timeout", files=("/run/.containerenv",)),
    Platform("Docker", 10, "docker run --stop-timeout, or stop_grace_period in Compose", files=("/.dockerenv",)),
)
