#!/bin/sh
export PORT="${PORT:-8080}"
envsubst '$PORT' < site.conf.template > /etc/nginx/conf.d/site.conf
python3 -m http.server 8000 --directory page &
nginx
tail -f /dev/null
