"""Client: sends requests to the running cohabit, one method per command of the protocol (docs/reference/control.md)."""

from __future__ import annotations

from cohabit import control
from cohabit.api.status import ContainerStatus, Event, JsonRecord, ServiceStatus, Status
from cohabit.client.connection import RefusedError, Session
from cohabit.client.decoding import decode
from cohabit.client.discovery import ConnectionFailedError
from cohabit.errors import EXIT_NO_PERMISSION, UsageError
from cohabit.plan.record import Record
from cohabit.units import parse_signal, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from cohabit.client.connection import Answer

DROPPED = "dropped"  # the event, or the stream, of a record that says how many bytes were left out


class Version(JsonRecord):
    """The answer to `version`."""

    version: str
    protocol: int
    pid: int


class Health(Record):
    """The answer to `health`: yes or no, and the reason."""

    passed: bool
    text: str


class LogRecord(Record):
    """Lines of a service's output, or of cohabit's own messages. time: Unix seconds.

    The last line has no newline if it is unfinished; then the next record of its stream begins with its rest.
    stream: stdout, stderr, or DROPPED: then data is the number of bytes that were left out.
    """

    service: str
    stream: str
    time: float
    data: bytes


class Client(Session):
    """The running cohabit, one method per command; Session describes path and command.

    Each method raises CohabitError (docs/reference/python.md has the error codes). timeout: seconds, None for no limit;
    when it expires (NoAnswerError), the running cohabit carries on with the request. Streams may be read while other
    requests are sent. A Client must not be used by several threads at a time.
    """

    # --- queries -------------------------------------------------------------------------------------

    def version(self) -> Version:
        """The version of the running cohabit."""
        return Version.from_json(_objects(self.checked("version"))[0])

    def status(self, *services: str, output: int = 0) -> Status:
        """The state of the container and of these services, all without names. output: last lines of each."""
        options = [f"output={output}"] if output else []
        container, *found = _objects(self.checked("status", [*services, *options]))
        return Status(ContainerStatus.from_json(container), tuple(map(ServiceStatus.from_json, found)))

    def health(self, *services: str, live: bool = False) -> Health:
        """Whether these services, or those that count, are ready. live: whether none is unhealthy or has failed."""
        answer = self.request("health", [*services, f"for={'live' if live else 'ready'}"])
        if answer.code not in (0, 1):
            raise RefusedError(answer.message, answer.code, answer.error)
        return Health(answer.code == 0, answer.text)

    def service(self, name: str) -> dict[str, Any]:
        """How a process of the service starts: command, environment, working_dir, user, secret_files, umask.

        Raises RefusedError, also if neither root nor the caller is listening: then the answer must not be acted on.
        """
        answer = self.checked("service", [name])
        if not answer.is_trusted:
            why = "neither root nor this user is listening at this socket, so the answer is not trusted"
            hint = "become the user that cohabit runs as"
            text = self.message(f"{why} ({hint})", "service")
            raise RefusedError(text, EXIT_NO_PERMISSION, control.PERMISSION_DENIED)
        return {**_objects(answer)[0], "supervisor": answer.peer_pid}

    # --- changes -------------------------------------------------------------------------------------

    def start(self, *services: str, wait: bool = True, timeout: float | None = None) -> str:
        """Start services; returns what was done. wait: return when all are ready, and raise if one has failed."""
        return self.checked("start", [*services, *_no_wait(wait)], timeout=timeout).text

    def stop(
        self, *services: str, wait: bool = True, timeout: float | None = None, grace_seconds: float | None = None
    ) -> str:
        """Stop services; they stay down. wait: return when no process of them is left.

        grace_seconds: instead of their grace periods in the file.
        """
        return self.checked("stop", [*services, *_grace(grace_seconds), *_no_wait(wait)], timeout=timeout).text

    def restart(
        self, *services: str, wait: bool = True, timeout: float | None = None, grace_seconds: float | None = None
    ) -> str:
        """Stop services, as `stop` does, and start them, as `start` does."""
        return self.checked("restart", [*services, *_grace(grace_seconds), *_no_wait(wait)], timeout=timeout).text

    def kill(self, *services: str, timeout: float | None = None) -> str:
        """Kill all processes of services, which stay down; returns when none is left."""
        return self.checked("kill", services, timeout=timeout).text

    def pause(self, *services: str) -> str:
        """Stop all processes of services, so that they continue at `unpause`."""
        return self.checked("pause", services, timeout=None).text

    def unpause(self, *services: str) -> str:
        """Let the processes of paused services continue."""
        return self.checked("unpause", services, timeout=None).text

    def signal(self, signal: int | str, *services: str, main_only: bool = False) -> str:
        """Send a signal (15, "TERM" or "SIGTERM") to the main process of services; "KILL" is `kill`.

        main_only: so is KILL, and what follows is as if the process had ended by itself.
        """
        only = ["only=main"] if main_only else []
        return self.checked("kill", [*services, signal_option(self, signal), *only], timeout=None).text

    def wait(self, *services: str, timeout: float | None = None) -> str:
        """Wait until services are ready; without names, all that are to run. Raises RefusedError if one has failed."""
        return self.checked("wait", [*services, "for=ready"], timeout=timeout).text

    def wait_for_exit(self, *services: str, timeout: float | None = None) -> int:
        """Wait until services have ended; returns the exit code of the first one that failed, else 0."""
        return self.checked("wait", [*services, "for=exit"], timeout=timeout).code

    def scale(self, replicas: Mapping[str, int], *, timeout: float | None = None) -> tuple[str, ...]:
        """Set numbers of replicas, by service; returns what changes."""
        return self._reload("scale", [f"{name}={number}" for name, number in replicas.items()], timeout)

    def reload(self, *, timeout: float | None = None) -> tuple[str, ...]:
        """Have the file read again; returns what changes. Raises RefusedError with all problems of the file."""
        return self._reload("reload", [], timeout)

    def _reload(self, name: str, numbers: list[str], timeout: float | None) -> tuple[str, ...]:
        answer = self.request(name, numbers, timeout=timeout)
        texts = tuple(str(decode(line)["text"]) for line in answer.lines())
        if not answer.is_ok:
            raise RefusedError("\n".join((answer.message, *texts)), answer.code, answer.error)
        return texts

    def reexec(self, *, timeout: float | None = None) -> str:
        """Replace the running cohabit by the installed program; returns when it is known that it takes over."""
        return self.checked("reexec", timeout=timeout).text

    def down(self, *, grace_seconds: float | None = None) -> str:
        """Stop everything, and the container with it. Returns at once; the connection ends.

        grace_seconds: of each service, and the total, instead of those in the file.
        """
        text = self.checked("down", _grace(grace_seconds)).text
        self.close()
        return text

    # --- streams -------------------------------------------------------------------------------------

    def events(
        self, *services: str, since: float | None = None, tail: int | None = None, follow: bool = False
    ) -> Iterator[Event]:
        """The recorded events, oldest first; without names, also those of the container. follow: and then new ones.

        since: Unix seconds. tail: at most so many. If this reader was too slow, an event DROPPED has in its text how
        many bytes were left out.
        """
        request = [*services, *stream_options(since, tail, follow=follow)]
        answer = self.checked("events", request, streaming=True)
        try:
            for line in answer.lines():
                value = decode(line)
                if DROPPED in value:
                    yield Event(None, "", DROPPED, str(value[DROPPED]), None)
                else:
                    yield Event.from_json(value)
        finally:
            answer.close()

    def logs(
        self, *services: str, since: float | None = None, tail: int | None = None, follow: bool = False
    ) -> Iterator[LogRecord]:
        """The kept output, oldest first, as `events`. tail: lines of each service. "cohabit": its own messages."""
        request = [*services, *stream_options(since, tail, follow=follow)]
        answer = self.checked("logs", request, streaming=True)
        try:
            yield from log_records(answer)
        finally:
            answer.close()


def _no_wait(wait: bool) -> list[str]:
    return [] if wait else ["wait=no"]


def _grace(seconds: float | None) -> list[str]:
    return [] if seconds is None else [f"grace={seconds:g}"]


def log_records(answer: Answer) -> Iterator[LogRecord]:
    """The records in the body of an answer to `logs`."""
    for header in answer.lines():
        service, stream, moment, length = header.decode("utf-8", "replace").split(" ")
        yield LogRecord(service, stream, float(moment), answer.read(int(length)))


def stream_options(since: float | None, tail: int | None, *, follow: bool) -> Iterator[str]:
    """The options of a request for a stream."""
    if tail is not None:
        yield f"tail={tail}"
    if since is not None:
        yield f"since={since:.6f}"
    if follow:
        yield "follow=yes"


def _objects(answer: Answer) -> list[dict[str, Any]]:
    """The objects in the body of an answer. Raises ConnectionFailedError if it is incomplete."""
    try:
        found = [decode(line) for line in answer.lines()]
    except ValueError:
        found = []
    if not found:
        raise ConnectionFailedError(f"cannot {answer.command}: the answer is incomplete (try again)")
    return found


def signal_option(client: Client, signal: int | str) -> str:
    """The option of `kill` for a signal. Raises UsageError."""
    try:
        return f"signal={signal_name(parse_signal(str(signal))).removeprefix('SIG')}"
    except ValueError as error:
        raise UsageError(client.message(str(error), "signal")) from error
