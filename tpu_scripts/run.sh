#!/usr/bin/env bash
# Recipe: not run. Starts a training on every worker and returns; logs.sh shows it, stop.sh ends it.
#
#   TPU_NAME=digits ZONE=us-east5-b WORKDIR=gs://my-bucket/runs/a \
#       bash tpu_scripts/run.sh ddpm-mnist --steps 100000 --batch-size 1024 --fsdp 4
#
#   WORKDIR   where the run leaves everything; a gs:// path, because all workers write and read it   (required)
#
# The arguments are a preset and flags of `python -m experiments.train`. The batch size is the global one. Started again
# with the same arguments (after a preemption, say) the run goes on from its last checkpoint.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
: "${WORKDIR:?set WORKDIR to a gs:// path}"
if [ $# -eq 0 ]; then
    echo "usage: WORKDIR=gs://... bash tpu_scripts/run.sh PRESET [flags of experiments.train]" >&2
    exit 2
fi

command=$(printf '%q ' ../venv/bin/python -m experiments.train "$@" --workdir "$WORKDIR" --distributed)

# In a session of its own, so that it outlives the ssh connection; its process id is kept for stop.sh.
on_workers "
    set -eu
    cd $REMOTE/code
    if [ -e ../logs/pid ] && kill -0 \$(cat ../logs/pid) 2>/dev/null; then
        echo \"\$(hostname): a run is under way (process \$(cat ../logs/pid))\" >&2
        exit 1
    fi
    setsid nohup $command >>../logs/train.log 2>&1 </dev/null &
    echo \$! >../logs/pid
"
echo "Started. TPU_NAME=$TPU_NAME ZONE=$ZONE bash tpu_scripts/logs.sh follows it."
