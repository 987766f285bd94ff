#!/bin/sh
# Records tests/data/openshift_processing.json anew: tests/support/openshift_templates/record.sh [LIBRARY_GO]
# Runs each template of that file through OpenShift's own processor (github.com/openshift/library-go, package
# templateprocessing), and writes down what comes out. To add a case: its name and template, then this.
# Fetches library-go with the Go command, or takes it from the folder LIBRARY_GO where it cannot be fetched. Needs Go 1.23
# or later. The tests read the recorded file alone and need nothing of this.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "$here/../../data" && pwd)/openshift_processing.json
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$here/main.go" "$work"
if [ $# -gt 0 ]; then library=$(cd "$1" && pwd); fi
cd "$work"
export GOFLAGS=-mod=mod GOWORK=off
go mod init record >/dev/null 2>&1
if [ $# -gt 0 ]; then
  go mod edit -require=github.com/openshift/library-go@v0.0.0 -replace="github.com/openshift/library-go=$library"
else
  go get github.com/openshift/library-go@master
fi
go build -o record .
./record <"$data" >recorded.json
mv recorded.json "$data"
