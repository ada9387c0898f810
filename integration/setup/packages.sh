#!/bin/sh
# Installs the Debian packages of a set, those that are missing only, as root or through sudo.
#
#   integration/setup/packages.sh run|test|race|lint
set -eu

case ${1:-} in
run) set -- fuse3 e2fsprogs fdisk ;;
test) set -- fuse3 fuse2fs e2fsprogs xfsprogs btrfs-progs dosfstools fio fdisk parted rsync attr file xxd vim-tiny xz-utils zstd cryptsetup-bin mtools strace zsh fish libvmdk-utils libvhdi-utils nbdkit nginx-light ;;
race) set -- gcc libc6-dev ;;
lint) set -- shellcheck ;;
*) echo "usage: $0 run|test|race|lint" >&2; exit 2 ;;
esac

command -v dpkg-query >/dev/null || {
	echo "packages: not a Debian machine; needed are (Debian's names): $*" >&2
	exit 0
}

missing=
for pkg in "$@"; do
	case $(dpkg-query -W -f '${db:Status-Status}' "$pkg" 2>/dev/null) in
	installed) ;;
	*) missing="$missing $pkg" ;;
	esac
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "packages: neither root nor sudo; as root: apt-get install$missing" >&2
		exit 1
	}
	sudo=sudo
fi

install() {
	# shellcheck disable=SC2086 # $sudo may be empty
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >"$log" 2>&1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "packages: installing$missing" >&2
# shellcheck disable=SC2086
if install $missing; then
	exit 0
fi
# Lists that are missing or old are the usual reason; then one at a time, so that one bad name does not stop the rest.
# shellcheck disable=SC2086
$sudo apt-get update -qq >/dev/null || true
failed=
for pkg in $missing; do
	install "$pkg" || { failed="$failed $pkg"; sed 's/^/packages: /' "$log" >&2; }
done
[ -z "$failed" ] || {
	echo "packages: could not install$failed" >&2
	exit 1
}
