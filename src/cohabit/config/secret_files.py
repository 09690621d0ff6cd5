"""The files of secrets and configs: checked with everything else, written after all checks and before any start.

A file that the engine has mounted at the target is used unchanged. Every other file is written beside its target and
renamed, so that readers never see a partial file, with the owner and mode that its service needs. A container has one
/run/secrets, so services that share a target share one file. Only this module of the loader reads the texts, and no
message contains them. A source or a target may be in a directory that a service can change (paths.py).
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

_OWN_DIRECTORIES = ("/run/secrets", "/run/configs")
_RECORD = "/run/cohabit/handed-over"
_SECRET_MODE, _SHARED_MODE, _DIRECTORY_MODE = 0o400, 0o444, 0o755


class SecretFile(Record):
    """One file to write. what: "the secret db"; owner: uid, gid and mode; explicit: the file specifies some of them."""

    what: str
    source: Secret
    target: str
    owner: tuple[int, int, int]
    explicit: bool
    location: SourceLocation


def targets(plan: Plan) -> set[str]:
    """The paths of all files of secrets and configs; they exist before the services start."""
    return {mount.target for service in plan.services.values() for kind in GRANTED for mount in getattr(service, kind)}


def check_secret_files(plan: Plan, draft: Draft, environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    """A diagnostic for each file that cannot be written."""
    found, diagnostics = _secret_files(plan, draft)
    yield from diagnostics
    mounts = _mounts()
    for one in found:
        why = "" if _is_mounted(one.target, mounts) else _why_not(one, environ)
        if why:
            missing = not _has_source(one.source, environ)
            yield Diagnostic(one.location, f"cannot provide {one.what}: {why}", at_run_time=missing)


def write_secret_files(plan: Plan, draft: Draft, environ: Mapping[str, str]) -> list[Diagnostic]:
    """Write all files; a diagnostic for each one that fails."""
    mounts = _mounts()
    diagnostics = []
    for one in _secret_files(plan, draft)[0]:
        if _is_mounted(one.target, mounts) or not _has_source(one.source, environ):
            continue
        try:
            _write(one, _text(one.source, environ))
            _remember(one.target)
        except OSError as error:
            text = f"cannot provide {one.what}: {error.filename or one.target}: {error.strerror}"
            diagnostics.append(Diagnostic(one.location, f"{text} (mount it there, or choose another target)"))
    return diagnostics


def _secret_files(plan: Plan, draft: Draft) -> tuple[list[SecretFile], list[Diagnostic]]:
    """One file for each target, and the conflicts between services."""
    found: dict[str, SecretFile] = {}
    diagnostics: list[Diagnostic] = []
    for service in {one.service: one for one in plan.services.values()}.values():
        for kind in GRANTED:
            declared: dict[str, Secret] = getattr(draft, kind)
            for mount in getattr(service, kind):
                location = draft.services[service.service].place(kind)
                one = _secret_file(mount, kind, service, declared[mount.source], location)
                other = found.setdefault(one.target, one)
                if other.what != one.what:
                    text = f"{one.target} is already the target of {other.what} (choose another target for one of them)"
                    diagnostics.append(Diagnostic(location, f"services.{service.service}.{kind}: {text}"))
                elif other.owner != one.owner and (other.explicit or one.explicit):
                    text = f"{one.target} has another owner or mode in another service (write the same uid, gid, mode)"
                    diagnostics.append(Diagnostic(location, f"services.{service.service}.{kind}: {text}"))
                elif other.owner != one.owner:
                    found[one.target] = one.replace(owner=(os.geteuid(), os.getegid(), _SHARED_MODE))
    return list(found.values()), diagnostics


def _secret_file(mount: FileMount, kind: str, service: Service, source: Secret, location: SourceLocation) -> SecretFile:
    user = service.user if kind == "secrets" else None
    uid, gid = (user.uid, user.gid) if user else (os.geteuid(), os.getegid())
    mode = _SECRET_MODE if kind == "secrets" else _SHARED_MODE
    owner = (
        uid if mount.uid is None else mount.uid,
        gid if mount.gid is None else mount.gid,
        mode if mount.mode is None else mount.mode,
    )
    explicit = (mount.uid, mount.gid, mount.mode) != (None, None, None)
    return SecretFile(f"the {kind[:-1]} {mount.source}", source, mount.target, owner, explicit, location)


def _why_not(one: SecretFile, environ: Mapping[str, str]) -> str:
    """Why a file cannot be written; "" if it can, or if it exists and its source does not."""
    source = one.source
    if not _has_source(source, environ):
        if os.path.isfile(one.target):
            return ""
        if source.external:
            return f"it is external, and there is no file {one.target} (mount it there, or write file: or environment:)"
        if source.environment:
            return f"the variable {source.environment} is not set (set it for the container, or mount {one.target})"
        return f"there is no file {source.file} or {one.target} (mount one of them)"
    why = _why_not_read(source.file) if source.file and source.file != os.devnull else ""
    if why:
        return why
    directory = os.path.dirname(one.target)
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory):
        return f"{directory} is not a directory (choose another target)"
    if os.path.isdir(one.target):
        return f"{one.target} is a directory (remove it, or choose another target)"
    if _is_foreign(one, environ):
        return f"another file exists at {one.target} (remove it from the image, or choose another target)"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory} is not writable by uid {os.geteuid()} (mount {one.target}, or choose another target)"
    if os.geteuid() != 0 and one.owner[0] != os.geteuid():
        return f"uid {os.geteuid()} cannot make uid {one.owner[0]} its owner (start as root, or remove uid)"
    return ""


def _why_not_read(path: str) -> str:
    try:
        fd, _ = paths.open_to_read(path)
    except OSError as error:
        if error.errno == errno.EACCES:
            return f"{path} is not readable by uid {os.geteuid()} (change its permissions)"
        return f"{path}: {error.strerror} (move it to a directory that only root can change)"
    os.close(fd)
    return ""


def _read(path: str) -> bytes:
    fd, _ = paths.open_to_read(path)
    with open(fd, "rb") as file:
        return file.read()


def _is_foreign(one: SecretFile, environ: Mapping[str, str]) -> bool:
    """Whether the target exists outside /run/secrets and /run/configs and cohabit has not written it."""
    if os.path.dirname(one.target) in _OWN_DIRECTORIES or not os.path.lexists(one.target):
        return False
    if one.target in _written_targets():
        return False
    try:
        return _read(one.target) != _text(one.source, environ)
    except OSError:
        return True


def _written_targets() -> set[str]:
    """The targets that cohabit has written since the container was created: a restart may write other texts there."""
    try:
        fd, trusted = paths.open_to_read(_RECORD)
        with open(fd, encoding="utf-8", errors="surrogateescape") as file:
            return set(file.read().split("\0")) if trusted else set()
    except OSError:
        return set()


def _remember(target: str) -> None:
    if os.path.dirname(target) in _OWN_DIRECTORIES or target in _written_targets():
        return
    try:
        place, fd = paths.open_to_append(_RECORD, mode=0o644, directory_mode=_DIRECTORY_MODE)
        with place, open(fd, "a", encoding="utf-8", errors="surrogateescape") as file:
            if place.private:
                file.write(f"{target}\0")
    except OSError:
        return  # a later start with another text is refused


def _has_source(source: Secret, environ: Mapping[str, str]) -> bool:
    if source.content is not None:
        return True
    if source.environment:
        return source.environment in environ
    return source.file == os.devnull or os.path.isfile(source.file)


def _text(source: Secret, environ: Mapping[str, str]) -> bytes:
    if source.content is not None:
        return os.fsencode(source.content)
    if source.environment:
        return os.fsencode(environ[source.environment])
    return b"" if source.file == os.devnull else _read(source.file)


def _write(one: SecretFile, text: bytes) -> None:
    with paths.locate(one.target, directory_mode=_DIRECTORY_MODE, follow=False) as place:
        # A service that has created the directory could replace any file in it.
        if place.weak and os.path.dirname(one.target) in _OWN_DIRECTORIES:
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
    """Every mount point (proc_pid_mountinfo(5)); none without /proc."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return frozenset(line.split(" ", 5)[4].replace("\\040", " ") for line in file)
    except OSError:
        return frozenset()


def _is_mounted(target: str, mounts: frozenset[str]) -> bool:
    """Whether the file exists and is a mount point, or its directory is one."""
    real = os.path.realpath(target)
    return os.path.isfile(target) and (real in mounts or os.path.dirname(real) in mounts - {"/", "/run"})
