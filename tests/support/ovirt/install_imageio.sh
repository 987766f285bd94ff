#!/bin/sh
# Makes a venv with the real ovirt-imageio daemon and the official Python SDK of oVirt.
#
#   install_imageio.sh VENV_DIR
#
# Needs python3-venv, python3-dev and gcc: imageio has a C extension and comes as source.
# Exit status: 0 both work, 1 the daemon does not; a missing SDK is only reported.
set -eu

venv=${1:?usage: install_imageio.sh VENV_DIR}
python=$venv/bin/python

fail() {
  echo "install_imageio: $1" >&2
  exit 1
}

command -v gcc >/dev/null || fail "gcc is missing (apt: gcc)"
/usr/bin/python3 -c 'import sysconfig, os, sys
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
  fail "Python.h is missing (apt: python3-dev)"

/usr/bin/python3 -m venv "$venv" || fail "cannot make a venv (apt: python3-venv)"
# With wheel present pip builds the old-style packages the way newer ones demand.
"$python" -m pip install --quiet wheel || fail "pip cannot install wheel"
"$python" -m pip install --quiet ovirt-imageio==2.5.1 || fail "pip cannot install ovirt-imageio"

# The package imports without its extension; ask for the extension and the daemon by name.
"$python" -c 'from ovirt_imageio._internal import ioutil, server, version
print("ovirt-imageio", version.string)' || fail "ovirt-imageio is installed but does not import"
[ -e "$venv/bin/ovirt-imageio" ] || fail "the daemon's program is not in $venv/bin"

# The SDK needs libxml2, and libcurl through pycurl, where no ready-made build fits.
if "$python" -m pip install --quiet ovirt-engine-sdk-python &&
  "$python" -c 'import ovirtsdk4.version as v; print("ovirt-engine-sdk-python", v.VERSION)'; then
  :
else
  echo "install_imageio: no Python SDK (apt: libxml2-dev libcurl4-openssl-dev); its test skips" >&2
fi
