#!/usr/bin/env bash
# Run the tests and the whole pipeline inside the image, on a fresh clone, as a user that is not root and that the image
# has never heard of; then compare what the clone made with what this checkout holds. Environment: IMAGE, ENGINE;
# PROFILE=<overlay of params.yaml>: the pipeline in that size instead, run outside too, in this checkout's environment,
# for the results to compare with.
# Exit status 0: the tests passed, the data have the same bytes and the metrics are within `verify.tolerances`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. containers/engine.sh
image=${IMAGE:-synthdrive}
limit=2500 # MB, of an image with the CPU build of torch
engine=$(find_engine)
user=$(id -u):$(id -g)
[ "$(id -u)" != 0 ] || user=12345:12345

scratch=$(mktemp -d)
trap 'rm -rf "$scratch" 2> /dev/null || buildah unshare rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
clone=$scratch/clone
outside=$PWD
git clone --quiet . "$clone"
[ -z "$(git status --porcelain --untracked-files=no)" ] || echo "container-test: uncommitted changes are not tested"

say() { printf '\n== %s (after %d s)\n' "$1" "$SECONDS"; }
inside() { run_image "$engine" "$image" "$user" "$clone:/work"$'\n'"$outside:/outside:ro" "$@"; }

if [ -n "${PROFILE:-}" ]; then
  say "pipeline outside, $PROFILE"
  outside=$scratch/outside
  git clone --quiet . "$outside"
  for tree in "$outside" "$clone"; do
    PYTHONPATH=src python -m tools.profiles "$PROFILE" --params "$tree/params.yaml"
    rm -rf "$tree/dvc.lock" "$tree/metrics"
  done
  (cd "$outside" && PYTHONPATH=src dvc repro)
fi
if [ "$(id -u)" = 0 ]; then
  chown -R "$user" "$clone"
elif [ "$engine" = buildah ]; then
  chmod -R a+rwX "$clone" # without root, buildah's users are not this one
fi

size=$(image_megabytes "$engine" "$image")
say "$image with $engine: $size MB, commit $(git rev-parse --short HEAD)"
# shellcheck disable=SC2016 # expanded inside
inside sh -c 'test "$(id -u)" != 0 && id && python --version && git -C /work log -1 --format=%s'
cuda=$(inside python -c 'import torch; print(torch.version.cuda or "none")')
echo "torch's CUDA: $cuda"
if [ "$cuda" = none ] && [ "$size" -gt "$limit" ]; then
  echo "container-test: the CPU image has $size MB, more than $limit" >&2
  exit 1
fi
if [ -z "${PROFILE:-}" ]; then
  say "lock"
  inside verify lock
  rm -rf "$clone/dvc.lock" "$clone/metrics"
fi
say "pipeline, from nothing"
inside repro
say "inside against outside"
inside python -m tools.same_results /outside
inside git checkout --quiet -- .
say "tests"
inside test
say "done"
