#!/usr/bin/env bash
# Recipe: not run. Deletes the TPU and its queued resource, and all that is on the workers' disks: WORKDIR stays.
#
#   TPU_NAME=digits ZONE=us-east5-b bash tpu_scripts/delete.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# gcloud asks before it deletes. --force deletes the node along with the queued resource.
gcloud compute tpus queued-resources delete "$TPU_NAME" "${WHERE[@]}" --force
