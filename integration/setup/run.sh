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

# sample makes a base image with a partition and a file system, and an overlay on it with a snapshot and a dirty bitmap.
sample() {
	dir=$PWD/.cache/run
	PATH=$PATH:/sbin:/usr/sbin
	rm -rf "$dir/base.qcow2" "$dir/sample.qcow2" "$dir/files"
	mkdir -p "$dir/files"
	cp README.md LICENSE "$dir/files/"

	"$platter" create -q -f qcow2 "$dir/base.qcow2" 64M
	"$platter" mount "$dir/base.qcow2" "$mnt"
	printf 'label: gpt\nname=files\n' | sfdisk -q "$mnt/disk.raw"
	mke2fs -q -F -t ext4 -L sample -d "$dir/files" "$mnt/partitions/p1.raw"
	"$platter" unmount "$mnt"

	"$platter" create -q -f qcow2 -b base.qcow2 -F qcow2 "$dir/sample.qcow2"
	"$platter" mount "$dir/sample.qcow2" "$mnt"
	mkdir "$mnt/snapshots/before" "$mnt/bitmaps/since"
	e2label "$mnt/partitions/p1.raw" changed
	"$platter" unmount "$mnt"
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
