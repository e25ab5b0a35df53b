#!/usr/bin/env bash
# Recipe: not run. Trains on the GPUs of several hosts under SLURM, one process per GPU.
#
#   sbatch --nodes=2 --gpus-per-node=4 --ntasks-per-node=4 --time=24:00:00 \
#       tpu_scripts/slurm.sh ddpm-mnist --workdir /shared/runs/a --batch-size 1024
#
# Give --ntasks-per-node the number of GPUs of a node: under SLURM, jax.distributed.initialize finds coordinator,
# process count and process index by itself and assigns to each process the GPU with its index on the node. For the same
# reason don't ask for --gpus-per-task, which would show each process one GPU only, numbered 0.
#
# The arguments are a preset and flags of experiments.train. --workdir must lie on a file system that all nodes share;
# submit from the repository, with its environment in .venv (pip install -e '.[cuda13]', or '.[cuda]' for CUDA 12).
#
#SBATCH --job-name=genjax
#SBATCH --cpus-per-task=8
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
# The training saves and exits on SIGTERM, which comes two minutes before the time limit and at a preemption. A job that
# is requeued, or submitted again with the same arguments, goes on from its last checkpoint.
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail
if [ $# -eq 0 ]; then
    echo "usage: sbatch [options] tpu_scripts/slurm.sh PRESET [flags of experiments.train]" >&2
    exit 2
fi

cd "${SLURM_SUBMIT_DIR:?run this with sbatch}"
export JAX_PLATFORMS=cuda
# Since Slurm 22.05 srun does not take this over from the job.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

# A proxy in the environment would be asked for the other nodes' addresses.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY

srun --kill-on-bad-exit=1 --label .venv/bin/python -m experiments.train "$@" --distributed
