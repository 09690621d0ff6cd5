"""The streams of a real child: stderr that is stdout, and entries for one stream."""

import os
import time

from cohabit.plan.model import Logging
from cohabit.reactor.logs.sink import Sink
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes import spawn
from linux.run import AT_MOST_SECONDS
from linux.spawned import described
from unit.output_story import close_output, new_output, writing

_SCRIPT = 'for n in 1 2 3; do echo "out $n"; echo "err $n" >&2; done; echo last >/dev/stderr'


def _output_of(*logging: Logging, stderr_to_stdout: bool) -> tuple[list[str], list[str], set[str]]:
    """Run the script. Returns the lines on the container's stdout and stderr, and the streams that are recorded."""
    poller = Poller()
    (out, out_end), (err, err_end), null = os.pipe(), os.pipe(), os.open(os.devnull, os.O_RDWR)
    output = new_output(poller, Sink(out_end), Sink(err_end))
    output.name_services(["web"])
    ends, streams = output.reader.open(writing("web", *logging, stderr_to_stdout=stderr_to_stdout), None)
    start = described("sh", "-c", _SCRIPT)
    start.stdio = (null, ends[0], ends[-1])
    pid, errors = spawn.spawn(start)
    for fd in (*ends, errors, null):
        os.close(fd)
    os.waitpid(pid, 0)
    until = time.monotonic() + AT_MOST_SECONDS
    while any(stream.fd >= 0 for stream in streams) and time.monotonic() < until:
        poller.wait(1.0)
    recorded = {kind for _, kind, _ in output.recent_lines.records("web")}
    output.finish(lambda: 1.0)
    close_output(output, out_end, err_end)
    poller.close()
    for fd in (out_end, err_end):
        os.close(fd)
    with open(out, encoding="utf-8") as stdout, open(err, encoding="utf-8") as stderr:
        return stdout.read().splitlines(), stderr.read().splitlines(), recorded


def test_stderr_as_stdout_keeps_the_order_of_all_lines() -> None:
    """Both descriptors are the same pipe, also for what opens /dev/stderr."""
    lines, errors, recorded = _output_of(Logging(before=()), stderr_to_stdout=True)
    assert lines == ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3", "last"]
    assert (errors, recorded) == ([], {"stdout"})


def test_the_streams_of_a_child_go_where_their_entries_say() -> None:
    """Stdout to the container's stderr, and the other way round."""
    swapped = (Logging("raw", stream="stdout", output="stderr"), Logging("raw", stream="stderr", output="stdout"))
    lines, errors, _ = _output_of(*swapped, stderr_to_stdout=False)
    assert (lines, errors) == (["err 1", "err 2", "err 3", "last"], ["out 1", "out 2", "out 3"])
