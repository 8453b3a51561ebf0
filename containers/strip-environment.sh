#!/bin/sh
# strip-environment.sh <environment>: remove what running and testing SynthDrive never reads, and see that it still runs.
set -eu
environment=$1
before=$(du -sm "$environment" | cut -f1)
packages=$(echo "$environment"/lib/python3.*/site-packages)

"$environment/bin/python" -m pip --disable-pip-version-check uninstall --quiet --yes pip 2>/dev/null
find "$packages" -type d -name __pycache__ -prune -exec rm -rf {} +
# The packages' own tests. numpy.testing, torch.testing and the like are public and stay; SUMO's folders hold data.
find "$packages" -mindepth 2 -type d \( -name tests -o -name test \) -not -path '*/sumo/*' -prune -exec rm -rf {} +
find "$packages" \( -name '*.a' -o -name '*.pdb' -o -name '*.pyx' \) -type f -delete
rm -rf "$packages"/torch/bin/protoc* "$packages"/torch/bin/test_* \
  "$packages"/sumo/bin/sumo-gui "$packages"/sumo/bin/netedit
# Bytecode, once, for a folder that the running user cannot write: without it every process compiles what it imports.
# Checked by nothing: the folder does not change.
# SUMO's tools are not imported, and torch's own tests hold code for other versions of Python.
"$environment/bin/python" -m compileall -qq -j 0 --invalidation-mode unchecked-hash \
  -x '/sumo/tools/|/torch/testing/_internal/' "$packages" 2>/dev/null || true
echo "environment: $before MB installed, $(du -sm "$environment" | cut -f1) MB kept"

"$environment/bin/python" -c 'import accelerate, dask, dvc.cli, great_expectations, h5py, hypothesis, matplotlib.pyplot
import numpy.testing, pandas, pyarrow.parquet, pytest, safetensors.torch, scipy.optimize, torch.testing'
for program in sumo netconvert; do
  "$packages/sumo/bin/$program" --version > /dev/null
done
