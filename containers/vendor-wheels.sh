#!/usr/bin/env bash
# vendor-wheels.sh <folder>: every wheel of the environment, for a set-up without network; sources are built to wheels.
# Environment: PYTHON, TORCH (build of torch, see torch.sh; default: what fits this machine).
set -euo pipefail
[ $# = 1 ] || { echo "usage: make vendor WHEELS=<folder>" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. containers/torch.sh
mkdir -p "$1/sources"
folder=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
${PYTHON:-python3} -m venv "$scratch/venv"
pip() {
  "$scratch/venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" 2> >(grep -vE '^WARNING: Location|DEPRECATION: antlr4' >&2)
}

# Without isolation: sources are built with the locked setuptools, and with a clock that stands still.
awk '/^[^ ]/ { inside = /^setuptools==/ } inside' requirements.lock > "$scratch/setuptools.lock"
pip install --quiet --require-hashes --no-deps -r "$scratch/setuptools.lock"
export SOURCE_DATE_EPOCH=315532800

echo "vendor: locked packages"
pip download --quiet --require-hashes --no-deps --no-build-isolation --dest "$folder" -r requirements.lock
find "$folder" -maxdepth 1 -name '*.tar.gz' -exec mv {} "$folder/sources/" \;

echo "vendor: torch, and what its build brings"
# Versions without hashes: what the lock holds too is taken from the folder, not from where torch comes from.
sed -nE 's/^([A-Za-z0-9._-]+==[^ ]+).*/\1/p' requirements.lock > "$scratch/versions"

for source in "$folder"/sources/*; do
  [ -e "$source" ] || continue
  echo "vendor: building ${source##*/}"
  pip wheel --quiet --no-cache-dir --no-index --no-deps --no-build-isolation \
    --wheel-dir "$folder" "$source"
done
with_torch "${TORCH:-$(fitting_build)}" \
  pip download --quiet --find-links "$folder" --constraint "$scratch/versions" --dest "$folder"
PYTHONPATH=src "$scratch/venv/bin/python" -m tools.wheels record "$folder"
