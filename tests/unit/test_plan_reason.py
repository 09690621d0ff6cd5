"""plan/reason.py and reason_text.py: reasons as values, and the one place where they become text."""

from __future__ import annotations

import json
import marshal
from pathlib import Path
from typing import Any

import pytest

from cohabit.api.status import ServiceStatus, reason_to_json
from cohabit.plan import reason as reasons
from cohabit.plan.reason import CAUSES_KEPT, Reason, dependency_failed, end_of_run, exited_too_quickly
from cohabit.plan.reason_text import text_of
from cohabit.plan.record import from_plain, to_plain

KINDS = {name: value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "control.md"

FAILED = end_of_run(3, 2.0)
HOOK: dict[str, Any] = {"hook_stage": "pre_start", "hook_index": 0}
NOT_FOUND = Reason(reasons.NOT_FOUND, 127, path="/x")
FULL = Reason("unhealthy", 1, 9, 2.5, "pre_stop", 1, "db", "/x", "no answer", 3, NOT_FOUND)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, ""),
        (FAILED, "ended with exit code 3 after 2s"),
        (end_of_run(143, 0.25), "ended with SIGTERM (terminated) after 250ms"),
        (end_of_run(137, 2.0, out_of_memory=True), "ended with SIGKILL (killed), out of memory, after 2s"),
        (FAILED.replace(restarts=1), "ended with exit code 3 after 2s; given up after 1 restart"),
        (FAILED.replace(restarts=0), "ended with exit code 3 after 2s; given up after 0 restarts"),
        (
            exited_too_quickly(end_of_run(0, 0.25), 1.0).replace(restarts=3),
            (
                "exited too quickly (process log may have details): it ended with exit code 0 after 250ms, "
                "and its startsecs is 1s; given up after 3 start retries (startretries)"
            ),
        ),
        (
            Reason(reasons.STOP_TIMED_OUT, 137, 9, 12.0),
            "ended with SIGKILL (killed) after 12s, because it did not stop in time",
        ),
        (
            Reason(reasons.STOPPED_UNASKED, 137, 9, 12.0, "pre_stop", 1),
            "ended with SIGKILL (killed) after 12s, before it was asked to stop (its pre_stop hook 2 was running)",
        ),
        (Reason(reasons.KILLED_ON_REQUEST, signal=9), "killed on request (signal 9)"),
        (Reason(reasons.FILES_CHANGED, path="/a/x.py"), "files changed: /a/x.py"),
        (Reason(reasons.FILES_CHANGED, path="/a/x.py", detail="3 others"), "files changed: /a/x.py and 3 others"),
        (Reason(reasons.UNHEALTHY), "unhealthy: its probe failed"),
        (Reason(reasons.SKIPPED, detail="/x does not exist"), "was skipped: /x does not exist (conditions)"),
        (Reason(reasons.HOOK_FAILED, 3, **HOOK), "pre_start hook 1 ended with exit code 3"),
        (
            Reason(reasons.HOOK_FAILED, 127, cause=NOT_FOUND, **HOOK),
            "pre_start hook 1 could not be started: '/x' does not exist",
        ),
        (
            Reason(reasons.HOOK_FAILED, 71, cause=Reason(reasons.LOST, 71), **HOOK),
            "pre_start hook 1 was lost in an internal error",
        ),
        (Reason(reasons.CANNOT_START, 127, cause=NOT_FOUND), "cannot start: '/x' does not exist"),
        (
            dependency_failed("db", Reason(reasons.UNHEALTHY, detail="refused")),
            "cannot start: it waits for db, which was unhealthy: refused",
        ),
        (
            dependency_failed("db", Reason(reasons.HOOK_FAILED, 3, **HOOK)),
            "cannot start: it waits for db, whose pre_start hook 1 ended with exit code 3",
        ),
        (
            dependency_failed("b", dependency_failed("a", FAILED)),
            f"cannot start: it waits for b, which could not start: it waits for a, which {text_of(FAILED)}",
        ),
        (dependency_failed("db", None), "cannot start: it waits for db, which failed"),
        (Reason("of-a-later-release", detail="x"), "x"),
    ],
)
def test_the_text_of_a_reason(reason: Reason | None, expected: str) -> None:
    """It completes "web ..."."""
    assert text_of(reason) == expected


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_kind_has_a_text_and_is_documented(kind: str) -> None:
    """The text is not the fallback for an unknown kind; docs/reference/control.md has the kind."""
    assert text_of(Reason(kind, detail="a detail")) not in ("", kind)
    assert f"`{kind}`" in _PAGE.read_text()


def test_only_known_kinds_are_documented() -> None:
    """The page has no kind that does not exist."""
    table = _PAGE.read_text().partition("### Reasons")[2].partition("### logs")[0].partition("| kind |")[2]
    named = {word for word in table.split("`")[1::2] if "-" in word or word in KINDS.values()}
    assert named - {"cohabit kill", "on_failure: exit"} == set(KINDS.values())


def test_a_reason_crosses_a_reexecution_and_the_socket_with_every_field() -> None:
    """As plain values, and as JSON to a client."""
    assert None not in vars(FULL).values()
    assert from_plain(marshal.loads(marshal.dumps(to_plain(FULL)))) == FULL  # noqa: S302 - our own
    answer = json.loads(json.dumps({"reason": reason_to_json(FULL)}))
    assert ServiceStatus.from_json(answer).reason == FULL


def test_the_object_of_a_reason_has_only_its_fields() -> None:
    """0 is a value; None and empty texts are not."""
    assert reason_to_json(end_of_run(0, 0.0)) == {"kind": "exited", "code": 0, "seconds": 0.0}
    assert reason_to_json(dependency_failed("db", Reason(reasons.UNHEALTHY))) == {
        "kind": "dependency-failed", "service": "db", "cause": {"kind": "unhealthy"},
    }  # fmt: skip


def test_a_long_chain_of_causes_is_cut() -> None:
    """Each level costs stack where a reason is converted, and process 1 must not run out of it."""
    reason = FAILED
    for number in range(3000):
        reason = dependency_failed(f"s{number}", reason)
    assert len(json.dumps(reason_to_json(reason)).split('"cause"')) == CAUSES_KEPT + 1
    assert text_of(reason).startswith("cannot start: it waits for s2999, which could not start: it waits for s2998, ")


def test_texts_from_outside_can_be_hidden() -> None:
    """A secret in the text of a cause is hidden, too."""
    secret = dependency_failed("db", Reason(reasons.CANNOT_START, 126, cause=Reason(reasons.NOT_FOUND, path="/s3cret")))
    hidden = secret.with_texts(lambda text: text.replace("s3cret", "***"))
    assert text_of(hidden) == "cannot start: it waits for db, which could not start: '/***' does not exist"
