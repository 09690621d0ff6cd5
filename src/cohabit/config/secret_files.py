"""The files of secrets and configs, put where the services look for them: once all is found fine, and before any start.

What the engine mounted there is used as it is. Everything else is written beside its place and moved there, so
that nobody ever finds half of it, with the rights that its service needs. One container has one /run/secrets:
what several services share must be the same file for all. Texts pass through here and nowhere else in the
loader; no message has any of them. A source or a target may be in a directory that a service can change (paths.py).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from cohabit import paths
from cohabit.plan.draft import Diagnostic, SourceLocation
from cohabit.plan.model import GRANTED
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cohabit.plan.draft import Draft
    from cohabit.plan.model import FileMount, Plan, Secret, Service

_OUR_FOLDERS = ("/run/secrets", "/run/configs")
_RECORD = "/run/cohabit/handed-over"
_SECRET_MODE, _SHARED_MODE, _FOLDER_MODE = 0o400, 0o444, 0o755


class Delivery(Record):
    """One file to be there. what: "the secret db"; owner: uid, gid and mode; asked: somebody wrote them."""

    what: str
    source: Secret
    target: str
    owner: tuple[int, int, int]
    asked: bool
    where: SourceLocation


def targets(plan: Plan) -> set[str]:
    """The files that will be there when the services start."""
    return {grant.target for service in plan.services.values() for kind in GRANTED for grant in getattr(service, kind)}


def check_deliveries(plan: Plan, draft: Draft, environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    """What stands in the way of putting them there."""
    found, problems = _deliveries(plan, draft)
    yield from problems
    mounts = _mounts()
    for one in found:
        why = "" if _is_mounted(one.target, mounts) else _why_not(one, environ)
        if why:
            yield Diagnostic(one.where, f"cannot hand over {one.what}: {why}")


def deliver(plan: Plan, draft: Draft, environ: Mapping[str, str]) -> list[Diagnostic]:
    """Put them there; nothing but the file of the first problem is left out."""
    mounts = _mounts()
    problems = []
    for one in _deliveries(plan, draft)[0]:
        if _is_mounted(one.target, mounts) or not _has_source(one.source, environ):
            continue
        try:
            _write(one, _text(one.source, environ))
            _remember(one.target)
        except OSError as error:
            text = f"cannot hand over {one.what}: {error.filename or one.target}: {error.strerror}"
            problems.append(Diagnostic(one.where, f"{text} (mount it there, or give it another target)"))
    return problems


def _deliveries(plan: Plan, draft: Draft) -> tuple[list[Delivery], list[Diagnostic]]:
    """One for each target, and those that do not go together."""
    found: dict[str, Delivery] = {}
    problems: list[Diagnostic] = []
    for service in {one.service: one for one in plan.services.values()}.values():
        for kind in GRANTED:
            declared: dict[str, Secret] = getattr(draft, kind)
            for grant in getattr(service, kind):
                where = draft.services[service.service].place(kind)
                one = _delivery(grant, kind, service, declared[grant.source], where)
                other = found.setdefault(one.target, one)
                if other.what != one.what:
                    text = f"{other.what} is at {one.target} already (give one of them another target)"
                    problems.append(Diagnostic(where, f"services.{service.service}.{kind}: {text}"))
                elif other.owner != one.owner and (other.asked or one.asked):
                    text = f"{one.target} cannot belong to several users (write the same uid, gid and mode for all)"
                    problems.append(Diagnostic(where, f"services.{service.service}.{kind}: {text}"))
                elif other.owner != one.owner:
                    found[one.target] = one.replace(owner=(os.geteuid(), os.getegid(), _SHARED_MODE))
    return list(found.values()), problems


def _delivery(grant: FileMount, kind: str, service: Service, source: Secret, where: SourceLocation) -> Delivery:
    user = service.user if kind == "secrets" else None
    uid, gid = (user.uid, user.gid) if user else (os.geteuid(), os.getegid())
    mode = _SECRET_MODE if kind == "secrets" else _SHARED_MODE
    owner = (
        uid if grant.uid is None else grant.uid,
        gid if grant.gid is None else grant.gid,
        mode if grant.mode is None else grant.mode,
    )
    asked = (grant.uid, grant.gid, grant.mode) != (None, None, None)
    return Delivery(f"the {kind[:-1]} {grant.source}", source, grant.target, owner, asked, where)


def _why_not(one: Delivery, environ: Mapping[str, str]) -> str:
    """Why a file cannot be put there; "" if it can, or is there and nobody has another text for it."""
    source = one.source
    if not _has_source(source, environ):
        if os.path.isfile(one.target):
            return ""
        if source.external:
            return f"{one.target} is not there, and it is external (mount it there, or write file: or environment:)"
        if source.environment:
            return f"the variable {source.environment} is not set (set it for the container, or mount {one.target})"
        return f"{source.file} is not there, and neither is {one.target} (mount one of them)"
    why = _why_not_read(source.file) if source.file else ""
    if why:
        return why
    folder = os.path.dirname(one.target)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        return f"{folder} is no directory (give it another target)"
    if os.path.isdir(one.target):
        return f"{one.target} is a directory (remove it, or give it another target)"
    if _is_anothers(one, environ):
        return f"there is another file at {one.target} (remove it from the image, or give it another target)"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} is not writable for uid {os.geteuid()} (mount it at {one.target}, or give it another target)"
    if os.geteuid() != 0 and one.owner[0] != os.geteuid():
        return f"we are uid {os.geteuid()} and cannot give it to uid {one.owner[0]} (start as root, or remove uid)"
    return ""


def _why_not_read(path: str) -> str:
    try:
        fd, _ = paths.open_to_read(path)
    except OSError as error:
        if error.errno == errno.EACCES:
            return f"{path} is not readable for uid {os.geteuid()} (change its permissions)"
        return f"{path}: {error.strerror} (move it to a directory that only root can change)"
    os.close(fd)
    return ""


def _read(path: str) -> bytes:
    """Raises OSError."""
    fd, _ = paths.open_to_read(path)
    with open(fd, "rb") as file:
        return file.read()


def _is_anothers(one: Delivery, environ: Mapping[str, str]) -> bool:
    """Whether a file is there that we did not put there, in a folder that is not ours to fill."""
    if os.path.dirname(one.target) in _OUR_FOLDERS or not os.path.lexists(one.target):
        return False
    if one.target in _handed_over():
        return False
    try:
        return _read(one.target) != _text(one.source, environ)
    except OSError:
        return True


def _handed_over() -> set[str]:
    """What we have put anywhere since the container was made: a restart of it may find other texts for them."""
    try:
        fd, trusted = paths.open_to_read(_RECORD)
        with open(fd, encoding="utf-8", errors="surrogateescape") as file:
            return set(file.read().split("\0")) if trusted else set()
    except OSError:
        return set()


def _remember(target: str) -> None:
    if os.path.dirname(target) in _OUR_FOLDERS or target in _handed_over():
        return
    try:
        place, fd = paths.open_to_append(_RECORD, mode=0o644, directory_mode=_FOLDER_MODE)
        with place, open(fd, "a", encoding="utf-8", errors="surrogateescape") as file:
            if place.private:
                file.write(f"{target}\0")
    except OSError:
        return  # then another text for it will be refused


def _has_source(source: Secret, environ: Mapping[str, str]) -> bool:
    """Whether there is a text to put there."""
    if source.content is not None:
        return True
    return source.environment in environ if source.environment else os.path.isfile(source.file)


def _text(source: Secret, environ: Mapping[str, str]) -> bytes:
    if source.content is not None:
        return os.fsencode(source.content)
    if source.environment:
        return os.fsencode(environ[source.environment])
    return _read(source.file)


def _write(one: Delivery, text: bytes) -> None:
    with paths.locate(one.target, directory_mode=_FOLDER_MODE, follow=False) as place:
        if (
            place.weak and os.path.dirname(one.target) in _OUR_FOLDERS
        ):  # made by a service before us: it could forge any
            raise OSError(errno.EPERM, place.weak, one.target)
        beside = f".{place.name}.cohabit" if place.private else f".{place.name}.{os.urandom(8).hex()}"
        if place.look(beside) is not None:
            place.unlink(beside)
        fd = place.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, beside)
        try:
            with open(fd, "wb") as file:
                file.write(text)
                file.flush()
                uid, gid, mode = one.owner
                if (uid, gid) != (os.geteuid(), os.getegid()):
                    os.fchown(fd, uid, gid)
                os.fchmod(fd, mode)
            place.rename(beside, place.name)
        except OSError:
            place.unlink(beside)
            raise


def _mounts() -> frozenset[str]:
    """Every mount point, as proc_pid_mountinfo(5) has it; none where there is no /proc."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return frozenset(line.split(" ", 5)[4].replace("\\040", " ") for line in file)
    except OSError:
        return frozenset()


def _is_mounted(target: str, mounts: frozenset[str]) -> bool:
    """Whether a file is there that somebody mounted, alone or with its folder."""
    real = os.path.realpath(target)
    return os.path.isfile(target) and (real in mounts or os.path.dirname(real) in mounts - {"/", "/run"})
