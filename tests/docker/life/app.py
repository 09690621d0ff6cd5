"""One page, for gunicorn (app:wsgi) and for uvicorn (app:asgi): the text PAGE, and gunicorn's main process."""

import os

PAGE = f"{os.environ.get('PAGE', '42')}\n".encode()
MAIN = str(os.getppid())


def wsgi(_environ, start_response):
    """Answer as PEP 3333 has it."""
    start_response("200 OK", [("Content-Length", str(len(PAGE))), ("Main", MAIN)])
    return [PAGE]


async def asgi(scope, _receive, send):
    """Answer as ASGI has it; without a lifespan."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": PAGE})
