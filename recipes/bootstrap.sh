#!/bin/sh
# Make an application's environment on a machine that has only Python 3.10 or later:
#     sh bootstrap.sh /opt/app
# uvshim.pyz, requirements.txt and constraints.txt are in the directory of this script. uv gets its
# own environment, so that the application's environment contains only the application.
set -eu
app=$1
here=$(cd "$(dirname "$0")" && pwd)

python3 -m venv "$app/tools"
"$app/tools/bin/python" -m pip install --quiet uv
PATH="$app/tools/bin:$PATH"

uv venv --allow-existing --python python3 "$app/env"
sh "$here/uvshim.pyz" pip --python "$app/env" \
    --constraint "$here/constraints.txt" --requirement "$here/requirements.txt"
# Fail if a package would not be found. --strict also fails for requirements that pkg_resources does
# not meet, because this script chooses everything in the environment.
sh "$here/uvshim.pyz" check --strict "$app/env"
