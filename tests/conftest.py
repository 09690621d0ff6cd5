"""Settings of all tests.

Hypothesis has no deadlines, because no test asserts a duration. The profile `quick` of `make test-quick` has a tenth of
the usual examples. Signals that are ignored after a shell's `&` or nohup are reset, because child processes would
ignore them, too.
"""

import gc
import os
import signal

from hypothesis import settings

settings.register_profile("cohabit", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=10)
settings.register_profile("ci", deadline=None, derandomize=True)  # the same examples in each run
settings.load_profile("ci" if os.environ.get("CI") == "true" else "cohabit")

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Exempt modules and collected tests from garbage collection, which would examine them again and again.

    The rest is examined after 50,000 new objects, not after Python's 700: tests make many and keep few.
    """
    gc.freeze()
    gc.set_threshold(50_000)
