"""Levels: lines of common programs, and prose without a level."""

import pytest

from cohabit.reactor.logs.level import level_of, level_of_coloured

LINES = [
    ("nginx", '2024/11/24 12:00:00 [error] 7#7: *1 open() "/srv/x" failed (2: No such file or directory)', "error"),
    ("nginx", "2024/11/24 12:00:00 [notice] 1#1: nginx/1.27.2", "notice"),
    ("nginx", '2024/11/24 12:00:00 [emerg] 1#1: unknown directive "x" in /etc/nginx/nginx.conf:1', "emergency"),
    ("nginx", "2024/11/24 12:00:00 [crit] 7#7: *1 connect() to unix:/run/php.sock failed", "critical"),
    ("redis", "1:M 24 Nov 2024 12:00:00.000 * Ready to accept connections tcp", "notice"),
    ("redis", "1:C 24 Nov 2024 12:00:00.000 # Warning: no config file specified", "warning"),
    ("redis", "1:M 24 Nov 2024 12:00:00.000 - Accepted 127.0.0.1:40000", "info"),
    ("redis", "1:S 24 Nov 2024 12:00:00.000 . DB 0: 1 keys", "debug"),
    ("PostgreSQL", "2024-11-24 12:00:00.000 UTC [1] LOG:  database system is ready to accept connections", "info"),
    ("PostgreSQL", '2024-11-24 12:00:00.000 UTC [70] FATAL:  password authentication failed for user "x"', "fatal"),
    ("PostgreSQL", '2024-11-24 12:00:00.000 UTC [70] ERROR:  relation "info" does not exist at character 15', "error"),
    ("PostgreSQL", "2024-11-24 12:00:00.000 UTC [1] PANIC:  could not write to file", "fatal"),
    ("PostgreSQL", "2024-11-24 12:00:00.000 UTC [1] DEBUG2:  checkpoint sync", "debug"),
    ("initdb", 'initdb: warning: enabling "trust" authentication for local connections', ""),
    ("php-fpm", "[24-Nov-2024 12:00:00] NOTICE: fpm is running, pid 1", "notice"),
    ("php-fpm", '[24-Nov-2024 12:00:00] WARNING: [pool www] child 7 said into stderr: "x"', "warning"),
    ("gunicorn", "[2024-11-24 12:00:00 +0000] [7] [INFO] Starting gunicorn 23.0.0", "info"),
    ("gunicorn", "[2024-11-24 12:00:00 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:8)", "critical"),
    ("uvicorn", "INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)", "info"),
    ("uvicorn", "WARNING:  Invalid HTTP request received.", "warning"),
    ("Python logging", "WARNING:root:disk is nearly full", "warning"),
    ("Python logging", "2024-11-24 12:00:00,123 - app.worker - ERROR - task 7 failed", "error"),
    ("Celery", "[2024-11-24 12:00:00,123: INFO/MainProcess] celery@web ready.", "info"),
    ("Celery", "[2024-11-24 12:00:00,123: WARNING/ForkPoolWorker-1] slow", "warning"),
    ("Django", "[24/Nov/2024 12:00:00] WARNING Not Found: /favicon.ico", "warning"),
    ("Odoo", "2024-11-24 12:00:00,123 7 INFO db odoo.http: HTTP service running", "info"),
    ("klog", "I1124 12:00:00.123456       1 main.go:12] starting", "info"),
    ("klog", "W1124 12:00:00.123456       1 main.go:12] slow", "warning"),
    ("klog", "E1124 12:00:00.123456       1 main.go:12] no route", "error"),
    ("klog", "F1124 12:00:00.123456       1 main.go:12] gone", "fatal"),
    ("logrus", 'time="2024-11-24T12:00:00Z" level=warning msg="no certificate"', "warning"),
    ("Prometheus", "ts=2024-11-24T12:00:00.123Z caller=main.go:1009 level=info msg=ready", "info"),
    ("Go slog", 'time=2024-11-24T12:00:00.000Z level=ERROR msg="connect"', "error"),
    ("Go", "panic: runtime error: index out of range [3] with length 3", "fatal"),
    ("logfmt", "lvl=dbug msg=x", ""),
    ("logfmt", "lvl=debug msg=x", "debug"),
    ("logfmt", 'severity="critical" msg=x', "critical"),
    ("zerolog", "2024-11-24T12:00:00Z WRN slow query took=3s", "warning"),
    ("zap", "2024-11-24T12:00:00.000Z\tINFO\tmain.go:12\tstarted", "info"),
    ("env_logger", "[2024-11-24T12:00:00Z INFO  app::server] listening", "info"),
    ("env_logger", "[2024-11-24T12:00:00Z TRACE app] x", "trace"),
    ("tracing", "2024-11-24T12:00:00.123456Z  WARN app: slow", "warning"),
    ("logback", "12:00:00.123 [main] INFO  com.example.App -- started", "info"),
    ("Spring Boot", "2024-11-24T12:00:00.123Z  INFO 1 --- [           main] c.e.App : Started", "info"),
    ("Tomcat", "24-Nov-2024 12:00:00.123 SEVERE [main] org.apache.catalina.core x", "error"),
    ("java.util.logging", "SEVERE: cannot start", "error"),
    ("java.util.logging", "FINE: entering", "debug"),
    ("Elasticsearch", "[2024-11-24T12:00:00,123][INFO ][o.e.n.Node] [node] started", "info"),
    ("Kafka", "[2024-11-24 12:00:00,123] WARN [Broker id=1] x (kafka.server)", "warning"),
    ("Apache", "[Sun Nov 24 12:00:00.123456 2024] [mpm_event:notice] [pid 1:tid 140] AH00489: ready", "notice"),
    ("Apache", "[Sun Nov 24 12:00:00.123456 2024] [core:error] [pid 8:tid 140] AH00126: bad", "error"),
    ("HAProxy", "[NOTICE]   (1) : New worker (8) forked", "notice"),
    ("RabbitMQ", "2024-11-24 12:00:00.123456+00:00 [info] <0.222.0> Server startup complete", "info"),
    ("MySQL", "2024-11-24T12:00:00.123456Z 0 [Warning] [MY-010068] [Server] CA certificate is self signed.", "warning"),
    ("MariaDB", "2024-11-24 12:00:00 0 [Note] mariadbd: ready for connections.", "notice"),
    ("Envoy", "[2024-11-24 12:00:00.123][1][info][main] starting", "info"),
    ("Ruby", "I, [2024-11-24T12:00:00.123456 #7]  INFO -- : started", "info"),
    (".NET", "warn: Microsoft.AspNetCore.HttpsPolicy[3]", "warning"),
    (".NET", "fail: Microsoft.AspNetCore.Server.Kestrel[13]", "error"),
    ("Node", "Error: Cannot find module './x'", "error"),
    ("npm", "npm WARN deprecated x@1.0.0", "warning"),
    ("NestJS", "[Nest] 7  - 11/24/2024, 12:00:00 PM   ERROR [App] x", "error"),
    ("supervisord", "2024-11-24 12:00:00,123 INFO supervisord started with pid 1", "info"),
    ("supervisord", "2024-11-24 12:00:00,123 CRIT Supervisor is running as root.", "critical"),
    ("systemd", "<3>cannot open /dev/x", "error"),
    ("systemd", "<0>the end", "emergency"),
    ("git", "fatal: not a git repository", "fatal"),
    ("cc", "warning: unused variable", "warning"),
    ("ClickHouse", "2024.11.24 12:00:00.123456 [ 1 ] {} <Error> Application: x", "error"),
    ("ClickHouse", "2024.11.24 12:00:00.123456 [ 1 ] {} <Information> Application: x", "info"),
    ("capitals", "12:00 <FATAL> [WARN: x", "fatal"),
    ("the first counts", "12:00:00 INFO ERROR count is 0", "info"),
    ("pino", '{"level":30,"time":1732449600000,"pid":7,"hostname":"x","msg":"ERROR"}', ""),
]  # fmt: skip

LINES_WITHOUT_LEVEL = [
    "",
    "   \t ",
    "for more info see https://example.org/error",
    "no errors found, 0 warnings",
    "an error occurred",
    "error",
    "INFORMATION is not a level, nor is XINFO or INFO2 or LOG_ERROR",
    "the LOG is in /var/log/ERROR/INFO.txt",
    '10.0.0.1 - - [24/Nov/2024:12:00:00 +0000] "GET /?level=info&x=ERROR HTTP/1.1" 200 5',
    '10.0.0.1 - - [24/Nov/2024:12:00:00 +0000] "TRACE / HTTP/1.1" 405 5',
    '[24/Nov/2024:12:00:00 +0000] "GET /error HTTP/1.1"',
    "GET /ERROR/ 200",
    "PYTHON_LOG=INFO X-ERROR-ID=1",
    'he said "ERROR"',
    "  warning here is not the first word: error",
    "I1124x 12:00:00 main.go",
    "Eabcd 12:00",
    "12 a b c d * x",
    "I11245 12:00:00 main.go",
    "<9>no such priority",
    "1:M 24 Nov 2024",
    "1:M 24 Nov 2024 12:00:00.000 + x",
    "http://example.org/x",
    "[a b: c/d e f",
    "[a b c d e [f:g",
    "one two three four five six seven eight nine ERROR",
    "x" * 90 + " ERROR",
    "\0\x01\x1b",
    "[",
    "<",
    ":",
]


@pytest.mark.parametrize(("line", "level"), [case[1:] for case in LINES], ids=lambda value: value[:30])
def test_lines_of_common_programs_show_their_level(line: str, level: str) -> None:
    assert level_of(line.encode()).decode() == level
    assert level_of_coloured(line.encode()).decode() == level


@pytest.mark.parametrize("line", LINES_WITHOUT_LEVEL)
def test_prose_and_urls_show_no_level(line: str) -> None:
    """A word that only resembles a level does not count."""
    assert level_of(line.encode()) == b""
    assert level_of_coloured(line.encode()) == b""


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("\x1b[32mINFO\x1b[0m:     Started server process [7]", b"info"),
        ("\x1b[2m2024-11-24T12:00:00.123456Z\x1b[0m \x1b[33m WARN\x1b[0m \x1b[2mapp\x1b[0m: slow", b"warning"),
        ("2024-11-24T12:00:00.000Z\t\x1b[1;31mERROR\x1b[0m\tmain.go:12", b"error"),
        ("\x1b[32mfine words\x1b[0m", b""),
        ("\x1b\x1b[m[31mERROR", b""),
    ],
)
def test_levels_are_found_in_coloured_lines(line: str, level: bytes) -> None:
    assert level_of_coloured(line.encode()) == level
