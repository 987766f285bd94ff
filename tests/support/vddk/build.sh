#!/bin/bash
# Builds an nbdkit with its vddk plugin, and a stand-in for VMware's library: tests/support/vddk/build.sh OUT
#
# OUT/sbin/nbdkit                     nbdkit of Debian's source package, with the filters that we use and the vddk plugin,
#                                     which no binary package holds
# OUT/vddk/lib64/libvixDiskLib.so.7   vix_disk_lib.c, which serves files in place of VMware's servers
#
# The source comes through apt, from the mirror that this machine uses anyway: of its own release, or of the next one where
# the mirror has dropped that. Nothing outside of OUT is touched. Takes two minutes, once; afterwards only what changed.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }
here=$(dirname "$(readlink -f "$0")")
mkdir -p "$1"
out=$(readlink -f "$1")
exec 9>"$out/.lock" # tests that start at once build once
flock 9

filters=(blocksize cacheextents delay retry)
work=$out/build

# An apt of its own below OUT, which knows the source packages of one release. Prints the name of its configuration.
private_apt() {
  local release=$1 dir=$work/apt-$1 mirror
  mirror=$(sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)
  [ -n "$mirror" ] || mirror=$(sed -n 's/^deb[[:space:]]*\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' \
    /etc/apt/sources.list 2>/dev/null | head -1)
  [ -n "$mirror" ] || { echo "$0: no mirror is configured for apt" >&2; return 1; }
  if [ ! -e "$dir/ready" ]; then
    mkdir -p "$dir"/etc/{apt.conf.d,preferences.d} "$dir"/lists/partial "$dir"/cache/archives/partial
    : >"$dir/status"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$dir/etc/sources.list"
    cat >"$dir/apt.conf" <<CONF
Dir::Etc "$dir/etc";
Dir::Etc::SourceList "$dir/etc/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$dir";
Dir::State::Lists "$dir/lists";
Dir::State::Status "$dir/status";
Dir::Cache "$dir/cache";
APT::Sandbox::User "";
CONF
    APT_CONFIG=$dir/apt.conf apt-get -qq update >&2
    touch "$dir/ready"
  fi
  echo "$dir/apt.conf"
}

fetch_source() {
  local release configuration
  mkdir -p "$work/source"
  cd "$work/source"
  for release in $(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}") trixie; do
    configuration=$(private_apt "$release") || continue
    if APT_CONFIG=$configuration apt-get -qq source --download-only nbdkit >&2; then
      ls -t nbdkit_*.orig.tar.gz | head -1
      return
    fi
  done
  echo "$0: no release's source package of nbdkit can be had" >&2
  return 1
}

build_nbdkit() {
  local archive tree
  [ ! -x "$out/sbin/nbdkit" ] || return 0
  archive=$(fetch_source)
  cd "$work/source"
  tree=$(tar tzf "$archive" | sed -n '1s,/.*,,p')
  [ -d "$tree" ] || tar xzf "$archive"
  cd "$tree"
  # Everything but the server, its filters and the one plugin is left out or never made.
  [ -e config.status ] || ./configure --prefix="$out" --disable-static --disable-perl --disable-python --disable-ocaml \
    --disable-rust --disable-ruby --disable-tcl --disable-lua --disable-golang --disable-torrent --disable-libfuzzer \
    --without-gnutls --without-libguestfs --without-libvirt --without-ssh --without-curl --without-ext2 --without-iso \
    --without-libnbd --without-libblkio --without-bash-completions --without-manpages >/dev/null
  local part
  for part in common/allocators common/bitmap common/gpt common/include common/protocol common/regions common/replacements \
    common/utils server "${filters[@]/#/filters/}" plugins/vddk; do
    if [ -e "$part/Makefile" ]; then make -s -C "$part" "-j${VDDK_BUILD_JOBS:-2}" all >/dev/null; fi
  done
  mkdir -p "$out"/lib/nbdkit/{filters,plugins} "$out/sbin"
  for part in "${filters[@]}"; do cp "filters/$part/.libs/nbdkit-$part-filter.so" "$out/lib/nbdkit/filters/"; done
  cp plugins/vddk/.libs/nbdkit-vddk-plugin.so "$out/lib/nbdkit/plugins/"
  cp plugins/vddk/vddk-structs.h "$out/"
  cp server/nbdkit "$out/sbin/nbdkit.new"
  mv "$out/sbin/nbdkit.new" "$out/sbin/nbdkit"
}

build_library() {
  local library=$out/vddk/lib64/libvixDiskLib.so.7
  [ ! "$library" -nt "$here/vix_disk_lib.c" ] || return 0
  mkdir -p "$out/vddk/lib64"
  gcc -std=gnu11 -O2 -Wall -Wextra -Wno-unused-parameter -shared -fPIC -pthread -I"$out" \
    -Wl,-soname,libvixDiskLib.so.7 -o "$library.new" "$here/vix_disk_lib.c"
  mv "$library.new" "$library"
}

build_nbdkit
build_library
"$out/sbin/nbdkit" vddk --dump-plugin libdir="$out/vddk" | grep -q '^vddk_' ||
  { echo "$0: the plugin does not load" >&2; exit 1; }
rm -rf "$work"
