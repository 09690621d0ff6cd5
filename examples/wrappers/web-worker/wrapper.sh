#!/bin/bash
redis-server --dir /var/lib/redis --daemonize yes
until redis-cli ping; do
    echo waiting for Redis
    sleep 1
done
../app/jobs worker &
../app/jobs web &
wait -n
exit $?
