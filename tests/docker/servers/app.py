"""One page, for gunicorn (app:wsgi) and for uvicorn (app:asgi): the text PAGE, and gunicorn's main pid."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

PAGE = f"{os.environ.get('PAGE', '42')}\n".encode()
MAIN = str(os.getppid())


def wsgi(_environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """Answer according to PEP 3333."""
    start_response("200 OK", [("Content-Length", str(len(PAGE))), ("Main", MAIN)])
    return [PAGE]


async def asgi(scope: dict[str, Any], _receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Answer according to ASGI, without the lifespan protocol."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": PAGE})
