"""Each supervisord.conf of the tests, printed as a cohabit.yaml, is a valid cohabit.yaml."""

from pathlib import Path

import pytest

from cohabit.config.readers import registry
from cohabit.config.supervisord import gateway
from cohabit.config.text.dump import dump
from cohabit.config.writers.compose import plan_to_compose
from cohabit.config.writers.supervisord import as_compose
from cohabit.plan.build import build
from differential.test_supervisord_conf import CONFS, ENVIRON, NAMES, same_machine

__all__ = ["same_machine"]


# That of its socket is a group which only the machine of the oracle has.
_WITHOUT_GROUP = [name for name in NAMES if name != "fcgi.conf"]


@pytest.mark.parametrize("name", _WITHOUT_GROUP)
def test_the_result_is_valid(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the same programs, without those that serve supervisorctl, and none has lost its command."""
    monkeypatch.chdir(CONFS)
    monkeypatch.setattr(gateway, "gethostbyname", lambda _name: "127.0.0.1")
    plan, problems = build(registry.read({"files": [name]}, ENVIRON))
    assert plan is not None, problems
    converted, _ = as_compose(plan)
    path = tmp_path / "cohabit.yaml"
    path.write_text(dump(plan_to_compose(converted)))
    if not converted.services:
        return  # a cohabit.yaml has at least one
    again, problems = build(registry.read({"files": [str(path)]}, ENVIRON))
    assert again is not None, problems
    assert list(again.services) == list(converted.services)
    for one, other in zip(again.services.values(), converted.services.values(), strict=True):
        assert (one.command, one.stop_signal, one.autostart) == (other.command, other.stop_signal, other.autostart)
