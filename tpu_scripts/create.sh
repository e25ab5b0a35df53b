#!/usr/bin/env bash
# Recipe: not run. Asks for a TPU pod slice and waits until it is there.
#
#   TPU_NAME=digits ZONE=us-east5-b bash tpu_scripts/create.sh [more gcloud flags, such as --spot or --reserved]
#
#   ACCELERATOR   default v6e-16: 16 chips on 4 hosts ("gcloud compute tpus accelerator-types list" names them)
#   RUNTIME       default v2-alpha-tpuv6e; it must match the accelerator ("gcloud compute tpus tpu-vm versions list")
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
ACCELERATOR=${ACCELERATOR:-v6e-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv6e}

gcloud compute tpus queued-resources create "$TPU_NAME" "${WHERE[@]}" \
    --node-id="$TPU_NAME" --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" "$@"

state=
until [ "$state" = ACTIVE ]; do
    sleep 30
    state=$(gcloud compute tpus queued-resources describe "$TPU_NAME" "${WHERE[@]}" --format='value(state.state)')
    echo "$(date +%T) $TPU_NAME: $state"
    case $state in
        FAILED | SUSPENDED) echo "It will not become active; delete.sh removes it." >&2; exit 1 ;;
    esac
done
