#!/bin/bash
# cron does not pass the variables of the container to its jobs.
printenv > /etc/environment
crontab crontab
service cron start
python3 -m http.server 8000
