#!/usr/bin/env bash
# install-environment.sh <environment>: the locked environment for the tree in the working directory. It does nothing
# where that is there already, and makes it anew where its folder was moved, or another interpreter or torch is wanted.
# Environment, each empty for what was chosen before, or what fits the machine:
#   PYTHON  interpreter, 3.11 to 3.13
#   TORCH   cpu, cuda, or pip's words: "torch==2.13.0 --index-url <index>"
#   WHEELS  folder of `make vendor`: then no package index is asked
set -euo pipefail
environment=$1
choice=$environment/.choice               # what it was made with: folder, Python, torch
installed=$environment/requirements.lock  # copied when all is installed
. "$(dirname "${BASH_SOURCE[0]}")/torch.sh"

say() { echo "setup: $1"; }
refuse() {
  echo "setup: $1" >&2
  exit 2
}
recorded() { [ ! -f "$choice" ] || sed -n "s/^$1: //p" "$choice"; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null; }
supported() { case "$1" in 3.11 | 3.12 | 3.13) ;; *) return 1 ;; esac; }

folder=$(pwd -P)/$environment
[ "${environment#/}" = "$environment" ] || folder=$environment

if [ -n "${PYTHON:-}" ]; then
  python=$PYTHON
  version=$(version_of "$python") || refuse "$python does not run; name another: make setup PYTHON=python3.11"
  supported "$version" || refuse "$python is Python $version; 3.11, 3.12 or 3.13 is needed: make setup PYTHON=python3.11"
elif [ "$(recorded folder)" = "$folder" ] && version=$(version_of "$environment/bin/python"); then
  python=$("$environment/bin/python" -c 'import sys; print(sys._base_executable)')
else
  python='' version=''
  for candidate in python3.11 python3.12 python3.13 python3; do
    version=$(version_of "$candidate") && supported "$version" && python=$candidate && break
  done
  [ -n "$python" ] || refuse "no Python 3.11, 3.12 or 3.13 found; name one: make setup PYTHON=<path>"
fi

if [ -n "${WHEELS:-}" ]; then
  build="WHEELS=$(realpath "$WHEELS")"
else
  build=${TORCH:-$(recorded torch)}
fi
why=''
if [ -z "$build" ]; then
  build=$(fitting_build)
  why=" (what fits this machine; another: make setup TORCH=cpu, or cuda)"
fi
wheels=''
[ "${build#WHEELS=}" = "$build" ] || wheels=${build#WHEELS=}

wanted=$(printf 'folder: %s\npython: %s\ntorch: %s' "$folder" "$version" "$build")
same=false
if [ -f "$choice" ] && [ "$(cat "$choice")" = "$wanted" ]; then
  # The interpreter that it was made with may be gone since.
  [ "$(version_of "$environment/bin/python")" = "$version" ] && same=true || say "$environment has no Python $version any more"
fi
# The package itself is not installed: what runs is the tree in the working directory, be it a clone, a worktree or a
# copy that DVC's queue has made; in any other directory, the tree beside the environment.
find_source() {
  local packages
  packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo 'import os, sys; beside = os.path.join(os.path.dirname(sys.prefix), "src"); sys.path.insert(0, os.path.abspath("src")) if os.path.isdir("src/synthdrive") else os.path.isdir(os.path.join(beside, "synthdrive")) and sys.path.append(beside)' > "$packages/synthdrive.new"
  mv "$packages/synthdrive.new" "$packages/synthdrive.pth"  # at once, since Python reads it at every start
}

if $same && cmp -s requirements.lock "$installed"; then
  find_source
  exit 0
fi

[ -z "$wheels" ] || PYTHONPATH=src "$python" -m tools.wheels check "$wheels"
say "$environment with Python $version, torch: $build$why"
if $same; then
  rm -f "$installed"
else
  "$python" -c 'import ensurepip, venv' 2> /dev/null || refuse "$python has no venv: apt install python3-venv"
  "$python" -m venv --clear "$environment"
  echo "$wanted" > "$choice"
fi

pip() {
  "$environment/bin/python" -m pip --disable-pip-version-check --no-input "$@" 2> >(grep -vE '^WARNING: Location|DEPRECATION: antlr4' >&2)
}
if [ -n "$wheels" ]; then
  pip install -q --no-index --find-links "$wheels" --require-hashes --no-deps -r "$wheels/vendored.lock"
else
  # The lock first: what torch shares with it is then there in the locked version.
  say "locked packages"
  pip install -q --require-hashes --no-deps -r requirements.lock
  say torch
  with_torch "$build" pip install -q
fi
find_source
pip check
cp requirements.lock "$installed"
if LC_ALL=C grep -q '[^ -~]' <<< "$folder"; then
  say "DVC cannot run queued experiments in a path with letters beyond ASCII: dvc cache dir --local <ASCII path>"
fi
