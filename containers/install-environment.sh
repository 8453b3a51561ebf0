#!/bin/sh
# install-environment.sh <environment> <project> <wheels>: the locked environment, the project itself left where it is.
# <wheels> is a folder made by `make vendor`, or an empty one: then pip's index and $TORCH_INDEX are asked.
set -eu
environment=$1 project=$2 wheels=$3
python3 -m venv "$environment"
pip() { "$environment/bin/python" -m pip --disable-pip-version-check --no-cache-dir --no-input "$@"; }

if [ -f "$wheels/vendored.lock" ]; then
  (cd "$project" && PYTHONPATH=src "$environment/bin/python" -m tools.wheels check "$wheels")
  pip install --quiet --no-index --find-links "$wheels" --require-hashes --no-deps -r "$wheels/vendored.lock"
else
  # The lock first: what torch shares with it is then there in the locked version.
  pip install --quiet --require-hashes --no-deps -r "$project/requirements.lock"
  # shellcheck disable=SC2086 # an option and its value, or nothing
  pip install --quiet ${TORCH_INDEX:+--index-url $TORCH_INDEX} "$TORCH"
fi
# Editable: the working tree that is mounted over <project> is what runs.
pip install --quiet --no-index --no-deps --no-build-isolation --editable "$project"
pip check
cp "$project/requirements.lock" "$environment/requirements.lock"
touch "$environment/.ready"
