#!/bin/sh
# What is broken in the images that images.txt names, one a line: a page for people, JSON for programs.
set -eu
status=0
uvshim check --images images.txt --format html >survey.html || status=$?
# What was learnt is known by now: this reads no layer again.
uvshim check --images images.txt --format json >survey.json || status=$?
exit "$status"
