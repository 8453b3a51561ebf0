#!/bin/sh
# What a container of SynthDrive does: repro, test, verify [lock|spot|full], shell, or any other command.
set -eu
action=${1:-repro}
[ $# -gt 0 ] && shift
case "$action" in
  repro) dvc repro "$@"; exec python -m synthdrive.pipeline.results reports ;;
  test) exec python -m pytest -m "not slow" "$@" ;;
  verify) exec python -m synthdrive.pipeline.verify "${1:-lock}" ;;
  shell) exec /bin/bash "$@" ;;
  *) exec "$action" "$@" ;;
esac
