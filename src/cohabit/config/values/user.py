"""Users ("postgres", "33", "www-data:ssl-cert", "1000:1000") -> plan.model.Credentials, with Docker's rules.

A number does not need a passwd entry; without one its group is 0. An explicit group is the only group; otherwise the
user has all groups of its passwd and group entries.
"""

from __future__ import annotations

import grp
import os
import pwd
from typing import TYPE_CHECKING

from cohabit.nearest import did_you_mean
from cohabit.plan.model import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

_LAST_ID = 2**32 - 2  # the next number, -1, means "unchanged" to the kernel


class Users:
    """A cache of users by their text."""

    def __init__(self) -> None:
        self._known: dict[str, Credentials] = {}

    def find(self, written: str | None, report: Callable[[str], None]) -> Credentials | None:
        """The user; None for an empty text, ":" included, and for an unknown user, which is reported."""
        if not written or written == ":":
            return None
        if written not in self._known:
            try:
                self._known[written] = identity(written)
            except LookupError as error:
                report(str(error.args[0]))
                return None
        return self._known[written]


def with_groups(user: Credentials | None, groups: list[str], report: Callable[[str], None]) -> Credentials | None:
    """The user with further groups (group_add). For None: cohabit's own ids, without name and home."""
    if not groups:
        return user
    if user is None:
        user = Credentials(os.geteuid(), os.getegid(), tuple(os.getgroups()))
    added: list[int] = []
    for group in groups:
        try:
            added.append(group_id(group))
        except LookupError as error:
            report(str(error.args[0]))
    return user.replace(groups=tuple(dict.fromkeys((*user.groups, *added))))


def identity(written: str) -> Credentials:
    """Ids, groups, name and home of "user[:group]". LookupError: why there is no such user.

    As in Docker, an empty user is cohabit's own, and an empty group is the user's.
    """
    user, _, group = written.partition(":")
    user = user or str(os.geteuid())
    entry = _passwd(user)
    if entry is None and not user.isdecimal():
        known = [one.pw_name for one in pwd.getpwall()]
        hint = did_you_mean(user, known) or " (add it to the image, or write its number)"
        raise LookupError(f"unknown user {user!r}: not in /etc/passwd{hint}")
    uid = entry.pw_uid if entry else _number(user, "user")
    gid = entry.pw_gid if entry else 0
    if group:
        gid = group_id(group)
        groups: tuple[int, ...] = (gid,)
    else:
        groups = tuple(os.getgrouplist(entry.pw_name, gid)) if entry else (gid,)
    return Credentials(uid, gid, groups, entry.pw_name if entry else "", entry.pw_dir if entry else "/")


def _passwd(user: str) -> pwd.struct_passwd | None:
    """The passwd entry of a name, otherwise of a number."""
    try:
        return pwd.getpwnam(user)
    except (KeyError, ValueError):
        pass
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else None
    except (KeyError, ValueError, OverflowError):
        return None


def group_id(group: str) -> int:
    """Number of a group, by name or number. LookupError: why there is no such group."""
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        if group.isdecimal():
            return _number(group, "group")
    known = [one.gr_name for one in grp.getgrall()]
    hint = did_you_mean(group, known) or " (add it to the image, or write its number)"
    raise LookupError(f"unknown group {group!r}: not in /etc/group{hint}")


def _number(digits: str, what: str) -> int:
    number = int(digits) if len(digits) <= len(str(_LAST_ID)) else _LAST_ID + 1
    if number > _LAST_ID:
        raise LookupError(f"{what} {digits[:20]} is out of range (write 0 to {_LAST_ID})")
    return number
