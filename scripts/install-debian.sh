#!/bin/sh
# Install the few Debian packages that a fresh machine may lack, and only those.
#
#   libcurl4, libssl3, liblzma5   shared libraries that the mongod of the development wheel loads
#   python3-venv                  only when this Python cannot make a virtual environment
#
# Nothing happens when all are there already, so it is safe to run again. Without apt-get, or without
# root, nothing is installed: the missing names are printed, and the caller goes on.
#
# Usage: scripts/install-debian.sh [PYTHON]
set -eu

python=${1:-python3}
missing=""

command -v dpkg-query >/dev/null 2>&1 || exit 0

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

for library in libcurl4 libssl3 liblzma5; do
    # Newer Debian and Ubuntu name the same library with a t64 suffix.
    is_installed "$library" || is_installed "${library}t64" || missing="$missing $library"
done
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"

[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
    echo "These Debian packages are missing:$missing" >&2
    echo "Install them as root: apt-get install$missing" >&2
    exit 0
fi

echo "Installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of names, meant to be split
apt-get install -qq --yes --no-install-recommends $missing
