#!/bin/sh
# Build the documented Dockerfile for real, and mend images of real sets of packages. Needs root, and
# some packages of Debian, which are installed where they are missing. Where that cannot be, say so
# and do nothing.
set -eu
cd "$(dirname "$0")/.."

skip() {
    line='=========================================================================='
    printf '%s\n%s\n%s\n' "$line" "IMAGE TEST SKIPPED, NO IMAGE WAS BUILT: $1" "$line"
    exit 0
}

[ "$(id -u)" = 0 ] || skip 'it needs root'
needed='buildah debootstrap docker-registry skopeo umoci'
for each in $needed; do
    command -v "$each" >/dev/null && continue
    command -v apt-get >/dev/null || skip "there is neither $each nor apt-get"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get -qq update && apt-get -qq install --no-install-recommends $needed; } >/dev/null ||
        skip "Debian's packages $needed cannot be had"
    break
done
exec .venv/bin/python -m pytest -m image tests/acceptance
