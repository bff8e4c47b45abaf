#!/bin/bash
# Takes this node out of service in order: no new connections, running queries to their end (at most SECONDS), then a clean
# stop, so that the next start has nothing to repair: ./drain.sh [SECONDS]
set -euo pipefail

set -a
# shellcheck source=/dev/null
source /etc/h3-clickhouse/node.env
# shellcheck source=/dev/null
source /etc/h3-clickhouse/passwords.env
set +a
limit=${1:-600}

ask() {
  CLICKHOUSE_PASSWORD=$H3_ADMIN_PASSWORD clickhouse-client --secure --host "$H3_NODE" --port 9440 --user admin \
    --config-file "$(dirname "$(readlink -f "$0")")/client.xml" --query "$1"
}

if [[ $H3_ROLE == keeper ]]; then
  systemctl stop clickhouse-keeper
  exit
fi
# the load balancer and the pipeline ask on HTTPS; the native port stays for this script and the other servers
ask "SYSTEM STOP LISTEN HTTPS"
end=$((SECONDS + limit))
while (($(ask "SELECT count() FROM system.processes WHERE is_initial_query AND user NOT IN ('admin', 'monitor')") > 0)); do
  ((SECONDS < end)) || { echo "queries still run after $limit s; stopping all the same" && break; }
  sleep 2
done
systemctl stop clickhouse-server
