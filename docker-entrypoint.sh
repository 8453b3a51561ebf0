#!/bin/bash
# What a container of SynthDrive does: repro, test, verify [lock|spot|full], shell, or any other command.
set -eu
action=${1:-repro}
[ $# -eq 0 ] || shift

# A volume on /cache is DVC's cache.
if grep -q '^[^ ]* [^ ]* [^ ]* [^ ]* /cache ' /proc/self/mountinfo; then
  export DVC_SYSTEM_CONFIG_DIR=/etc/synthdrive/dvc
fi

refuse() {
  echo "synthdrive: $1" >&2
  exit 2
}

# DVC in a process group of its own, which is told to end as Ctrl-C at a terminal would: process 1 passes no signal on by
# itself, and DVC ends without its stage on SIGTERM, but waits for it on SIGINT.
pipeline() {
  local group='' status=0
  trap '[ -z "$group" ] || kill -INT -- "-$group"' INT TERM
  set -m
  dvc repro "$@" &
  group=$!
  set +m
  wait "$group" || status=$?
  while kill -0 "$group" 2> /dev/null; do # a signal ended the wait, not DVC
    status=0
    wait "$group" || status=$?
  done
  trap - INT TERM
  return "$status"
}

case "$action" in
  repro | test | verify)
    [ -f dvc.yaml ] || refuse "no working tree in $PWD; run with: -v \"\$PWD\":/work"
    cmp -s requirements.lock "$SYNTHDRIVE_CONTAINER/requirements.lock" ||
      refuse "this image was built from another requirements.lock; run: make container"
    ;;
esac

case "$action" in
  repro)
    [ -w . ] || refuse "$PWD cannot be written by uid $(id -u); run with: --user \"\$(id -u):\$(id -g)\""
    pipeline "$@"
    exec cat reports/summary.txt
    ;;
  test) exec python -m pytest -m "not slow" "$@" ;;
  verify) exec python -m tools.verify "${1:-lock}" ;;
  shell) exec /bin/bash "$@" ;;
  *) exec "$action" "$@" ;;
esac
