#!/bin/bash
stop() {
    kill -QUIT $NGINX
    kill -TERM $REDIS
}
trap stop TERM INT
redis-server --dir /var/lib/redis & REDIS=$!
nginx -p . -c nginx.conf -g 'daemon off;' & NGINX=$!
wait
