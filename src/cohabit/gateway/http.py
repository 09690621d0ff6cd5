"""The HTTP server: connections, credentials, and which part of the gateway answers a request.

Each connection has a thread, of which there are at most _CONNECTIONS_MAX. For a further client the connection ends
that has waited longest for a request with the right credentials, so slow clients keep no other out. If there is none,
the client waits in the queue of the kernel. A client that sends or reads nothing for _PATIENCE_SECONDS is disconnected.

Browsers send credentials with the requests of any site. A page of another site can cause two kinds of requests without
the consent of the server: links and forms. A browser says where a link comes from only over HTTPS; without that, an
action needs the token of the links on the status page. XML-RPC with an Origin needs the type of XML, which no form has.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import secrets
import select
import socket
import threading
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cohabit.errors import CohabitError
from cohabit.gateway import xml_rpc
from cohabit.gateway.faults import FAILED, Fault
from cohabit.gateway.follow import follow_log, follow_main_log
from cohabit.gateway.methods.table import call_published
from cohabit.gateway.page import STYLE, action, status_page, tail_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.gateway.configuration import Server
    from cohabit.gateway.gateway import Gateway

_CONNECTIONS_MAX = 48
_PATIENCE_SECONDS = 60.0
_REQUEST_BYTES_MAX = 4 * 1_048_576
_DISCARDED_BYTES = 65_536  # at once, of a body that is not used
_DIGITS_MAX = 18  # of a length
_PAUSE_SECONDS = 1.0  # at most, while no descriptor or no thread is left
_XML = frozenset({"text/xml", "application/xml"})
_SHA = "{SHA}"


_NO_SERVER: Any = None  # socketserver's own, which is not used


class Site:
    """Everything that the connections of one server section need."""

    def __init__(self, gateway: Gateway, server: Server) -> None:
        self.gateway = gateway
        self.server = server
        self.token = secrets.token_urlsafe(16)
        self._slots = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        self._ended = threading.Event()  # a connection has ended
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, None] = {}  # for a request, the oldest first

    def serve(self, listener: socket.socket) -> None:
        """Accept connections for ever."""
        while True:
            select.select([listener], [], [])
            if not self._slots.acquire(blocking=False):
                self._end_oldest()
                self._slots.acquire()
            self._ended.clear()
            if not self._accept(listener):
                self._slots.release()

    def _accept(self, listener: socket.socket) -> bool:
        """Accept one connection; False if that failed. The end of another one frees a descriptor and a thread."""
        try:
            connection, _ = listener.accept()
        except ConnectionError:  # the client is gone
            return False
        except OSError:
            self._end_oldest()
            self._ended.wait(_PAUSE_SECONDS)
            return False
        try:
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()
        except RuntimeError:  # no thread can be created
            connection.close()
            self._ended.wait(_PAUSE_SECONDS)
            return False
        return True

    def _end_oldest(self) -> None:
        """End the connection that waits longest for a request."""
        with self._lock:
            for connection in self._waiting:
                del self._waiting[connection]
                with contextlib.suppress(OSError):  # it has just ended
                    connection.shutdown(socket.SHUT_RDWR)
                return

    def waits(self, connection: socket.socket) -> None:
        """It waits for a request."""
        with self._lock:
            self._waiting[connection] = None

    def works(self, connection: socket.socket) -> None:
        """It has got one with the right credentials, or it has ended."""
        with self._lock:
            self._waiting.pop(connection, None)

    def _talk(self, connection: socket.socket) -> None:
        try:
            with connection:
                try:
                    Handler(connection, self)
                finally:
                    self.works(connection)
        except OSError:
            pass  # the client is gone
        finally:
            self.gateway.close()
            self._slots.release()
            self._ended.set()

    def admits(self, authorization: str | None) -> bool:
        """Whether a request has the credentials of this server, if it has some."""
        if not self.server.username:
            return True
        kind, _, encoded = (authorization or "").partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        wanted = self.server.password
        if wanted.startswith(_SHA):
            wanted, password = wanted.removeprefix(_SHA).lower(), hashlib.sha1(password.encode()).hexdigest()  # noqa: S324
        right = hmac.compare_digest(user.encode(), self.server.username.encode())
        return kind.lower() == "basic" and hmac.compare_digest(password.encode(), wanted.encode()) and right


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "cohabit"
    sys_version = ""
    timeout = _PATIENCE_SECONDS
    disable_nagle_algorithm = False
    wbufsize = 65_536  # the headers and the body in one packet

    def __init__(self, connection: socket.socket, site: Site) -> None:
        self._site = site
        super().__init__(connection, ("", 0), _NO_SERVER)

    def log_message(self, *_: object) -> None:
        """No request is logged, as in supervisord."""

    def handle_one_request(self) -> None:
        """A request; a fault of ours ends only its connection."""
        self._site.waits(self.connection)
        try:
            super().handle_one_request()
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - as above
            traceback.print_exc()
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, close=True)

    def parse_request(self) -> bool:
        """The head of a request; refuses a path that is not one."""
        if not super().parse_request():
            return False
        try:
            urlsplit(self.path)
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST, close=True)
            return False
        return True

    def do_POST(self) -> None:
        """XML-RPC, and the form of the status page."""
        length = self._length()
        if length is None:
            return
        if not self._admitted():
            self._discard(length)
            return
        data = self.rfile.read(length)
        self._site.works(self.connection)
        if not urlsplit(self.path).path.startswith("/RPC2"):
            self._page()
            return
        if "Origin" in self.headers and self.headers.get_content_type() not in _XML:
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        try:
            name, values = xml_rpc.parse(data)
        except xml_rpc.InvalidRequestError:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._send(xml_rpc.answer(self._call, name, values), "text/xml")

    def do_GET(self) -> None:
        """The pages and the logs."""
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # the body is not read, and is not the next request
        if not self._admitted():
            return
        self._site.works(self.connection)
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/RPC2"):
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif path.startswith("/logtail/"):
            name, _, channel = path.removeprefix("/logtail/").partition("/")
            self._follow(follow_log(self._site.gateway, name, channel or "stdout", self.connection))
        elif path.startswith("/mainlogtail"):
            self._follow(follow_main_log(self._site.gateway, self.connection))
        else:
            self._page()

    def _call(self, name: str, values: Sequence[Any]) -> Any:
        """One method; an error of cohabit is a fault."""
        try:
            return call_published(self._site.gateway, name, values)
        except CohabitError as error:
            raise Fault(FAILED, str(error)) from None

    def _length(self) -> int | None:
        """The length of the body of the request; None if it was refused."""
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) != 1 or not lengths[0].isdecimal() or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, close=True)
            return None
        if len(lengths[0]) > _DIGITS_MAX or int(lengths[0]) > _REQUEST_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, close=True)
            return None
        return int(lengths[0])

    def _discard(self, length: int) -> None:
        """Read a body that is not used, so that the connection can be used further."""
        while length and (data := self.rfile.read(min(length, _DISCARDED_BYTES))):
            length -= len(data)

    def _refuse(self, status: HTTPStatus, *, close: bool = False) -> None:
        """Answer with an error. close: the connection ends, because the body was not read."""
        self.close_connection = self.close_connection or close
        self._send(f"{status.phrase}\n".encode(), "text/plain", status)

    def _admitted(self) -> bool:
        """Whether the credentials are right; answers if not."""
        if self._site.admits(self.headers.get("Authorization")):
            return True
        self.send_response(HTTPStatus.UNAUTHORIZED)
        self.send_header("WWW-Authenticate", 'Basic realm="default"')
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()
        return False

    def _send(self, data: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")  # what a log has is not for the browser to interpret
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _page(self) -> None:
        """The status page, the end of a log, or what a link of the page asks for."""
        parts = urlsplit(self.path)
        form = dict(parse_qsl(parts.query))
        match parts.path.strip("/"):
            case "" | "index.html" if form.get("action"):
                self._act(form)
            case "" | "index.html":
                self._send(self._status(form.get("message", "")), "text/html; charset=utf-8")
            case "tail.html":
                self._send(tail_page(self._call, form), "text/html; charset=utf-8")
            case "stylesheets/supervisor.css":
                self._send(STYLE, "text/css")
            case "ok.html":
                self._send(b"OK", "text/html")
            case _:
                self._refuse(HTTPStatus.NOT_FOUND)

    def _status(self, message: str) -> bytes:
        return status_page(self._site.gateway, message, self._site.token)

    def _is_from_page(self, form: dict[str, str]) -> bool:
        """Whether an action comes from the status page, or from a program that is not a browser."""
        site = self.headers.get("Sec-Fetch-Site")
        if site is not None:
            return site in ("same-origin", "none")
        if not self.headers.get("User-Agent", "").startswith("Mozilla/"):
            return True
        return hmac.compare_digest(form.get("token", "").encode(), self._site.token.encode())

    def _act(self, form: dict[str, str]) -> None:
        """Carry out an action of the page, and lead back to it. A link on a page of another site is refused."""
        if not self._is_from_page(form):
            text = "Open the status page, and use its links: another site may have led you here"
            self._send(self._status(text), "text/html; charset=utf-8", HTTPStatus.FORBIDDEN)
            return
        location = action(self._call, form)
        if location is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _follow(self, data: Iterator[bytes] | None) -> None:
        """Send what comes, in chunks, until the client goes."""
        if data is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain;charset=utf-8")
        self.send_header("X-Content-Type-Options", "nosniff")
        chunked = self.request_version >= "HTTP/1.1"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-Accel-Buffering", "no")
        self.end_headers()
        self.close_connection = True
        self.wfile.flush()
        for piece in data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n" if chunked else b"")
        self.wfile.flush()


def listening_sockets(names: Sequence[str], first: int = 3) -> dict[str, socket.socket]:
    """The sockets that were passed to us (sd_listen_fds(3)), by name."""
    return {name: socket.socket(fileno=first + index) for index, name in enumerate(names)}
