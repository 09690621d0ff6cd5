#!/bin/sh
# A server that does nothing for $2 seconds and says so; ends well when asked.
trap 'echo "asked to stop: closing down"; kill "$child" 2>/dev/null; exit 0' TERM
echo "ready to serve"
sleep "$2" &
child=$!
wait "$child"
