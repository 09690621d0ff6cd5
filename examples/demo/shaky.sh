#!/bin/sh
# Crashes on its first two starts. The count is kept in a file.
count="${TMPDIR:-/tmp}/cohabit-demo/crashes"
crashes=$(cat "$count" 2>/dev/null || echo 0)
trap 'echo "TERM after $crashes crashes"; kill "$child" 2>/dev/null; rm -f "$count"; exit 0' TERM
if [ "$crashes" -lt 2 ]; then
    echo $((crashes + 1)) >"$count"
    echo "about to crash"
    sleep 1000 &
    sleep 2
    kill -s SEGV $$
fi
echo "stable now, after $crashes crashes"
sleep 60 &
child=$!
wait "$child"
