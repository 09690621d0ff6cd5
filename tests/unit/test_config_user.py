"""config/values/user.py: users and groups with Docker's rules."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from cohabit.config.values.user import identity
from cohabit.plan.model import Credentials

DATABASE = {
    "app": pwd.struct_passwd(("app", "x", 1000, 1001, "", "/home/app", "/bin/sh")),
    "1234": pwd.struct_passwd(("1234", "x", 77, 78, "", "/odd", "/bin/sh")),
}
GROUPS = {"app": 1001, "certs": 110}


@pytest.fixture(autouse=True)
def _users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two users and two groups, independent of this machine."""
    monkeypatch.setattr(pwd, "getpwnam", DATABASE.__getitem__)
    monkeypatch.setattr(pwd, "getpwuid", {entry.pw_uid: entry for entry in DATABASE.values()}.__getitem__)
    monkeypatch.setattr(pwd, "getpwall", lambda: list(DATABASE.values()))
    groups = {name: grp.struct_group((name, "x", gid, [])) for name, gid in GROUPS.items()}
    monkeypatch.setattr(grp, "getgrnam", groups.__getitem__)
    monkeypatch.setattr(grp, "getgrall", lambda: list(groups.values()))
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 110] if name == "app" else [gid])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("app", Credentials(1000, 1001, (1001, 110), "app", "/home/app")),
        ("1000", Credentials(1000, 1001, (1001, 110), "app", "/home/app")),
        ("app:certs", Credentials(1000, 110, (110,), "app", "/home/app")),
        ("app:0", Credentials(1000, 0, (0,), "app", "/home/app")),
        ("4711", Credentials(4711, 0, (0,), "", "/")),
        ("4711:4712", Credentials(4711, 4712, (4712,), "", "/")),
        ("1234", Credentials(77, 78, (78,), "1234", "/odd")),
        ("4294967294", Credentials(4294967294, 0, (0,), "", "/")),
    ],
)
def test_a_user_is_a_name_or_a_number_with_or_without_a_group(written: str, expected: Credentials) -> None:
    """Numbers need no entry; a name takes precedence over a number; an explicit group is the only one."""
    assert identity(written) == expected


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("ap", "unknown user 'ap': not in /etc/passwd (did you mean 'app'?)"),
        (
            "nobody-else",
            "unknown user 'nobody-else': not in /etc/passwd (add it to the image, or write its number)",
        ),
        ("app:cert", "unknown group 'cert': not in /etc/group (did you mean 'certs'?)"),
        ("-1", "unknown user '-1': not in /etc/passwd (add it to the image, or write its number)"),
        ("4294967295", "user 4294967295 is out of range (write 0 to 4294967294)"),
        (
            "1:" + "9" * 5000,
            "group 99999999999999999999 is out of range (write 0 to 4294967294)",
        ),
    ],
)
def test_an_unknown_user_or_group_is_reported(written: str, why: str) -> None:
    with pytest.raises(LookupError) as error:
        identity(written)
    assert error.value.args == (why,)
