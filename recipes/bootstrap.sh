#!/bin/sh
# Make an application's environment on a machine that has Python 3.10 or later and nothing else:
#     sh bootstrap.sh /opt/app
# uv and uvshim get an environment of their own, so the application's holds nothing of them.
set -eu
app=$1
here=$(cd "$(dirname "$0")" && pwd)

python3 -m venv "$app/tools"
"$app/tools/bin/python" -m pip install --quiet 'uvshim[uv]'
PATH="$app/tools/bin:$PATH"

uv venv --python python3 "$app/env"
uvpip --python "$app/env" --constraint "$here/constraints.txt" --requirement "$here/requirements.txt"
uvshim check "$app/env"
