#!/bin/sh
# Throwaway certificates for tests: pki.sh DIR NAME...
# DIR/ca.pem is the authority (key ca.key); DIR/NAME.pem and DIR/NAME.key belong to a server on localhost, 127.0.0.1 and
# ::1, for 30 days. What is there and valid for another day is kept, so it may run before every test.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 DIR NAME..." >&2; exit 2; }
dir=$1
shift
umask 077
mkdir -p "$dir"
cd "$dir"

# Two tests may start at once.
exec 9>.lock
flock 9

fresh() { [ -s "$1.key" ] && openssl x509 -in "$1.pem" -noout -checkend 86400 >/dev/null 2>&1; }

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }

if ! fresh ca; then
  new_key ca
  openssl req -x509 -new -key ca.key -sha256 -days 30 -subj "/O=throwaway/CN=test authority $(openssl rand -hex 4)" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem.new
  mv ca.pem.new ca.pem
fi
for name in "$@"; do
  # A certificate of an older authority is no use either.
  if fresh "$name" && openssl verify -CAfile ca.pem "$name.pem" >/dev/null 2>&1; then continue; fi
  new_key "$name"
  cat > "$name.ext" <<END
basicConstraints=CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1
END
  openssl req -new -key "$name.key" -subj "/O=throwaway/CN=$name" |
    openssl x509 -req -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 15)" -sha256 -days 30 \
      -extfile "$name.ext" -out "$name.pem.new" 2>/dev/null
  mv "$name.pem.new" "$name.pem"
  rm -f "$name.ext"
done
