#!/bin/bash
# Installs ClickHouse at exactly one version on Amazon Linux 2023, unless it is there: ./install_packages.sh VERSION server|keeper
# Also what an image is built with that needs no network at its start. H3_PACKAGES, if set, is an s3:// prefix of the RPMs.
set -euo pipefail

version=$1
case $2 in
  keeper) packages=(clickhouse-keeper) ;;
  *) packages=(clickhouse-common-static clickhouse-server clickhouse-client) ;;
esac

missing=()
for package in "${packages[@]}"; do
  [[ $(rpm -q --qf '%{VERSION}' "$package" 2>/dev/null) == "$version" ]] || missing+=("$package")
done
if ((${#missing[@]})); then
  if [[ -n ${H3_PACKAGES:-} ]]; then
    folder=$(mktemp -d)
    for package in "${missing[@]}"; do
      aws s3 cp --no-progress "$H3_PACKAGES/$package-$version.x86_64.rpm" "$folder/"
    done
    dnf install -y --allowerasing "$folder"/*.rpm
    rm -r "$folder"
  else
    # signed packages of ClickHouse's own repository: https://clickhouse.com/docs/install/redhat
    cat >/etc/yum.repos.d/clickhouse.repo <<'REPO'
[clickhouse]
name=ClickHouse
baseurl=https://packages.clickhouse.com/rpm/lts/
gpgkey=https://packages.clickhouse.com/rpm/lts/repodata/repomd.xml.key
gpgcheck=0
repo_gpgcheck=1
enabled=0
REPO
    dnf install -y --enablerepo=clickhouse "${missing[@]/%/-$version}"
  fi
fi

for package in xfsprogs amazon-cloudwatch-agent; do
  rpm -q "$package" >/dev/null 2>&1 || dnf install -y "$package"
done
