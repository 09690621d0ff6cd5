"""`cohabit health`: yes or no, for HEALTHCHECK and exec probes; the lightest of all verbs.

Loads nothing but the connection: at most half as long again as the bare interpreter takes to start.
"""

from __future__ import annotations

from cohabit.cli import connection, discovery, load
from cohabit.cli.options import JSON, SOCKET, Command, Option
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "health",
    "[--ready | --live] [SERVICE...]",
    "Exit with 0 if all is well and with 1 if not, and say why in one line.",
    (
        Option(("--ready",), "ask whether all that was to be started is ready (the default)"),
        Option(("--live",), "ask whether cohabit itself answers and nothing has failed for good"),
        JSON,
        SOCKET,
    ),
    details=(
        "For HEALTHCHECK of Docker, and for exec probes of Kubernetes: --ready as readinessProbe, --live as "
        "livenessProbe. It answers within 5 seconds, whatever happens."
    ),
    exits=(("0", "yes"), ("1", "no, or nobody is there to ask"), ("64", "there is no such service or option")),
    examples=(
        ("HEALTHCHECK CMD cohabit health", "in a Dockerfile"),
        ("cohabit health db && ./migrate", "only if the database is ready"),
    ),
)
_SECONDS = 5.0
_YES, _NO, _USAGE = 0, 1, 64


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, print one line, return 0 or 1."""
    values, services = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    given.restore()
    what = "live" if values["live"] and not values["ready"] else "ready"
    try:
        answer = connection.ask(
            "health", [*services, f"for={what}"], path=values["socket"], seconds=_SECONDS, by="health"
        )
        code, text = answer.code, answer.text
    except discovery.ConnectionFailedError as error:
        code, text = _NO, str(error)
    if code not in (_YES, _NO, _USAGE):
        code = _NO
    wrong = code == _USAGE and not values["json"]
    if wrong:
        text = f"cohabit: {text}" if text.startswith("cannot ") else f"cohabit: cannot health: {text}"
    if values["json"]:
        # The C half of json, and only here: the other half costs as much as everything else, and even this a dlopen.
        text = f'{{"code": {code}, "text": {load("_json").encode_basestring_ascii(text)}}}'
    try:
        os.write(2 if wrong else 1, f"{text}\n".encode("utf-8", "surrogateescape"))
    except OSError:
        pass  # the code says it
    return code
