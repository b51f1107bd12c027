#!/bin/sh
# Build the documented Dockerfile, and check and fix images of the real container tools. This needs
# root and some packages of Debian, and installs those that are missing. Without the packages in
# `needed`, it prints why and does nothing; without one of the others, pytest skips its tests.
set -eu
cd "$(dirname "$0")/.."

skip() {
    line='=========================================================================='
    printf '%s\n%s\n%s\n' "$line" "IMAGE TEST SKIPPED, NO IMAGE WAS BUILT: $1" "$line"
    exit 0
}

install() {
    command -v apt-get >/dev/null || return 1
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --no-install-recommends --yes "$@"; } >/dev/null
}

missing() {
    for each in "$@"; do command -v "$each" >/dev/null || echo "$each"; done
}

[ "$(id -u)" = 0 ] || skip 'it needs root'
needed='buildah debootstrap docker-registry skopeo umoci'
# shellcheck disable=SC2086
[ -z "$(missing $needed)" ] || install $needed || skip "Debian's packages $needed are missing"
# One by one: a Debian that lacks one of them has the others.
for each in $(missing containerd podman strace); do install "$each" || true; done
[ -z "$(missing docker dockerd)" ] || install docker.io || true
[ -z "$(missing docker)" ] || install docker-cli || true

.venv/bin/python -m pytest -m image tests/acceptance --ignore tests/acceptance/images
exec .venv/bin/python -m pytest -m image -n 2 tests/acceptance/images
