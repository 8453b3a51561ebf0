#!/usr/bin/env bash
# Build the image. Environment: IMAGE (name), BASE (image, best by digest), WHEELS (folder of `make vendor`),
# TORCH (its build, see torch.sh; default: cpu), EXTRA_PACKAGES, ENGINE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. containers/engine.sh
image=${IMAGE:-synthdrive}
engine=$(find_engine)

arguments=()
for name in BASE TORCH EXTRA_PACKAGES; do
  [ -z "${!name:-}" ] || arguments+=(--build-arg "$name=${!name}")
done
if [ -n "${WHEELS:-}" ]; then
  [ -f "$WHEELS/vendored.lock" ] || { echo "container: $WHEELS was not made by make vendor" >&2; exit 2; }
  arguments+=(--build-context "wheels=$(realpath "$WHEELS")")
fi
started=$SECONDS
build_image "$engine" "$image" "${arguments[@]}" .
echo "container: $image built with $engine in $((SECONDS - started)) s, $(image_megabytes "$engine" "$image") MB"
