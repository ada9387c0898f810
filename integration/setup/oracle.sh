#!/bin/sh
# Unpacks stock qemu 10.0.2 tools, the reference that the tests compare with, into DIR (default .cache/oracle, or
# $PLATTER_ORACLE). The machine's own qemu, package lists and apt cache are neither used nor changed, and root is not
# needed: apt runs on private lists that are made from the mirror of the machine's own apt sources.
#
#   integration/setup/oracle.sh [DIR]
#
# PLATTER_MIRROR=URL takes another Debian mirror. A DIR that is complete is left as it is.
set -eu

version=10.0.2
tools="qemu-img qemu-io qemu-nbd qemu-storage-daemon"
modules="curl ssh nfs iscsi"

cd "$(dirname "$0")/../.."
dir=${1:-${PLATTER_ORACLE:-$PWD/.cache/oracle}}
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
arch=$(uname -m)-linux-gnu

fail() { echo "oracle: $*" >&2; exit 1; }

ready() {
	for tool in $tools; do
		[ -x "$dir/bin/$tool" ] || return 1
	done
	case $("$dir/bin/qemu-img" --version 2>/dev/null) in
	"qemu-img version $version "*) return 0 ;;
	*) return 1 ;;
	esac
}

if ready; then
	exit 0
fi
for need in apt-get apt-config dpkg ldd awk; do
	command -v $need >/dev/null || fail "$need is missing; the stock tools come as Debian packages"
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keyring ] || fail "$keyring is missing (package debian-archive-keyring)"

mkdir -p "$dir"
work=$(mktemp -d "$dir/.unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/none" "$work/deb" "$work/root"

# The archive addresses of the machine's own sources, one-line and deb822 style, in their order.
mirrors() {
	if [ -n "${PLATTER_MIRROR:-}" ]; then
		echo "$PLATTER_MIRROR"
		return
	fi
	{
		cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
			sed -n 's/^[[:space:]]*deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}//p' |
			awk '/ main/ { print $1, $2 }'
		for f in /etc/apt/sources.list.d/*.sources; do
			[ -r "$f" ] && cat "$f" && echo
		done | awk '
			function flush(  n, u, i) {
				if (uris != "" && enabled) { n = split(uris, u, " "); for (i = 1; i <= n; i++) print u[i], suites }
				uris = suites = ""; enabled = 1
			}
			BEGIN { enabled = 1 }
			/^#/ { next }
			/^[[:space:]]*$/ { flush(); field = ""; next }
			/^[A-Za-z-]+:/ { field = tolower($1); sub(/^[^:]*:[[:space:]]*/, "") }
			field == "uris:" { uris = uris " " $0 }
			field == "suites:" { suites = suites " " $0 }
			field == "enabled:" { enabled = tolower($0) !~ /^no/ }
			END { flush() }'
	} | awk '
		# A line that has only security suites points at another archive.
		{ for (i = 2; i <= NF; i++) if ($i !~ /security/) { if (!seen[$1]++) print $1; next } }'
}

# The machine's way to the net (proxies, timeouts) is kept, everything else of its apt configuration is not: hooks that
# clean /var/cache would touch the machine.
apt-config dump Acquire >"$work/apt.conf"
cat >>"$work/apt.conf" <<CONF
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/none";
Dir::Etc::parts "$work/none";
Dir::Etc::main "$work/none/apt.conf";
Dir::Etc::preferences "$work/none/preferences";
Dir::Etc::preferencesparts "$work/none";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
APT::Sandbox::User "root";
CONF
: >"$work/status"
export APT_CONFIG="$work/apt.conf"

found=
for mirror in $(mirrors); do
	echo "oracle: package lists from $mirror" >&2
	cat >"$work/sources.list" <<SRC
deb [signed-by=$keyring] $mirror bookworm main
deb [signed-by=$keyring] $mirror bookworm-backports main
SRC
	if apt-get -q update >"$work/update.log" 2>&1 && ! grep -q '^[EW]: ' "$work/update.log"; then
		found=$mirror
		break
	fi
	grep '^[EW]: ' "$work/update.log" | sed 's/^/oracle: /' >&2
done
[ -n "$found" ] || fail "no apt source of this machine has Debian's bookworm-backports; set PLATTER_MIRROR"

debversion=$(apt-cache madison qemu-utils | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' | grep -m1 "^1:${version}[+-]" || true)
[ -n "$debversion" ] || fail "$found has qemu-utils $(apt-cache madison qemu-utils |
	awk -F'|' '{ gsub(/ /, "", $2); printf "%s ", $2 }')but not $version"

# fetch PACKAGE[=VERSION]...
fetch() {
	(cd "$work/deb" && apt-get -q download "$@" >"$work/download.log" 2>&1) || { cat "$work/download.log" >&2; return 1; }
	for deb in "$work"/deb/*.deb; do
		dpkg -x "$deb" "$work/root"
		rm "$deb"
	done
}

# The curl driver talks to the libcurl that it was built for, not to the machine's, which may be newer.
fetch "qemu-utils=$debversion" "qemu-block-extra=$debversion" libcurl3-gnutls/bookworm || fail "download failed"

# Debian's name of a library package follows the soname; these are the exceptions.
package() {
	case $1 in
	libz.so.1) echo zlib1g ;;
	libcurl-gnutls.so.4) echo libcurl3-gnutls ;;
	libg*-2.0.so.0) echo libglib2.0-0 ;;
	liblber-2.5.so.0) echo libldap-2.5-0 ;;
	libbrotli*.so.1) echo libbrotli1 ;;
	*) echo "$1" | tr '_A-Z' '-a-z' | sed 's/\([0-9]\)\.so\.\(.*\)$/\1-\2/; s/\.so\.//' ;;
	esac
}
exists() { apt-cache show "$1" >/dev/null 2>&1; }

root=$work/root
libs=$root/usr/lib/$arch:$root/lib/$arch
targets=
for tool in $tools; do targets="$targets $root/usr/bin/$tool"; done
for module in $modules; do
	file=$root/usr/lib/$arch/qemu/block-$module.so
	[ -e "$file" ] && targets="$targets $file"
done
while :; do
	# shellcheck disable=SC2086 # the list of files is meant to be split
	missing=$(LD_LIBRARY_PATH=$libs ldd $targets 2>/dev/null | awk '/=> not found/ { print $1 }' | sort -u)
	[ -n "$missing" ] || break
	wanted=
	for so in $missing; do
		pkg=$(package "$so")
		exists "$pkg" || pkg=$(echo "$so" | tr '_A-Z' '-a-z' | sed 's/\.so\./-/')
		exists "$pkg" || fail "no package known for $so"
		case " $wanted" in *" $pkg/"*) ;; *) wanted="$wanted $pkg/bookworm" ;; esac
	done
	echo "oracle: libraries$wanted" >&2
	# shellcheck disable=SC2086
	fetch $wanted || fail "download failed"
	# shellcheck disable=SC2086
	again=$(LD_LIBRARY_PATH=$libs ldd $targets 2>/dev/null | awk '/=> not found/ { print $1 }' | sort -u)
	[ "$again" != "$missing" ] || fail "still missing after unpacking: $missing"
done

# Only the binaries, modules and libraries are of use.
mkdir -p "$work/keep/usr/bin" "$work/keep/usr/lib/$arch/qemu" "$work/bin"
for tool in $tools; do
	mv "$root/usr/bin/$tool" "$work/keep/usr/bin/"
	cat >"$work/bin/$tool" <<WRAP
#!/bin/sh
# Found through PATH, so that argv[0], which messages show, is the plain name.
export LD_LIBRARY_PATH="$dir/root/usr/lib/$arch" QEMU_MODULE_DIR="$dir/root/usr/lib/$arch/qemu"
export PATH="$dir/root/usr/bin:\$PATH"
exec $tool "\$@"
WRAP
	chmod 755 "$work/bin/$tool"
done
for module in $modules; do
	file=$root/usr/lib/$arch/qemu/block-$module.so
	[ ! -e "$file" ] || mv "$file" "$work/keep/usr/lib/$arch/qemu/"
done
for sub in "$root/usr/lib/$arch" "$root/lib/$arch"; do
	[ ! -d "$sub" ] || find "$sub" -maxdepth 1 -name '*.so*' -exec mv -t "$work/keep/usr/lib/$arch" {} +
done

rm -rf "${dir:?}/root" "${dir:?}/bin"
mv "$work/keep" "$dir/root"
mv "$work/bin" "$dir/bin"
ready || fail "the unpacked tools do not run: $("$dir/bin/qemu-img" --version 2>&1)"
echo "oracle: $("$dir/bin/qemu-img" --version | head -n1) in $dir" >&2
