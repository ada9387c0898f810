#!/bin/sh
# Mounts an image and shows its tree: IMAGE if set, else a sample that is made here. MNT is the mount point.
#
#   IMAGE=disk.qcow2 MNT=/mnt integration/setup/run.sh
set -eu

cd "$(dirname "$0")/../.."
platter=$PWD/bin/platter
image=${IMAGE:-}
mnt=${MNT:-$PWD/.cache/run/mnt}

mkdir -p "$mnt"
if mountpoint -q "$mnt"; then
	"$platter" unmount "$mnt"
fi

# sample makes a base image and an overlay on it, and puts a file system with a few files into the guest disk.
sample() {
	dir=$PWD/.cache/run
	rm -f "$dir/base.qcow2" "$dir/sample.qcow2"
	"$platter" create -q -f qcow2 "$dir/base.qcow2" 64M
	"$platter" mount "$dir/base.qcow2" "$mnt"
	mkfs=$(PATH=$PATH:/sbin:/usr/sbin command -v mke2fs || true)
	if [ -n "$mkfs" ]; then
		rm -rf "$dir/files"
		mkdir -p "$dir/files"
		cp README.md LICENSE "$dir/files/"
		"$mkfs" -q -F -t ext4 -L sample -d "$dir/files" "$mnt/disk.raw"
	else
		echo "the first bytes of the guest disk" | dd of="$mnt/disk.raw" conv=notrunc status=none
	fi
	"$platter" unmount "$mnt"
	"$platter" create -q -f qcow2 -b base.qcow2 -F qcow2 "$dir/sample.qcow2"
}

if [ -z "$image" ]; then
	sample
	image=$PWD/.cache/run/sample.qcow2
fi
"$platter" mount "$image" "$mnt"

echo "$image is mounted on $mnt:"
echo
(cd "$mnt" && ls -lR)
echo
echo "The guest disk is $mnt/disk.raw. Unmount it with:"
echo "  $platter unmount $mnt"
