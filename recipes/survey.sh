#!/bin/sh
# Check the images that images.txt names, one a line. Write HTML for people and JSON for programs.
set -eu
status=0
uvshim check --images images.txt --format html >survey.html || status=$?
# The layers are cached now, so this does not read them again.
uvshim check --images images.txt --format json >survey.json || status=$?
exit "$status"
