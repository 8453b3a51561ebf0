#!/usr/bin/env bash
# vendor-test.sh <folder of make vendor>: set the environment up in a fresh clone, in a network namespace that holds no
# network, without any configuration of pip's, and audit what came of it.
set -euo pipefail
if [ $# != 1 ] || [ ! -f "$1/vendored.lock" ]; then
  echo "usage: make vendor-test WHEELS=<folder of make vendor>" >&2
  exit 2
fi
folder=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git clone --quiet . "$scratch/clone"
cd "$scratch/clone"
started=$SECONDS
for setting in $(compgen -e | grep '^PIP_' || true); do
  unset "$setting"
done
# Without root, a user namespace gives the right to make a network namespace.
namespace=(unshare --net)
[ "$(id -u)" = 0 ] || namespace+=(--map-root-user)
export WHEELS=$folder PYTHON=${PYTHON:-python3} PIP_CONFIG_FILE=/dev/null PIP_NO_CACHE_DIR=1
# shellcheck disable=SC2016 # expanded inside
"${namespace[@]}" bash -euc '
  interfaces=$(tail -n +3 /proc/net/dev | cut -d: -f1 | xargs)
  [ "$interfaces" = lo ] || { echo "vendor-test: there is a network: $interfaces" >&2; exit 1; }
  make setup audit'
echo "vendor-test: set up and audited in $((SECONDS - started)) s, without network"
