"""`cohabit down`: everything stops, and the container with it."""

from __future__ import annotations

from cohabit.cli import talk
from cohabit.cli.options import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import Given

VERB = Verb(
    "down",
    "",
    "Stop everything in reverse order of dependencies; then the container ends.",
    talk.ALWAYS,
    details="The same as `docker stop` (SIGTERM to the running cohabit). Returns at once; the container ends with 0.",
    exits=(("0", "the stop has begun"), *talk.EXITS),
)


def main(given: Given, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    values = VERB.parse_options(words, "it stops everything (to stop one service: cohabit stop {})")
    if values["help"]:
        return VERB.show_help()
    given.restore()
    return talk.tell(VERB, values, talk.ask(VERB, values, "down"))
