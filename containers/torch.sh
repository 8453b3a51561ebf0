# shellcheck shell=bash
# The build of torch, to be sourced: cpu, cuda, or pip's words ("torch==2.13.0 --index-url <index>").
torch=torch==2.13.0
cpu_index=https://download.pytorch.org/whl/cpu

# fitting_build: what this machine can use
fitting_build() {
  if nvidia-smi -L 2> /dev/null | grep -q '^GPU' || [ -e /proc/driver/nvidia/version ]; then
    echo cuda
  else
    echo cpu
  fi
}

# with_torch <build> <pip and its arguments>: run pip for that build. Pip's own index has the CUDA build for Linux.
with_torch() {
  local build=$1
  shift
  case "$build" in
    cpu)
      "$@" --retries 1 --timeout 10 --index-url "$cpu_index" "$torch" 2> /dev/null || {
        echo "torch: nothing from $cpu_index; asking pip's own index"
        "$@" "$torch"
      }
      ;;
    cuda) "$@" "$torch" ;;
    # shellcheck disable=SC2086 # pip's words
    *) "$@" $build ;;
  esac
}
