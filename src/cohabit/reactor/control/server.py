"""The control socket: who may ask, and that nobody who asks can hurt.

A client sends one line, gets an answer, and is hung up on; what the words mean is doors/'. Here is what keeps
process 1 safe from its clients:

  - Who: the kernel says who connected (SO_PEERCRED, SO_PEERGROUPS; unix(7), socket(7)): root, our own user, and
    the group that the file names. The socket itself can be written by everybody, since only a connection has an
    identity, and a refusal in words is better than EACCES.
  - How long: a request has a greatest length and a time in which it has to come, an answer one in which it
    has to be taken.
  - How many: so many clients at once, fewer of them that stay; the others wait in the kernel's queue.
  - How often: after each request no other is looked at for three times as long as it took. So clients get at
    most a quarter of process 1, whatever they ask and however many they are; one alone never notices. Those who
    may not ask, and those who go without having asked, are paid for in the same way with a pause in which nobody
    new is taken; whoever is connected goes on meanwhile.
  - How much: who listens to a stream and does not read gets so much kept for him; what comes then is
    counted and left out. Services never wait for a client. All together get so much kept for them: then a long
    answer is refused, and a stream begins with less.
  - Descriptors: some stay free for the services, however few there are.

Pieces of a stream are written once per turn of the loop, however many there are.
"""

from __future__ import annotations

import resource
import select
import time

from cohabit.api import protocol
from cohabit.api.commands import PendingReply, Subscription
from cohabit.api.protocol import Answer
from cohabit.errors import EXIT_NO_PERMISSION, EXIT_SYSTEM, EXIT_USAGE
from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.budget import Budget
from cohabit.reactor.control import listener
from cohabit.reactor.control.client import Client, hang_up, peer_groups, peer_uid
from cohabit.reactor.control.guarded import guarded
from cohabit.reactor.linux import os
from cohabit.reactor.shortage import is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cohabit.api.commands import Outcome
    from cohabit.reactor.poller import Registry
    from cohabit.reactor.rundir import RuntimeDirectory

    Ask = Callable[[bytes, bool, bool], Outcome]

SOCKET_NAME = "control"
CLIENTS_MAX = 100
LASTING_MAX = 80  # of them, those who wait or listen
REQUEST_SECONDS = 5.0
CROWDED_SECONDS = 0.5  # instead, once all places are taken
ANSWER_SECONDS = 10.0
LEAVE_SECONDS = 1.0  # for one whose request would end him, too
KEPT_BYTES_MAX = 262_144  # of a stream, for a client who does not read
UNREAD_BYTES_MAX = 8_388_608  # for all clients, before one more answer that is longer than that
_ACCEPTED_AT_ONCE = 2 * CLIENTS_MAX  # the kernel's queue holds about CLIENTS_MAX
_SPARE = 32  # descriptors that are never a client's
_FULL_SECONDS = 1.0  # without a descriptor for one more client, who stays in the kernel's queue
_REST = 3.0  # for so many times the time of a request, no other is looked at
_SHORTEST_REST_SECONDS = 0.001
_READ = 65_536


class Control:
    """All clients. ask(line, trusted, again) gives an Outcome or raises RequestError.

    backlog(following): what a stream begins with. group: a further gid that may ask, or None. is_followed: told
    whenever somebody begins or ends to listen to logs.
    """

    def __init__(
        self,
        epoll: Registry,
        directory: RuntimeDirectory,
        *,
        ask: Ask,
        feed: Callable[[Iterable[Any]], None],
        backlog: Callable[[Subscription], list[bytes]],
        is_followed: Callable[[], None],
    ) -> None:
        self._epoll = epoll
        self._directory = directory
        self._ask = ask
        self._feed = feed
        self._backlog = backlog
        self._is_followed = is_followed
        self.group: int | None = None
        self._fd = -1
        self._listening = False
        self._resting_until = 0.0  # 0: not resting
        self._full_until = 0.0  # 0: there are descriptors
        self._paused_until = 0.0  # 0: new clients are taken
        self._visits = Budget()
        self._look_from = 0.0  # monotonic seconds: so long those who wait are not looked at
        self._overlooked = False
        self._clients: dict[int, Client] = {}

    # --- the socket ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Be there for others. Raises OSError where no directory takes a socket."""
        self._fd = listener.listen(f"{self._directory.make()}/{SOCKET_NAME}", CLIENTS_MAX)
        self._listen()

    @property
    def is_open(self) -> bool:
        """Whether the socket is there."""
        return self._fd >= 0

    def close(self) -> None:
        """The end: whoever waits in vain is hung up on; what can be written at once is."""
        self._look_from = 0.0
        self.look()
        for client in list(self._clients.values()):
            self._hang_up(client)
        if self._fd >= 0:
            self.stop_accepting()
            os.close(self._fd)
            self._fd = -1
            listener.remove(f"{self._directory.path}/{SOCKET_NAME}")

    def _listen(self) -> None:
        """Take clients, if we may and have room for one."""
        busy = self._resting_until or self._full_until or self._paused_until or len(self._clients) >= CLIENTS_MAX
        if self._fd >= 0 and not self._listening and not busy:
            self._listening = True
            self._epoll.register(self._fd, select.EPOLLIN)

    def stop_accepting(self) -> None:
        """Leave new clients in the kernel's queue."""
        if self._listening:
            self._listening = False
            self._epoll.unregister(self._fd)

    # --- events --------------------------------------------------------------------------------------

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd == self._fd or fd in self._clients

    def handle(self, fd: int) -> None:
        """Somebody comes, says something, can take more, or has gone."""
        if fd == self._fd:
            if self._listening:
                self._accept()
            return
        client = self._clients[fd]
        if client.held:
            return  # it was ready when another one was, whose request has tired us
        if client.outcome is None and not client.last:
            self._read(client)
        elif client.pending:
            self._write(client)
        else:
            self._close(client)  # only its end is listened for

    def deadline(self) -> float | None:
        """Monotonic seconds at which our patience with somebody ends, or our rest."""
        moments = [client.until for client in self._clients.values() if client.until is not None]
        pauses = (self._resting_until, self._full_until, self._paused_until)
        moments += [moment for moment in pauses if moment]
        if self._overlooked:
            moments.append(self._look_from)
        return min(moments, default=None)

    def due(self, now: float) -> None:
        """What deadline() named."""
        for client in [one for one in self._clients.values() if one.until is not None and one.until <= now]:
            self._close(client)
        if self._resting_until and self._resting_until <= now:
            self._resting_until = 0.0
            for client in self._clients.values():
                if client.held:
                    client.held = False
                    self._epoll.register(client.fd, select.EPOLLIN)
            self._listen()
        if self._full_until and self._full_until <= now:
            self._full_until = 0.0
            self._listen()
        if self._paused_until and self._paused_until <= now:
            self._paused_until = 0.0
            self._listen()

    def _accept(self) -> None:
        """Take those who wait in the kernel's queue, all at once, since those who may not ask are in it, too."""
        began = time.monotonic()
        refused = False
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self._clients) >= CLIENTS_MAX or (fd := self._accept_one()) < 0:
                break
            refused |= not self._welcome(fd)
        if refused:
            self._pause(began)
        if len(self._clients) >= CLIENTS_MAX:
            self.stop_accepting()
            self._hurry()

    def _accept_one(self) -> int:
        """A client's descriptor; -1 when there is none, or no room for one."""
        try:
            return listener.accept(self._fd)
        except OSError as error:
            if not isinstance(error, BlockingIOError) and is_shortage(error):
                self._full_until = time.monotonic() + _FULL_SECONDS
                self.stop_accepting()
            return -1  # else it has gone again

    def _welcome(self, fd: int) -> bool:
        """Take a client that may ask; False for one that was refused, which is gone then."""
        try:
            os.set_blocking(fd, False)
            uid = peer_uid(fd)
            trusted = uid in (0, os.geteuid())
            allowed = trusted or (self.group is not None and self.group in peer_groups(fd))
        except OSError:
            return hang_up(fd, b"")
        if not allowed:
            text = f"user {uid} may not talk to this cohabit: only root and user {os.geteuid()} may"
            also = f", and group {self.group}" if self.group is not None else " (or x-cohabit control_group)"
            return hang_up(fd, protocol.head(EXIT_NO_PERMISSION, text + also))
        client = Client(fd, trusted=trusted, until=time.monotonic() + REQUEST_SECONDS)
        self._clients[fd] = client
        self._epoll.register(fd, select.EPOLLIN)
        if 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE <= fd:
            text = "the last file descriptors are kept for the services (raise ulimit -n)"
            self._answer(client, protocol.head(EXIT_SYSTEM, text))
        return True

    def _pause(self, began: float) -> None:
        """Take no new client for a while, for what somebody without a request has cost."""
        until = self._visits.spend(began)
        if until:
            self._paused_until = until
            self.stop_accepting()

    def _hurry(self) -> None:
        """All places are taken: those who say nothing have less time for it."""
        soon = time.monotonic() + CROWDED_SECONDS
        for client in self._clients.values():
            if client.outcome is None and not client.last and client.until is not None:
                client.until = min(client.until, soon)

    def _read(self, client: Client) -> None:
        began = time.monotonic()
        try:
            data = os.read(client.fd, _READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.line += data
        line, newline, _ = client.line.partition(b"\n")
        if newline:
            self._request(client, line)
        elif not data:
            self._close(client)
            self._pause(began)
        elif len(client.line) > protocol.REQUEST_BYTES_MAX:
            text = f"cannot read the request: it is longer than {protocol.REQUEST_BYTES_MAX} bytes"
            self._answer(client, protocol.head(EXIT_USAGE, text))

    # --- requests ------------------------------------------------------------------------------------

    def _request(self, client: Client, line: bytes) -> None:
        began = time.monotonic()
        client.line = line
        outcome = guarded(lambda: self._ask(line, client.trusted, False))
        if isinstance(outcome, (PendingReply, Subscription)) and self._crowded():
            outcome = Answer(EXIT_SYSTEM, f"{LASTING_MAX} clients are waiting or listening already")
        self._take(client, outcome)
        self._rest(began)

    def _take(self, client: Client, outcome: Outcome) -> None:
        if isinstance(outcome, PendingReply):
            client.outcome, client.until = outcome, None
            self._epoll.modify(client.fd, 0)
            self._feed(outcome.facts)
        elif isinstance(outcome, Subscription):
            pieces = guarded(lambda: self._backlog(outcome))
            if isinstance(pieces, Answer):
                self._reply(client, pieces)
                return
            client.put(protocol.head(0, ""))
            self._begin(client, outcome.kind, pieces)
            client.outcome = outcome
            self._write(client, last=not outcome.on)
            self._is_followed()
        else:
            self._reply(client, outcome)

    def _reply(self, client: Client, answer: Answer) -> None:
        """A whole answer, unless there is too much already that nobody reads."""
        client.then = answer.then
        data = guarded(lambda: protocol.encode(answer))
        if isinstance(data, Answer):
            data = protocol.encode(data)
        if len(data) > KEPT_BYTES_MAX and self._unread() > UNREAD_BYTES_MAX:
            data = protocol.head(EXIT_SYSTEM, "other clients have not read their answers yet (try again)")
        self._answer(client, data)

    def _begin(self, client: Client, kind: str, pieces: list[bytes]) -> None:
        """What a stream begins with, without the oldest of it where others have too much to read still."""
        excess = sum(map(len, pieces)) - max(KEPT_BYTES_MAX, UNREAD_BYTES_MAX - self._unread())
        first = 0
        while client.dropped < excess:
            client.dropped += len(pieces[first])
            first += 1
        client.report_dropped(kind)
        for piece in pieces[first:]:
            client.put(piece)

    def _unread(self) -> int:
        return sum(client.size for client in self._clients.values())

    def _crowded(self) -> bool:
        return sum(client.lasting for client in self._clients.values()) >= LASTING_MAX

    def _rest(self, began: float) -> None:
        """See the charter: a quarter of the time at the most."""
        now = time.monotonic()
        pause = (now - began) * _REST
        if pause >= _SHORTEST_REST_SECONDS:
            self._resting_until = now + pause
            self.stop_accepting()
            for client in self._clients.values():
                if client.outcome is None and not client.last and not client.held:
                    # Not only deaf for it: that it has gone could not be masked, and would wake us all the time.
                    client.held = True
                    self._epoll.unregister(client.fd)
                    client.until = (client.until or now) + pause

    def look(self) -> None:
        """The engine has stepped: answer whoever waited for it, and write what streams have for their listeners.

        Who waits is looked at for a quarter of the time at the most, as in _rest.
        """
        began = time.monotonic()
        lasting = [(client, client.outcome) for client in self._clients.values() if client.lasting]
        waiting = [(client, what) for client, what in lasting if isinstance(what, PendingReply)]
        self._overlooked = bool(waiting) and began < self._look_from
        if waiting and not self._overlooked:
            for client, what in waiting:
                answer = guarded(what.done)
                if answer is not None:
                    self._reply(client, answer)
            now = time.monotonic()
            self._look_from = now + (now - began) * _REST
        for client in list(self._clients.values()):
            if client.pending and client.lasting and client.until is None:
                self._write(client)

    # --- streams -------------------------------------------------------------------------------------

    def listeners(self, kind: str) -> list[tuple[Client, Subscription]]:
        """Those who listen to "events" or "logs", and to whose."""
        clients = self._clients.values()
        found = [(client, client.outcome) for client in clients if client.lasting]
        return [(client, what) for client, what in found if isinstance(what, Subscription) and what.kind == kind]

    def publish(self, kind: str, service: str, record: bytes) -> None:
        """A record for all who listen to this service; it is written at the end of the turn."""
        for client, what in self.listeners(kind):
            if not what.every and service not in what.services:
                continue
            if client.size + len(record) > KEPT_BYTES_MAX and client.pending:
                client.dropped += len(record)
            else:
                client.report_dropped(kind)
                client.put(record)

    # --- writing -------------------------------------------------------------------------------------

    def _answer(self, client: Client, data: bytes) -> None:
        client.put(data)
        self._write(client, last=True)

    def _write(self, client: Client, *, last: bool = False) -> None:
        """Write as much as goes without waiting; then listen for room, for the rest of a stream, or hang up."""
        client.last = client.last or last
        before = client.size
        try:
            client.write()
        except OSError:
            self._close(client)
            return
        if client.pending:
            self._epoll.modify(client.fd, select.EPOLLOUT)
            if client.last and (client.until is None or client.size < before):
                client.until = time.monotonic() + ANSWER_SECONDS
            elif not client.last:
                client.until = None
        elif client.last and client.then:
            client.end()
            client.until = time.monotonic() + LEAVE_SECONDS
            self._epoll.modify(client.fd, 0)
        elif client.last:
            self._close(client)
        else:
            client.until = None
            self._epoll.modify(client.fd, 0)

    def _hang_up(self, client: Client) -> None:
        if client.pending:
            try:
                client.write()
            except OSError:
                pass
        self._close(client)

    def _close(self, client: Client) -> None:
        del self._clients[client.fd]
        if not client.held:
            self._epoll.unregister(client.fd)
        os.close(client.fd)
        self._feed(client.then)
        if isinstance(client.outcome, Subscription):
            self._is_followed()
        self._full_until = 0.0
        self._listen()

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return [*self._clients, *([self._fd] if self._fd >= 0 else [])]

    def to_plain(self) -> dict[str, Any]:
        """The socket and its clients; whoever waited or listened goes on doing so."""
        clients = [
            {
                "fd": one.fd,
                "trusted": one.trusted,
                "line": one.line,
                "asked": one.outcome is not None,
                "last": one.last,
                "pending": b"".join(one.pending),
                "dropped": one.dropped,
                "then": to_plain(one.then),
            }
            for one in self._clients.values()
        ]
        return {"fd": self._fd, "group": self.group, "clients": clients}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called. The engine must be restored before."""
        self._fd, self.group = plain["fd"], plain["group"]
        if self._fd >= 0:
            os.set_inheritable(self._fd, False)
        now = time.monotonic()
        for one in plain["clients"]:
            fd, last = one["fd"], one["last"]
            os.set_inheritable(fd, False)
            client = Client(fd, trusted=one["trusted"], until=now + (ANSWER_SECONDS if last else REQUEST_SECONDS))
            client.line, client.last, client.dropped = one["line"], last, one["dropped"]
            client.then = from_plain(one["then"])
            self._clients[fd] = client
            self._epoll.register(fd, select.EPOLLOUT if last else select.EPOLLIN)
            if one["pending"]:
                client.put(one["pending"])
            if one["asked"] and not last:
                self._go_on(client)
        self._listen()
        self._is_followed()

    def _go_on(self, client: Client) -> None:
        """Its request was accepted before the exec: only what it waits for, or listens to, is found again."""
        client.until = None
        outcome = guarded(lambda: self._ask(client.line, client.trusted, True))
        if isinstance(outcome, Answer):
            self._reply(client, outcome)
            return
        client.outcome = outcome
        self._epoll.modify(client.fd, select.EPOLLOUT if client.pending else 0)
