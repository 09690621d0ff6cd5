"""config/keys/healthcheck.py: the meaning of each healthcheck. For errors see test_config_wrong.py."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.config.keys.fields import HealthcheckKeys
from cohabit.config.keys.healthcheck import read_probe
from cohabit.plan.model import Probe
from unit.file_story import service

pytestmark = pytest.mark.usefixtures("here")

TCP = Probe("tcp", "127.0.0.1", 80, timeout_seconds=5.0)


def read(*test: str) -> Probe | None:
    """The probe of a valid test."""
    wrong: list[tuple[str, str]] = []

    def report(key: str, text: str, *, warning: bool = False) -> None:
        wrong.append((key, f"{warning} {text}"))

    probe = read_probe(HealthcheckKeys(test=list(test)), report)
    assert wrong == []
    return probe


@pytest.mark.parametrize(
    ("test", "probe"),
    [
        ("[CMD, pg_isready, '-q']", Probe("exec", command=("pg_isready", "-q"), start_interval_seconds=0.5)),
        (
            "[CMD-SHELL, 'curl -f $$URL || exit 1']",
            Probe("exec", command=("/bin/sh", "-c", "curl -f $URL || exit 1"), start_interval_seconds=0.5),
        ),
        ("exit 0", Probe("exec", command=("/bin/sh", "-c", "exit 0"), start_interval_seconds=0.5)),
        ("[TCP, 'localhost:80']", TCP),
        ("[HTTP, 'http://[::1]/x']", Probe("http", "::1", 80, "/x", timeout_seconds=5.0)),
        ("[HTTP, 'unix:/x.sock:/y']", Probe("http", path="/y", socket="/x.sock", timeout_seconds=5.0)),
        ("[UNIX, /run/x.sock]", Probe("unix", socket="/run/x.sock", timeout_seconds=5.0)),
        ("[LOG, 'ready (to|for) accept']", Probe("log", pattern="ready (to|for) accept")),
        ("[NOTIFY]", Probe("notify")),
        ("[FD, 3]", Probe("fd", fd=3)),
        ("[FD, '1023']", Probe("fd", fd=1023)),
        ("NONE", None),
        ("[NONE]", None),
    ],
)
def test_every_kind_has_a_probe_with_its_default_times(test: str, probe: Probe | None) -> None:
    """Docker's defaults, except a timeout of 5 s for connections and two processes per second at most."""
    assert service(f"healthcheck: {{test: {test}}}").probe == probe


def test_http_accepts_statuses_and_headers_in_any_order() -> None:
    """Codes and ranges, also several; a header's value is stripped and may be empty."""
    probe = read(
        "HTTP", "http://127.0.0.1", "Host: a.example", "status=200-204,401", "X-Empty:", "status=503", "A:b: c "
    )
    assert probe is not None
    assert probe.statuses == ((200, 204), (401, 401), (503, 503))
    assert probe.headers == (("Host", "a.example"), ("X-Empty", ""), ("A", "b: c"))


@pytest.mark.parametrize(
    ("keys", "probe"),
    [
        (
            "interval: 1m, timeout: 2s, retries: 5, start_period: 10s, start_interval: 50ms, on_failure: restart",
            TCP.replace(
                interval_seconds=60.0,
                timeout_seconds=2.0,
                retries=5,
                start_period_seconds=10.0,
                start_interval_seconds=0.05,
                on_failure="restart",
            ),
        ),
        ("interval: 0s, timeout: 0s, retries: 0, start_period: 0s, start_interval: 0s", TCP),
        ("on_failure: exit", TCP.replace(on_failure="exit")),
        ("on_failure: none, disable: false", TCP),
        ("disable: true", None),
    ],
)
def test_times_have_the_meaning_of_docker(keys: str, probe: Probe | None) -> None:
    """Zero means the default, as in Docker."""
    assert service(f"healthcheck: {{test: [TCP, 80], {keys}}}").probe == probe


def test_a_disabled_healthcheck_and_one_without_test_are_no_probe() -> None:
    assert service("healthcheck: {disable: true, test: [TCP, nonsense]}").probe is None
    assert service("healthcheck: {interval: 5s}").probe is None


def test_a_written_interval_is_the_watchdog_of_notify_only() -> None:
    notify = service("healthcheck: {test: [NOTIFY], interval: 20s}").probe
    assert notify == Probe("notify", interval_seconds=20.0, watchdog_seconds=20.0)
    fd = service("healthcheck: {test: [FD, 5], interval: 20s}").probe
    assert fd == Probe("fd", fd=5, interval_seconds=20.0)


def test_warnings_of_re_are_not_printed() -> None:
    """A FutureWarning of `re` would be printed to the container's output."""
    with warnings.catch_warnings(record=True) as noise:
        warnings.simplefilter("always")
        assert read("LOG", "[[a]") == Probe("log", pattern="[[a]")
    assert noise == []


@given(st.text())
def test_every_pattern_is_a_probe_or_a_diagnostic(pattern: str) -> None:
    """An accepted pattern can be compiled; any other is reported once."""
    wrong: list[str] = []

    def report(key: str, text: str, *, warning: bool = False) -> None:
        del key, warning
        wrong.append(text)

    probe = read_probe(HealthcheckKeys(test=["LOG", pattern]), report)
    assert (probe is None) == (len(wrong) == 1)
    if probe:
        re.compile(probe.pattern)
