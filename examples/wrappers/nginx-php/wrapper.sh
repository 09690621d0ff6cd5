#!/bin/sh
mkdir -p /run/php
php-fpm8.2 --nodaemonize &
nginx -p . -c nginx.conf -g 'daemon off;' &
wait
