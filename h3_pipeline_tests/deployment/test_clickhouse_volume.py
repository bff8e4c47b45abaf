"""The data volume: an empty disk is formatted, any other is left alone. On files and, as root, on real loop devices."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.clickhouse.user_data import FILES

MIB = 1 << 20
SIZE = 320 * MIB  # XFS wants 300 MiB

pytestmark = pytest.mark.skipif(
    not shutil.which("mkfs.xfs", path="/usr/sbin:/sbin:" + os.environ["PATH"]), reason="xfsprogs is not installed"
)


def shell(script: str, **variables: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a script after volume.sh."""
    environment = {"PATH": f"/usr/sbin:/sbin:{os.environ['PATH']}", **{name: str(v) for name, v in variables.items()}}
    text = f"set -euo pipefail; source '{FILES}/node/volume.sh'; {script}"
    return subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty disk: a sparse file."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def kind(disk: Path) -> str:
    """What blkid finds on a disk."""
    return shell('blkid -p -s TYPE -o value "$DISK" || true', DISK=disk).stdout.strip()


def identity(disk: Path) -> str:
    """The UUID of the file system on a disk."""
    return shell('blkid -p -s UUID -o value "$DISK"', DISK=disk).stdout.strip()


def test_an_empty_disk_is_formatted_once(disk: Path) -> None:
    assert shell('format_if_empty "$DISK"', DISK=disk).returncode == 0
    assert kind(disk) == "xfs"
    uuid = identity(disk)
    assert shell('format_if_empty "$DISK"', DISK=disk).returncode == 0
    assert identity(disk) == uuid


def write(disk: Path, offset: int, content: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda disk: shell('mkfs.ext4 -q -F "$DISK"', DISK=disk), "holds ext4, not XFS"),
        (lambda disk: shell('mkswap "$DISK"', DISK=disk), "holds swap, not XFS"),
        (lambda disk: write(disk, 440, b"\1\2\3\4\0\0" + b"\0" * 64 + b"\x55\xaa"), "it was left alone"),
        (lambda disk: write(disk, 0, b"some database's own format"), "holds data that is no file system"),
        (lambda disk: write(disk, SIZE - 4096, b"the end of a volume group"), "holds data that is no file system"),
    ],
    ids=["ext4", "swap", "partition table", "data at the start", "data at the end"],
)
def test_a_disk_that_holds_something_is_left_alone(disk: Path, make: Callable[[Path], object], says: str) -> None:
    make(disk)
    before = disk.read_bytes()
    done = shell('format_if_empty "$DISK"', DISK=disk)
    assert done.returncode != 0
    assert says in done.stderr
    assert disk.read_bytes() == before


def test_a_disk_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    done = shell('format_if_empty "$DISK"', DISK=tmp_path / "missing")
    assert done.returncode != 0
    assert "left alone" in done.stderr


def devices(folder: Path, **serials: str) -> Path:
    """Block devices as the kernel shows them."""
    for name, serial in serials.items():
        device = folder / name / "device"
        device.mkdir(parents=True)
        (device / "serial").write_text(f"{serial}\n")
    (folder / "loop0").mkdir(parents=True)
    return folder


def test_the_volume_is_found_by_its_id_whatever_its_name(tmp_path: Path) -> None:
    # the kernel pads a serial number with blanks
    found = devices(tmp_path, nvme0n1="vol0aaaaaaaaaaaaaaaa", nvme2n1="vol0bbbbbbbbbbbbbbbb ", nvme1n1="AWS1234")
    done = shell("volume_device vol-0bbbbbbbbbbbbbbbb", SYS_BLOCK=found)
    assert (done.returncode, done.stdout) == (0, "/dev/nvme2n1\n")
    assert shell("volume_device vol-0bbbbbbbbbbbbbbb", SYS_BLOCK=found).returncode == 1


def test_a_volume_that_is_attached_later_is_waited_for(tmp_path: Path) -> None:
    found = devices(tmp_path / "block")
    done = shell(
        '(sleep 1; mkdir -p "$SYS_BLOCK/nvme1n1/device"; echo vol0c >"$SYS_BLOCK/nvme1n1/device/serial") & '
        "wait_for_volume vol-0c 30",
        SYS_BLOCK=found,
    )
    assert done.stdout == "/dev/nvme1n1\n"


def test_a_volume_that_never_comes_is_an_error(tmp_path: Path) -> None:
    done = shell("wait_for_volume vol-0c 0", SYS_BLOCK=devices(tmp_path))
    assert done.returncode == 1
    assert "vol-0c was not attached" in done.stderr


@pytest.fixture
def loop(disk: Path) -> Iterator[Path]:
    """The disk as a block device."""
    done = shell('losetup --find --show "$DISK"', DISK=disk)
    if done.returncode:
        pytest.skip(f"no loop device can be had here: {done.stderr.strip()}")
    device = Path(done.stdout.strip())
    try:
        yield device
    finally:
        shell('umount "$MOUNT"; losetup --detach "$LOOP"', LOOP=device, MOUNT=disk.parent / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_from_an_empty_disk_to_a_second_start(loop: Path, tmp_path: Path) -> None:
    fstab, folder = tmp_path / "fstab", tmp_path / "data"
    fstab.write_text("# what was there\n")
    first = 'format_if_empty "$LOOP"; mount_volume "$LOOP" "$FOLDER"; findmnt -n -o OPTIONS,FSTYPE "$FOLDER"'
    variables = {"LOOP": loop, "FOLDER": folder, "FSTAB": fstab}
    done = shell(first, **variables)
    assert done.returncode == 0, done.stderr
    assert "noatime" in done.stdout
    assert done.stdout.split()[-1] == "xfs"
    (folder / "part").write_text("rows")
    table = fstab.read_text()
    assert (
        table
        == f"# what was there\nUUID={identity(loop)} {folder} xfs noatime,nofail,x-systemd.device-timeout=10min 0 0\n"
    )

    # again, while it is mounted
    assert shell(first, **variables).returncode == 0
    # a reboot: only the table of file systems is left
    again = shell('umount "$FOLDER"; mount --fstab "$FSTAB" "$FOLDER"', **variables)
    assert again.returncode == 0, again.stderr
    assert (folder / "part").read_text() == "rows"
    # a successor of the instance: another table, the same disk
    fstab.write_text("")
    assert shell(f'umount "$FOLDER"; {first}', **variables).returncode == 0
    assert (folder / "part").read_text() == "rows"
    assert fstab.read_text() == table.removeprefix("# what was there\n")
