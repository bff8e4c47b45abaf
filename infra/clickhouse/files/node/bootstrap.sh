#!/bin/bash
# Makes an instance a member of the cluster. cloud-init runs it at the first start of every instance; running it again repairs.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
etc=/etc/h3-clickhouse
exec > >(tee -a /var/log/h3-bootstrap.log) 2>&1
trap 'echo "bootstrap failed at line $LINENO"' ERR

set -a
# shellcheck source=/dev/null
source "$etc/node.env"
set +a
# shellcheck source=volume.sh
source "$here/volume.sh"

main() {
  echo "$(date -u +%FT%TZ) $H3_NODE: $H3_ROLE, ClickHouse $H3_CLICKHOUSE_VERSION"
  if [[ $H3_ATTACH_VOLUME == 1 ]]; then
    attach_volume
  fi
  local device
  device=$(wait_for_volume "$H3_VOLUME_ID" 900)
  format_if_empty "$device"
  mount_volume "$device" /var/lib/clickhouse
  bash "$here/install_packages.sh" "$H3_CLICKHOUSE_VERSION" "$H3_ROLE"
  # a new disk is root's; on an old one the user may have had another number
  if [[ $(stat -c %U /var/lib/clickhouse) != clickhouse ]]; then
    chown -R clickhouse:clickhouse /var/lib/clickhouse
  fi
  python3 "$here/fetch_secrets.py"
  install_configuration
  start_services
  if [[ $H3_ROLE != keeper ]]; then
    python3 "$here/apply_access.py"
  fi
  echo "$(date -u +%FT%TZ) $H3_NODE is up"
}

# The instance that this one replaces lets go of the volume when it ends, which takes a while.
attach_volume() {
  local token instance attempt
  token=$(curl -sSf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' http://169.254.169.254/latest/api/token)
  instance=$(curl -sSf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id)
  for attempt in {1..90}; do
    if volume_device "$H3_VOLUME_ID" >/dev/null ||
      aws ec2 attach-volume --volume-id "$H3_VOLUME_ID" --instance-id "$instance" --device /dev/sdh; then
      return
    fi
    echo "volume $H3_VOLUME_ID cannot be attached yet (try $attempt)"
    sleep 10
  done
}

install_configuration() {
  if [[ $H3_ROLE == keeper ]]; then
    install -D -m 0644 "$here/../keeper/keeper_config.xml" /etc/clickhouse-keeper/keeper_config.xml
    install -D -m 0644 "$etc/keeper.xml" /etc/clickhouse-keeper/keeper_config.d/90-keeper.xml
    install -D -m 0644 "$here/systemd/clickhouse-keeper.service.d/h3.conf" -t /etc/systemd/system/clickhouse-keeper.service.d
  else
    install -D -m 0644 "$here"/../server/config.d/*.xml -t /etc/clickhouse-server/config.d
    install -D -m 0644 "$here"/../server/users.d/*.xml -t /etc/clickhouse-server/users.d
    install -m 0644 "$etc/cluster.xml" /etc/clickhouse-server/config.d/90-cluster.xml
    if [[ $H3_ROLE == both ]]; then
      install -m 0644 "$etc/keeper.xml" /etc/clickhouse-server/config.d/91-keeper.xml
    fi
    install -D -m 0644 "$here/systemd/clickhouse-server.service.d/h3.conf" -t /etc/systemd/system/clickhouse-server.service.d
  fi
  install -m 0644 "$here"/systemd/h3-*.{service,timer} -t /etc/systemd/system
  sed -e "s|@log_group@|$H3_LOG_GROUP|" -e "s|@node@|$H3_NODE|" "$here/cloudwatch-agent.json" >"$etc/cloudwatch-agent.json"
}

start_services() {
  local service=clickhouse-server
  if [[ $H3_ROLE == keeper ]]; then
    service=clickhouse-keeper
  fi
  systemctl daemon-reload
  systemctl enable --now h3-metrics.timer h3-secrets.timer
  /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c "file:$etc/cloudwatch-agent.json"
  systemctl enable "$service"
  systemctl restart "$service"
}

main
