#!/bin/sh
# try.sh BUILD: the program that the outside project built copies itself.
set -eu
cd "$1"
rm -f copy.img copy.journal
./outside "$PWD/outside" "$PWD/copy.img" "$PWD/copy.journal"
cmp outside copy.img
if ldd ./outside | grep -E 'zmq|sqlite|yaml'; then
  echo "it links what it does not use" >&2
  exit 1
fi
