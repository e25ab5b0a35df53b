#!/usr/bin/env bash
# Recipe: not run. Copies the commit that is checked out here to every worker and installs it with the [tpu] extra.
# Run it again after a new commit. The runtime images have Python 3.10, so uv brings a newer one.
#
#   TPU_NAME=digits ZONE=us-east5-b bash tpu_scripts/setup.sh
#
#   PYTHON   default 3.12
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
PYTHON=${PYTHON:-3.12}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

archive=$(mktemp --suffix=.tar.gz)
trap 'rm -f "$archive"' EXIT
git -C "$ROOT" archive --format=tar.gz --output="$archive" HEAD
gcloud compute tpus tpu-vm scp "$archive" "$TPU_NAME:genjax.tar.gz" "${WHERE[@]}" --worker=all

on_workers "
    set -eu
    rm -rf $REMOTE/code && mkdir -p $REMOTE/code $REMOTE/logs
    tar -xzf genjax.tar.gz -C $REMOTE/code
    python3 -m pip install --quiet --user uv
    cd $REMOTE
    [ -d venv ] || python3 -m uv venv --quiet --python $PYTHON venv
    python3 -m uv pip install --quiet --python venv/bin/python -e 'code[tpu]'
"

# Every process of a slice has to take part in the initialisation, hence all workers; each prints the same counts.
on_workers "
    $REMOTE/venv/bin/python -c '
import jax
jax.distributed.initialize()
print(\"worker\", jax.process_index(), \"of\", jax.process_count())
print(jax.local_device_count(), \"of\", jax.device_count(), \"chips\")'
"
