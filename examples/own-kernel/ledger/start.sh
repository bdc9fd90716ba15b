#!/bin/sh
# A database of its own: made where it starts, and gone with it.
set -e
for bin in /usr/lib/postgresql/*/bin; do PATH=$bin:$PATH; done
export PGDATA=/tmp/data
initdb --auth=trust --username=app --no-sync --no-locale --encoding=UTF8 >/dev/null
exec postgres -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp -c fsync=off
