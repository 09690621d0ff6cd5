"""config/keys/hooks.py: pre_start, post_start, pre_stop and post_stop. For errors see test_config_wrong.py."""

from __future__ import annotations

import pytest

from cohabit.plan.model import HOOK_STAGES, Hook
from unit.file_story import reported, service

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("stage", HOOK_STAGES)
def test_hooks_are_commands_in_the_written_order(stage: str) -> None:
    """A string is split without a shell, a list is used as it is; Compose's other keys are ignored."""
    made = service(
        f"{stage}: [{{command: chown -R 'a b' $$HOME}}, "
        "{command: [sh, -c, 'x y'], working_dir: /srv, privileged: true, per_replica: true}]"
    )
    assert made.hooks(stage) == (Hook(("chown", "-R", "a b", "$HOME")), Hook(("sh", "-c", "x y"), working_dir="/srv"))
    others = {*HOOK_STAGES} - {stage}
    assert all(made.hooks(other) == () for other in others)


@pytest.mark.parametrize(
    "environment", ["{A: 1.10, TOKEN: , GONE: }", "[A=1.10, TOKEN, GONE]", "{A: '1.10', TOKEN: $TOKEN, GONE: null}"]
)
def test_the_environment_of_a_hook_has_both_forms(environment: str) -> None:
    """As in a service, a name without a value takes cohabit's own."""
    (hook,) = service(f"pre_stop: [{{command: x, environment: {environment}}}]").pre_stop
    assert hook.environment == {"A": "1.10", "TOKEN": "t0", "GONE": None}


def test_a_hook_may_have_its_own_user() -> None:
    """For example root, to prepare a directory for the service."""
    own, services = service("pre_start: [{command: x, user: '0'}, {command: x}]").pre_start
    assert own.user is not None
    assert own.user.uid == 0
    assert services.user is None


def test_the_image_of_a_hook_is_a_warning() -> None:
    (hook,) = service("pre_start: [{command: x, image: busybox}]", warnings=1).pre_start
    assert hook == Hook(("x",))


def test_each_error_of_a_hook_has_its_line() -> None:
    text = """\
services:
  web:
    command: x
    pre_start:
      - command: x
        environment:
          =: x
      - user: root
        command:
          []
      - command: x && y
        user: nobody-at-all
"""
    assert [line.split(": ")[:2] for line in reported(text)] == [
        ["6", "services.web.pre_start[0].environment"],
        ["9", "services.web.pre_start[1].command"],
        ["11", "warning"],
        ["12", "services.web.pre_start[2].user"],
    ]
