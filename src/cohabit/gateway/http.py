"""The HTTP server: connections, credentials, and which part of the gateway answers a request.

Each connection has a thread, of which there are at most _CONNECTIONS_MAX; further clients wait in the queue of the
kernel. A client that sends or reads nothing for _PATIENCE_SECONDS is disconnected.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import socket
import threading
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
_SHA = "{SHA}"


_NO_SERVER: Any = None  # socketserver's own, which is not used


class Site:
    """Everything that the connections of one server section need."""

    def __init__(self, gateway: Gateway, server: Server) -> None:
        self.gateway = gateway
        self.server = server
        self._slots = threading.BoundedSemaphore(_CONNECTIONS_MAX)

    def serve(self, listener: socket.socket) -> None:
        """Accept connections for ever."""
        while True:
            self._slots.acquire()
            try:
                connection, _ = listener.accept()
            except OSError:  # the client is gone, or no descriptor is left: the end of another connection frees one
                self._slots.release()
                continue
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            with connection:
                Handler(connection, self)
        except OSError:
            pass  # the client is gone
        finally:
            self.gateway.close()
            self._slots.release()

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

    def do_POST(self) -> None:
        """XML-RPC, and the form of the status page."""
        data = self._body()
        if data is None or not self._admitted():
            return
        if not urlsplit(self.path).path.startswith("/RPC2"):
            self._page()
            return
        try:
            name, values = xml_rpc.parse(data)
        except xml_rpc.InvalidRequestError:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._send(xml_rpc.answer(self._call, name, values), "text/xml")

    def do_GET(self) -> None:
        """The pages and the logs."""
        if not self._admitted():
            return
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

    def _body(self) -> bytes | None:
        """The body of the request; None if it was refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, close=True)
            return None
        if int(length) > _REQUEST_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, close=True)
            return None
        return self.rfile.read(int(length))

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
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def _send(self, data: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
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
                self._send(status_page(self._site.gateway, form.get("message", "")), "text/html; charset=utf-8")
            case "tail.html":
                self._send(tail_page(self._call, form), "text/html; charset=utf-8")
            case "stylesheets/supervisor.css":
                self._send(STYLE, "text/css")
            case "ok.html":
                self._send(b"OK", "text/html")
            case _:
                self._refuse(HTTPStatus.NOT_FOUND)

    def _act(self, form: dict[str, str]) -> None:
        """Carry out an action of the page, and lead back to it. A link on a page of another site is refused."""
        if self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            self._refuse(HTTPStatus.FORBIDDEN)
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
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-Accel-Buffering", "no")
        self.end_headers()
        self.close_connection = True
        self.wfile.flush()
        for piece in data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def listening_sockets(names: Sequence[str], first: int = 3) -> dict[str, socket.socket]:
    """The sockets that were passed to us (sd_listen_fds(3)), by name."""
    return {name: socket.socket(fileno=first + index) for index, name in enumerate(names)}
