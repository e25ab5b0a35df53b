#!/usr/bin/env bash
# Recipe: not run. Trains on the GPUs of one host. One process drives them all, so --distributed is not needed.
# Install before: pip install -e '.[cuda13]', or '.[cuda]' for CUDA 12.
#
#   bash tpu_scripts/multi_gpu.sh ddpm-mnist --workdir runs/a --batch-size 512               all GPUs, data parallel
#   GPUS=0,1 bash tpu_scripts/multi_gpu.sh ddpm-mnist --workdir runs/a --fsdp 2              two, parameters sharded
#   bash tpu_scripts/multi_gpu.sh ddpm-mnist --workdir runs/a --backend pmap                 pmap instead of jit
#
# The batch size is the global one and must be a multiple of the number of GPUs.
set -euo pipefail
if [ $# -eq 0 ]; then
    echo "usage: [GPUS=0,1,...] bash tpu_scripts/multi_gpu.sh PRESET [flags of experiments.train]" >&2
    exit 2
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -z "${GPUS:-}" ] || export CUDA_VISIBLE_DEVICES=$GPUS

# Without this, jax falls back to the CPU when it finds no GPU, and the run would be slow instead of failing.
export JAX_PLATFORMS=cuda
exec python -m experiments.train "$@"
