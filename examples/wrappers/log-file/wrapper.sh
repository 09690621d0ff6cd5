#!/bin/sh
touch /var/log/app.log
./app &
service nginx start
tail -f /var/log/nginx/access.log /var/log/app.log
