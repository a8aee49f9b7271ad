#!/bin/sh
# Install the few Debian packages that a fresh machine may lack, and only those.
#
#   libcurl4, libssl3, liblzma5   shared libraries that the mongod of the development wheel loads
#   python3-venv                  only when this Python cannot make a virtual environment
#   golang-go, openssl            with which the tests verify the log from outside; only when there
#   golang-golang-x-mod-dev       is no such command, and Go's package for checksum databases
#   chromium                      in which the tests look at the console; only when there is no such
#                                 command
#   promtool                      with which the tests check metrics and rules; only when there is no
#                                 such command. It is taken out of Debian's package prometheus, which
#                                 is not installed: that would start a server.
#
# Nothing happens when all are there already, so it is safe to run again. Without apt-get, or without
# root or a sudo that asks nothing, or without an archive to reach, nothing is installed: the missing
# names are printed, and the caller goes on. What needs them says so when it fails.
#
# Usage: scripts/install-debian.sh [PYTHON]
set -eu

python=${1:-python3}
missing=""

command -v dpkg-query >/dev/null 2>&1 || exit 0

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

go_on() {
    echo "These Debian packages are missing:$missing" >&2
    echo "Install them as root: apt-get install$missing" >&2
    take_promtool
    exit 0
}

for library in libcurl4 libssl3 liblzma5; do
    # Newer Debian and Ubuntu name the same library with a t64 suffix.
    is_installed "$library" || is_installed "${library}t64" || missing="$missing $library"
done
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
command -v go >/dev/null 2>&1 || missing="$missing golang-go"
command -v openssl >/dev/null 2>&1 || missing="$missing openssl"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
[ -d /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog ] || missing="$missing golang-golang-x-mod-dev"

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    sudo -n true 2>/dev/null || as_root=none
fi

download() {
    apt-get download -qq prometheus && dpkg-deb --extract ./*.deb .
}

take_promtool() {
    command -v promtool >/dev/null 2>&1 && return 0
    [ -x build/promtool ] && return 0
    command -v apt-get >/dev/null 2>&1 || return 0
    unpacked=$(mktemp -d)
    echo "Taking promtool out of the Debian package prometheus"
    if (cd "$unpacked" && { download || { $as_root apt-get update -qq && download; }; }) \
            2>"$unpacked/said"; then
        mkdir -p build
        install -m 755 "$unpacked/usr/bin/promtool" build/promtool
    else
        cat "$unpacked/said" >&2
        echo "promtool is missing: apt-get update, as root, may help; it is in prometheus" >&2
    fi
    rm -rf "$unpacked"
}

if [ -z "$missing" ]; then
    take_promtool
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1 || [ "$as_root" = none ]; then
    go_on
fi

echo "Installing Debian packages:$missing"
# shellcheck disable=SC2086  # words, meant to be split
$as_root apt-get update -qq || go_on
# shellcheck disable=SC2086  # the same
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq --yes --no-install-recommends $missing || go_on
take_promtool
