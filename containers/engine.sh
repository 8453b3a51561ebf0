# shellcheck shell=bash
# The container engine of this machine, to be sourced: docker, podman or buildah, the first that can start something.
# ENGINE=<name> chooses; BUILDAH_ISOLATION is buildah's own setting (chroot works without any privilege but root).
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

find_engine() {
  local engine
  for engine in ${ENGINE:-docker podman buildah}; do
    command -v "$engine" > /dev/null || continue
    case "$engine" in
      docker) docker info > /dev/null 2>&1 || continue ;;
      podman) podman_runs || continue ;;
    esac
    echo "$engine"
    return
  done
  echo "container: no engine works here (${ENGINE:-docker, podman, buildah}); install buildah, or start docker" >&2
  return 1
}

# Podman may be there and yet be refused what its runtime needs (inside another container, for one).
podman_runs() {
  local scratch status=0
  scratch=$(mktemp -d)
  printf 'FROM scratch\nCOPY nothing /\n' > "$scratch/Containerfile"
  : > "$scratch/nothing"
  podman build --quiet -t synthdrive-probe "$scratch" > /dev/null 2>&1 || status=1
  # An image without any program: a runtime that works says so with status 127 (not found), one that does not with 126.
  if [ "$status" = 0 ]; then
    podman run --rm synthdrive-probe /nothing > /dev/null 2>&1 || status=$?
    [ "$status" = 127 ] && status=0
    podman rmi --force synthdrive-probe > /dev/null 2>&1
  fi
  rm -rf "$scratch"
  return "$status"
}

# build_image <engine> <image> <arguments of build>
build_image() {
  local engine=$1 image=$2
  shift 2
  case "$engine" in
    docker) docker build --tag "$image" "$@" ;;
    *) "$engine" build --layers --format docker --tag "$image" "$@" ;;
  esac
}

# run_image <engine> <image> <user> <volumes, one a line: from:to[:ro]> <arguments of the entry point>
run_image() {
  local engine=$1 image=$2 user=$3 volume container status=0 volumes=()
  while read -r volume; do
    [ -z "$volume" ] || volumes+=(--volume "$volume")
  done <<< "$4"
  shift 4
  # Without root, podman would give the mounted files to another user inside.
  [ "$engine" != podman ] || [ "$(id -u)" = 0 ] || volumes+=(--userns keep-id --security-opt label=disable)
  case "$engine" in
    buildah)
      container=$(buildah from "$image")
      # A name that resolves, for processes that talk to each other: buildah writes none into /etc/hosts.
      buildah run --hostname localhost --user "$user" "${volumes[@]}" "$container" -- synthdrive "$@" || status=$?
      buildah rm "$container" > /dev/null
      return "$status"
      ;;
    *) "$engine" run --rm --user "$user" "${volumes[@]}" "$image" "$@" ;;
  esac
}

# image_megabytes <engine> <image>
image_megabytes() {
  "$1" images --format '{{.Size}}' "$2" | head -n 1 |
    awk '{ gsub(/[[:space:]]/, ""); unit = /GB$/ ? 1000 : /kB$|KB$/ ? 0.001 : 1; print int($0 * unit + 0.5) }'
}
