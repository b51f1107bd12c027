#!/bin/sh
# Make an application's environment on a machine that has only Python 3.10 or later:
#     sh bootstrap.sh /opt/app
# uvshim.pyz, requirements.txt and constraints.txt are in the directory of this script. uv is
# installed into a separate environment, so that the application's has nothing of it.
set -eu
app=$1
here=$(cd "$(dirname "$0")" && pwd)

python3 -m venv "$app/tools"
"$app/tools/bin/python" -m pip install --quiet uv
PATH="$app/tools/bin:$PATH"

uv venv --python python3 "$app/env"
sh "$here/uvshim.pyz" pip --python "$app/env" \
    --constraint "$here/constraints.txt" --requirement "$here/requirements.txt"
# The gate. --strict, because everything in this environment was chosen here: a missing or
# conflicting requirement is a mistake of ours too.
sh "$here/uvshim.pyz" check --strict "$app/env"
