"""A server that logs as Python's logging does, a traceback now and then, and once what it should not."""

import logging
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
log = logging.getLogger("app")


class Handler(BaseHTTPRequestHandler):
    """/ says hello; /oops fails; /config writes the configuration into the log."""

    def do_GET(self) -> None:
        """Answer, and log it."""
        try:
            if self.path == "/oops":
                int("no such product")
            if self.path == "/config":
                log.warning("token is %s", os.environ.get("TOKEN", "not set"))
        except ValueError:
            log.exception("cannot serve %s", self.path)
            self.send_error(500)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, words: str, *args: object) -> None:
        """As one line of this program's log."""
        log.info(words, *args)


log.info("serving on port 8000")
HTTPServer(("", 8000), Handler).serve_forever()
