#!/bin/sh
# Make an application's environment on a machine that has Python 3.10 or later and nothing else:
#     sh bootstrap.sh /opt/app
# uvshim.pyz, requirements.txt and constraints.txt lie beside this script. uv gets an environment of
# its own, so the application's holds nothing of it.
set -eu
app=$1
here=$(cd "$(dirname "$0")" && pwd)

python3 -m venv "$app/tools"
"$app/tools/bin/python" -m pip install --quiet uv
PATH="$app/tools/bin:$PATH"

uv venv --python python3 "$app/env"
python3 "$here/uvshim.pyz" pip --python "$app/env" \
    --constraint "$here/constraints.txt" --requirement "$here/requirements.txt"
# The gate. --strict: all that is in this environment was chosen here, so a requirement that is
# missing or in conflict is a mistake of ours too.
python3 "$here/uvshim.pyz" check --strict "$app/env"
