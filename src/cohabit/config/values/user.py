"""Users as people write them ("postgres", "33", "www-data:ssl-cert", "1000:1000") -> plan.model.Identity.

Docker's rules: a number needs no passwd entry, and has group 0 without one; a group that is named is the
only one, otherwise the user has all groups of its name.
"""

from __future__ import annotations

import grp
import os
import pwd
from typing import TYPE_CHECKING

from cohabit.plan.model import Credentials
from cohabit.plan.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

_LAST_ID = 2**32 - 2  # the very last number means "leave it" to the kernel


class Users:
    """Users by how they are written, each looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, Credentials] = {}

    def find(self, written: str | None, tell: Callable[[str], None]) -> Credentials | None:
        """Who is meant; None if nobody is written, or nobody is of that name, which is told."""
        if not written:
            return None
        if written not in self._known:
            try:
                self._known[written] = identity(written)
            except LookupError as error:
                tell(str(error.args[0]))
                return None
        return self._known[written]


def with_groups(user: Credentials | None, groups: list[str], tell: Callable[[str], None]) -> Credentials | None:
    """The same user in more groups (group_add); without one, we ourselves: no name and no home, for none changes."""
    if not groups:
        return user
    if user is None:
        user = Credentials(os.geteuid(), os.getegid(), tuple(os.getgroups()))
    added: list[int] = []
    for group in groups:
        try:
            added.append(group_id(group))
        except LookupError as error:
            tell(str(error.args[0]))
    return user.replace(groups=tuple(dict.fromkeys((*user.groups, *added))))


def identity(written: str) -> Credentials:
    """Numbers, groups, name and home of "user[:group]"; LookupError, with a sentence, if there is none."""
    user, colon, group = written.partition(":")
    entry = _passwd(user)
    if entry is None and not user.isdecimal():
        known = [one.pw_name for one in pwd.getpwall()]
        hint = did_you_mean(user, known) or " (add it to the image, or write its number)"
        raise LookupError(f"cannot run as {user!r}: no such user in /etc/passwd{hint}")
    uid = entry.pw_uid if entry else _number(user, "user")
    gid = entry.pw_gid if entry else 0
    if colon:
        gid = group_id(group)
        groups: tuple[int, ...] = (gid,)
    else:
        groups = tuple(os.getgrouplist(entry.pw_name, gid)) if entry else (gid,)
    return Credentials(uid, gid, groups, entry.pw_name if entry else "", entry.pw_dir if entry else "/")


def _passwd(user: str) -> pwd.struct_passwd | None:
    """The passwd entry of a name, else of a number."""
    try:
        return pwd.getpwnam(user)
    except (KeyError, ValueError):
        pass
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else None
    except (KeyError, ValueError, OverflowError):
        return None


def group_id(group: str) -> int:
    """Number of a group that is named, or of a number; LookupError, with a sentence, if there is none."""
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        if group.isdecimal():
            return _number(group, "group")
    known = [one.gr_name for one in grp.getgrall()]
    hint = did_you_mean(group, known) or " (add it to the image, or write its number)"
    raise LookupError(f"cannot find the group {group!r}: no such group in /etc/group{hint}")


def _number(digits: str, what: str) -> int:
    number = int(digits) if len(digits) <= len(str(_LAST_ID)) else _LAST_ID + 1
    if number > _LAST_ID:
        raise LookupError(f"cannot run as {what} {digits[:20]}: there is no such number (it ends at {_LAST_ID})")
    return number
