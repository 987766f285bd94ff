#!/bin/sh
# Builds strict-decode: tests/support/strict_decode/build.sh OUT
# Needs Go 1.23 or later (Debian 12's golang-go is older) and the modules of go.mod, which the Go command fetches and
# checks against go.sum. A build of an OUT that is newer than the sources does nothing.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir -p "$root/build" "$(dirname "$1")"
out=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

exec 9>"$root/build/.strict-decode.lock" # tests that start at once build once
flock 9
if [ -x "$out" ] && [ -z "$(find "$here" -type f -newer "$out")" ]; then exit 0; fi

new_enough() { # "go version go1.26.8 linux/amd64"
  "$1" version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p' |
    { read -r minor && [ "$minor" -ge 23 ]; }
}
go=
for candidate in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go /usr/lib/go-1.*/bin/go; do
  if [ -n "$candidate" ] && [ -x "$candidate" ] && new_enough "$candidate"; then go=$candidate; break; fi
done
[ -n "$go" ] || { echo "$0: no Go 1.23 or later" >&2; exit 1; }

cd "$here"
unset GOROOT GOBIN
export GOFLAGS=-mod=readonly GOTOOLCHAIN=local CGO_ENABLED=0 GOWORK=off
"$go" build -trimpath -buildvcs=false -p "${STRICT_DECODE_BUILD_JOBS:-2}" -ldflags="-s -w" -o "$out.new" .
mv "$out.new" "$out" # never a half-written program
