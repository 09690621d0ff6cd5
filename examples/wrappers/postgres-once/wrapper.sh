#!/bin/bash
set -e
export PGDATA=/var/lib/postgresql/app PATH=/usr/lib/postgresql/15/bin:$PATH
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    su postgres -c 'initdb --auth=trust'
fi
service postgresql start
until pg_isready -U postgres; do sleep 1; done
su postgres -c 'psql --file=schema.sql'
python3 -m http.server 8000
