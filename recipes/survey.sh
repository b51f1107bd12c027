#!/bin/sh
# Report what is broken in the images that images.txt names, one a line: HTML for people, JSON for
# programs.
set -eu
status=0
uvshim check --images images.txt --format html >survey.html || status=$?
# The layers are cached by now: this reads none of them again.
uvshim check --images images.txt --format json >survey.json || status=$?
exit "$status"
