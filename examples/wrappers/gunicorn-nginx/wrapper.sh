#!/bin/bash
set -e
mkdir -p /data
python3 ../app/app.py migrate
gunicorn --chdir ../app --bind 127.0.0.1:8000 --workers ${WORKERS:-1} app:application &
sleep 5
exec nginx -p . -c nginx.conf -g 'daemon off;'
