#!/usr/bin/env bash
# Recipe: not run. Follows the log of the first worker, or fetches the logs of all of them.
#
#   TPU_NAME=digits ZONE=us-east5-b bash tpu_scripts/logs.sh          follow (interrupt to leave; the run goes on)
#   TPU_NAME=digits ZONE=us-east5-b bash tpu_scripts/logs.sh FOLDER   fetch to FOLDER/worker-*.log
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if [ $# -eq 0 ]; then
    on_worker_0 "tail -n 50 -F $REMOTE/logs/train.log"
    exit
fi

mkdir -p "$1"
addresses=$(gcloud compute tpus tpu-vm describe "$TPU_NAME" "${WHERE[@]}" \
    --format='value(networkEndpoints[].ipAddress)' | tr ';' '\n')
for worker in $(seq 0 $(($(wc -l <<<"$addresses") - 1))); do
    gcloud compute tpus tpu-vm scp "$TPU_NAME:$REMOTE/logs/train.log" "$1/worker-$worker.log" "${WHERE[@]}" \
        --worker="$worker"
done
