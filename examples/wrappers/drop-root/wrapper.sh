#!/bin/bash
set -e
mkdir -p /data
chown -R www-data /data
gosu www-data python3 ../app/app.py migrate
gosu redis redis-server --dir /var/lib/redis &
gosu www-data gunicorn --chdir ../app --bind 127.0.0.1:8000 app:application
