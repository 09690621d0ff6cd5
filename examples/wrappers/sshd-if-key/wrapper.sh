#!/bin/bash
if [ -n "$PUBLIC_KEY" ]; then
    mkdir -p ~/.ssh
    echo "$PUBLIC_KEY" >> ~/.ssh/authorized_keys
    chmod 700 -R ~/.ssh
    ssh-keygen -A
    service ssh start
fi
python3 -m http.server 8000 &
sleep infinity
