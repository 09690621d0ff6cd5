"""A web server that answers with a greeting, and reads it once, as most programs read their sources."""

import http.server
import os
import socket

from greeting import GREETING


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every request with the greeting."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{GREETING}\n".encode())


server = http.server.HTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler)
print(f"serving: {GREETING}")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
server.serve_forever()
