#!/bin/bash
mkdir -p /data
if [ ! -f /data/password ]; then
    echo "${REDIS_PASSWORD:-$(openssl rand -hex 16)}" > /data/password
fi
export REDIS_PASSWORD=$(cat /data/password)
redis-server --dir /data --requirepass "$REDIS_PASSWORD" --daemonize yes
sleep 2
../app/jobs web
