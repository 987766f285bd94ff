#!/bin/sh
# Builds vcsim-bed: tests/support/vcsim/build.sh OUT
# Needs Debian 12's golang-go and golang-github-vmware-govmomi-dev. Nothing is fetched: Go looks for packages in
# /usr/share/gocode alone. The first build takes about a minute and fills build/go-cache; a build of an OUT that is newer
# than the sources does nothing.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir -p "$(dirname "$1")"
out=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

mkdir -p "$root/build"
exec 9>"$root/build/.vcsim-bed.lock" # tests that start at once build once
flock 9

if [ -x "$out" ] && [ -z "$(find "$here" \( -name '*.go' -o -name build.sh \) -newer "$out")" ]; then
  exit 0
fi
if [ ! -d /usr/share/gocode/src/github.com/vmware/govmomi/simulator ]; then
  echo "$0: the simulator is missing: apt-get install golang-go golang-github-vmware-govmomi-dev" >&2
  exit 1
fi
go=
for candidate in /usr/lib/go-1.19/bin/go /usr/bin/go "$(command -v go || true)"; do
  if [ -n "$candidate" ] && [ -x "$candidate" ]; then go=$candidate; break; fi
done
[ -n "$go" ] || { echo "$0: no go: apt-get install golang-go" >&2; exit 1; }

# Go follows no symbolic links below GOPATH, hence copies.
gopath=$root/build/vcsim-gopath
rm -rf "$gopath/src/vcsim-bed"
mkdir -p "$gopath/src/vcsim-bed"
cp "$here"/*.go "$gopath/src/vcsim-bed/"
cd "$gopath/src/vcsim-bed"
unset GOROOT GOFLAGS GOBIN
export GOPATH="$gopath:/usr/share/gocode" GO111MODULE=off GOCACHE="$root/build/go-cache" GOTOOLCHAIN=local CGO_ENABLED=0
"$go" build -p "${VCSIM_BUILD_JOBS:-2}" -o "$out.new" vcsim-bed
mv "$out.new" "$out" # never a half-written program
