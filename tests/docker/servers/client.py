"""Request http://127.0.0.1:PORT/ every few milliseconds, each time on a new connection; print new answers, and count.

Use: client.py PORT     until SIGTERM
"""

import collections
import signal
import sys
import time
from http.client import HTTPConnection, HTTPException

answers: collections.Counter[str] = collections.Counter()
failures: collections.Counter[str] = collections.Counter()


def report(*_: object) -> None:
    """Print the counts and end."""
    print(f"{sum(answers.values())} answers, failures: {dict(failures)}", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, report)
while True:
    connection = HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        answer = f"{response.read().decode().strip()} by {response.headers['Main']}"
    except (OSError, HTTPException) as error:
        failures[type(error).__name__] += 1
    else:
        if not answers[answer]:
            print("got", answer, flush=True)
        answers[answer] += 1
    finally:
        connection.close()
    time.sleep(0.004)  # some requests are always under way, and the server has time to start again
