# shellcheck shell=bash
# The data volume: found by its id, formatted only if it is empty, mounted by UUID. Sourced by bootstrap.sh.

# Block devices of this machine; a test puts a folder of its own here.
: "${SYS_BLOCK:=/sys/block}"
: "${DEV:=/dev}"
: "${FSTAB:=/etc/fstab}"

# volume_device VOLUME_ID
# Prints the device whose NVMe serial number is the volume's id without its hyphen. Names such as nvme1n1 change from
# boot to boot; the serial number does not.
volume_device() {
  local serial=${1/-/} file found
  for file in "$SYS_BLOCK"/*/device/serial; do
    [[ -r $file ]] || continue
    read -r found <"$file" || true
    if [[ $found == "$serial" ]]; then
      file=${file%/device/serial}
      echo "$DEV/${file##*/}"
      return
    fi
  done
  return 1
}

# wait_for_volume VOLUME_ID SECONDS
# Volumes are attached after the machine has started. Prints the device.
wait_for_volume() {
  local deadline=$((SECONDS + $2))
  until volume_device "$1"; do
    if ((SECONDS >= deadline)); then
      echo "Volume $1 was not attached within $2 s" >&2
      return 1
    fi
    sleep 2
  done
}

# is_zero DEVICE
# Whether the first and the last 4 MiB are zero: data without any signature is data, too.
is_zero() {
  local size span=$((4 << 20))
  size=$(blockdev --getsize64 "$1" 2>/dev/null || stat -c %s "$1")
  ((span <= size)) || span=$size
  cmp --silent --bytes="$span" "$1" /dev/zero &&
    cmp --silent --bytes="$span" --ignore-initial="$((size - span)):0" "$1" /dev/zero
}

# format_if_empty DEVICE
# Makes an XFS file system on a disk that holds nothing. Anything else on it but XFS is an error, and left alone.
format_if_empty() {
  local status=0 type
  blkid -p "$1" >/dev/null 2>&1 || status=$?
  case $status in
    0)
      type=$(blkid -p -s TYPE -o value "$1")
      if [[ $type != xfs ]]; then
        echo "$1 holds ${type:-a partition table}, not XFS; it was left alone" >&2
        return 1
      fi
      ;;
    2) # blkid knows nothing on it
      if ! is_zero "$1"; then
        echo "$1 holds data that is no file system; it was left alone" >&2
        return 1
      fi
      mkfs.xfs -q -L clickhouse "$1" # without -f: a last refusal to overwrite
      ;;
    *)
      echo "$1 cannot be read, or is not clearly one thing (blkid: $status); it was left alone" >&2
      return 1
      ;;
  esac
}

# mount_volume DEVICE FOLDER
# Mounts by UUID, now and after every start. Running it again changes nothing.
mount_volume() {
  local uuid
  uuid=$(blkid -p -s UUID -o value "$1")
  mkdir -p "$2"
  # nofail: a machine without its volume can still be looked at; the services themselves require the mount
  if ! grep -q "^UUID=$uuid " "$FSTAB"; then
    echo "UUID=$uuid $2 xfs noatime,nofail,x-systemd.device-timeout=10min 0 0" >>"$FSTAB"
  fi
  mountpoint -q "$2" || mount --fstab "$FSTAB" "$2"
}
