#!/bin/sh
# Builds the Kubernetes peers of the tests: tests/support/kube/build.sh OUT [PROGRAM...]
# PROGRAM: etcd, kube-apiserver, kube-controller-manager (these when none is named), kubectl, kube-scheduler, kube-proxy, kubelet.
# Versions are pinned by go.mod and go.sum of modules/; modules and objects go to Go's ordinary caches (about 3 GB), so the
# first build on a machine takes minutes and the next clone only links. Needs network the first time, and Go 1.25: where
# the installed one is older it fetches that release as a module. Exit 1 with the reason on stderr where it cannot be had.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 OUT [PROGRAM...]" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- etcd kube-apiserver kube-controller-manager

exec 9>"$out/.lock" # builds that start at once build once
flock 9

stamp=$(cat "$here"/*/go.mod "$here"/*/go.sum "$here"/*/*.go "$here/build.sh" | sha256sum | cut -c1-16)
[ "$(cat "$out/.stamp" 2>/dev/null)" = "$stamp" ] || rm -f "$out"/etcd "$out"/kube*
missing=
for program in "$@"; do
  [ -x "$out/$program" ] || missing="$missing $program"
done
echo "$stamp" >"$out/.stamp"
[ -n "$missing" ] || exit 0

fail() { echo "$0: $*" >&2; exit 1; }

unset GOROOT GOBIN
export GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0
cache=$(go env GOCACHE 2>/dev/null) || fail "no go: apt-get install golang-go"
mkdir -p "$cache"
free_mb=$(df -Pm "$cache" | awk 'NR == 2 {print $4}')
[ "$free_mb" -ge 6000 ] || fail "needs 6 GB free for Go's caches at $cache, there are $free_mb MB"

# The Go of the distribution may be too old to fetch a newer one by itself, as Go 1.21 and later do.
wanted=1.25.5
go_minor=$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
go=go
if [ "${go_minor:-0}" -lt 25 ]; then
  release="golang.org/toolchain@v0.0.1-go$wanted.$(go env GOOS)-$(go env GOARCH)"
  root=$(cd "$here/modules" && GOFLAGS=-mod=mod go mod download -json "$release" 2>/dev/null |
    sed -n 's/^\t*"Dir": "\(.*\)",*$/\1/p')
  [ -n "$root" ] && [ -f "$root/bin/go" ] || fail "needs Go 1.25 or newer, and $release cannot be fetched"
  # Modules are unpacked without execute permission.
  chmod -R u+w "$root/bin" "$root/pkg/tool" && chmod +x "$root/bin"/* "$root"/pkg/tool/*/*
  go=$root/bin/go
  export GOROOT="$root"
fi
export GOTOOLCHAIN=local

cd "$here/modules"
version=$(sed -n 's#^\tk8s.io/kubernetes \(v[0-9.]*\)$#\1#p' go.mod)
base=k8s.io/component-base/version
flags="-s -w -X $base.gitVersion=$version -X $base.gitMajor=1 -X $base.gitMinor=$(echo "$version" | cut -d. -f2)"
for program in $missing; do
  cd "$here/modules"
  package=k8s.io/kubernetes/cmd/$program
  case $program in
    etcd) package=./etcd ;;
  esac
  "$go" build -p "${KUBE_BUILD_JOBS:-2}" -trimpath -buildvcs=false -ldflags "$flags" -o "$out/$program.new" "$package" ||
    fail "$program cannot be built"
  mv "$out/$program.new" "$out/$program" # never a half-written program
done
