#!/bin/sh
# Build the documented Dockerfile for real. Needs root, and buildah and debootstrap of Debian,
# which are installed where they are missing. Where that cannot be, say so and do nothing.
set -eu
cd "$(dirname "$0")/.."

skip() {
    line='=========================================================================='
    printf '%s\n%s\n%s\n' "$line" "IMAGE TEST SKIPPED, NO IMAGE WAS BUILT: $1" "$line"
    exit 0
}

[ "$(id -u)" = 0 ] || skip 'it needs root'
if ! { command -v buildah && command -v debootstrap; } >/dev/null; then
    command -v apt-get >/dev/null || skip 'there is neither buildah and debootstrap, nor apt-get'
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -qq update && apt-get -qq install --no-install-recommends buildah debootstrap; } \
        >/dev/null || skip "Debian's packages buildah and debootstrap cannot be had"
fi
exec .venv/bin/python -m pytest -m image tests/acceptance/test_image.py
