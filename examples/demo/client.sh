#!/bin/sh
# Works for 9 s, then fails: an essential service whose exit stops the container.
for second in 3 6 9; do
    sleep 3
    echo "still working after $second s"
done
echo "done: exiting with 42" >&2
exit 42
