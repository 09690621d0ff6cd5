#!/bin/sh
# Looks around, then ends with an error: an essential service whose end ends the container.
for second in 3 6 9; do
    sleep 3
    echo "still looking around after $second s"
done
echo "seen enough: leaving with exit code 42" >&2
exit 42
