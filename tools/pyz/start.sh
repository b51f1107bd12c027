#!/bin/sh
# uvshim in one file: this script finds a Python 3.10 or later, which runs the zip archive below.
# UVSHIM_PYTHON names another Python. Under the name "uvpip" the file is uvpip.

[ -z "${ZSH_VERSION-}" ] || emulate sh 2>/dev/null

# -I and -S ignore PYTHON* variables and installed packages. -I would also ignore the user's wish for
# no bytecode, so -B repeats it.
#
# A variable that came from the environment would go to uv, so every name here begins with uvshim_.
start() {
    exec "$uvshim_python" -I -S ${PYTHONDONTWRITEBYTECODE:+-B} "$uvshim_file" "$@"
}

# Set `uvshim_python` to the first one on PATH that the command $2 accepts. The other arguments are
# the names to look for. If $1 is "best", skip two kinds: a Python of a virtual environment, which is
# probably the one to install into, and the shims of pyenv and others, which change PATH for uv.
find_python() {
    uvshim_wanted=$1
    uvshim_accept=$2
    shift 2
    for uvshim_directory in $PATH; do
        if [ "$uvshim_wanted" = best ]; then
            case $uvshim_directory in */shims) continue ;; esac
            [ -e "$uvshim_directory/../pyvenv.cfg" ] && continue
        fi
        set +f
        for uvshim_pattern; do
            # shellcheck disable=SC2231
            for uvshim_python in "$uvshim_directory"/$uvshim_pattern; do
                [ -f "$uvshim_python" ] && [ -x "$uvshim_python" ] && $uvshim_accept && return
            done
        done
        set -f
    done
    return 1
}

is_new() {
    "$uvshim_python" -I -S -c 'import shutil, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

uv_python() {
    uvshim_python=$(UV_PYTHON_PREFERENCE=only-managed \
        "${UVSHIM_UV:-${UV:-uv}}" python find '>=3.10' 2>/dev/null) && is_new
}

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit "$3"
}

uvshim_file=$0
uvshim_old=${_UVSHIM_OLD_PYTHON-}  # set by __main__.py if the first `python3` is too old
unset _UVSHIM_OLD_PYTHON
IFS=:
set -f

if [ -n "${UVSHIM_PYTHON-}" ]; then
    uvshim_python=$UVSHIM_PYTHON
    uvshim_hint='name a Python 3.10 or later in UVSHIM_PYTHON, or unset it'
    [ -z "$uvshim_old" ] ||
        fail "uvshim needs Python 3.10 or later, and UVSHIM_PYTHON: $uvshim_old" "$uvshim_hint" 2
    command -v "$uvshim_python" >/dev/null ||
        fail "\`$uvshim_python\`, which UVSHIM_PYTHON names, is not a program that can be run" \
            "$uvshim_hint" 127
    start "$@"
fi

# Asking a Python for its version takes as long as starting uvshim, so start the first and let
# __main__.py check.
if [ -z "$uvshim_old" ]; then
    find_python best true python3 && start "$@"
    find_python any true python3 && start "$@"
fi
find_python best is_new 'python3.[1-9][0-9]' python3 python && start "$@"
find_python any is_new 'python3.[1-9][0-9]' python3 python && start "$@"
uv_python && start "$@"
fail "uvshim needs Python 3.10 or later, and PATH has none${uvshim_old:+ ($uvshim_old)}" \
    "install one, for example with \`uv python install\`, or name one in UVSHIM_PYTHON" 2
