#!/bin/sh
# A server that idles for $2 seconds; exits with 0 on TERM.
trap 'echo "TERM: closing down"; kill "$child" 2>/dev/null; exit 0' TERM
echo "ready to serve"
sleep "$2" &
child=$!
wait "$child"
