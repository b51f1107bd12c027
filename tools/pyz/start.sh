#!/bin/sh
# uvshim in one file: this script finds a Python 3.10 or later, which runs the zip archive below.
# UVSHIM_PYTHON names another Python. Under the name "uvpip" the file is uvpip.

# -I and -S ignore PYTHON* variables and installed packages. -I would also ignore the user's wish for
# no bytecode, so -B repeats it.
start() {
    exec "$python" -I -S ${PYTHONDONTWRITEBYTECODE:+-B} "$file" "$@"
}

# Set `python` to the first one on PATH that the command $2 accepts. The other arguments are the names
# to look for. If $1 is "best", skip two kinds: a Python of a virtual environment, which is probably
# the one to install into, and the shims of pyenv and others, which change PATH for uv.
find_python() {
    wanted=$1
    accept=$2
    shift 2
    for directory in $PATH; do
        if [ "$wanted" = best ]; then
            case $directory in */shims) continue ;; esac
            [ -e "$directory/../pyvenv.cfg" ] && continue
        fi
        set +f
        for pattern; do
            # shellcheck disable=SC2231
            for python in "$directory"/$pattern; do
                [ -f "$python" ] && [ -x "$python" ] && $accept && return
            done
        done
        set -f
    done
    return 1
}

is_new() {
    "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

uv_python() {
    python=$(UV_PYTHON_PREFERENCE=only-managed \
        "${UVSHIM_UV:-${UV:-uv}}" python find '>=3.10' 2>/dev/null) && is_new
}

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit "$3"
}

file=$0
old=${_UVSHIM_OLD_PYTHON-}  # set by __main__.py if the first `python3` is too old
unset _UVSHIM_OLD_PYTHON
IFS=:
set -f

if [ -n "${UVSHIM_PYTHON-}" ]; then
    python=$UVSHIM_PYTHON
    hint='name a Python 3.10 or later in UVSHIM_PYTHON, or unset it'
    [ -z "$old" ] || fail "uvshim needs Python 3.10 or later, and UVSHIM_PYTHON: $old" "$hint" 2
    command -v "$python" >/dev/null ||
        fail "\`$python\`, which UVSHIM_PYTHON names, is not a program that can be run" "$hint" 127
    start "$@"
fi

# Asking a Python for its version takes as long as starting uvshim, so start the first and let
# __main__.py check.
if [ -z "$old" ]; then
    find_python best true python3 && start "$@"
    find_python any true python3 && start "$@"
fi
find_python best is_new 'python3.[1-9][0-9]' python3 python && start "$@"
find_python any is_new 'python3.[1-9][0-9]' python3 python && start "$@"
uv_python && start "$@"
fail "uvshim needs Python 3.10 or later, and PATH has none${old:+ ($old)}" \
    "install one, for example with \`uv python install\`, or name one in UVSHIM_PYTHON" 2
