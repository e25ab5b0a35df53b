# shellcheck shell=bash
# Sourced by the other scripts: which TPU they mean, and how they reach it. Set these before calling them.
#
#   TPU_NAME   name of the TPU and of the queued resource that creates it      (required)
#   ZONE       for example us-east5-b                                          (required)
#   PROJECT    Google Cloud project; default: the one that gcloud is set to

set -euo pipefail

: "${TPU_NAME:?set TPU_NAME to a name for the TPU}"
: "${ZONE:?set ZONE to a zone that has the accelerator type, for example us-east5-b}"
PROJECT=${PROJECT:-$(gcloud config get-value project 2>/dev/null)}
: "${PROJECT:?set PROJECT, or run: gcloud config set project NAME}"

WHERE=(--project="$PROJECT" --zone="$ZONE")

# Folder in the home directory of every worker, with the code, the virtual environment and the logs.
# shellcheck disable=SC2034  # used by the scripts that source this file
REMOTE=genjax

# on_workers COMMAND: runs a shell command on every worker of the slice at once.
on_workers() {
    gcloud compute tpus tpu-vm ssh "$TPU_NAME" "${WHERE[@]}" --worker=all --command="$1"
}

# on_worker_0 COMMAND: runs it on the first worker only.
on_worker_0() {
    gcloud compute tpus tpu-vm ssh "$TPU_NAME" "${WHERE[@]}" --worker=0 --command="$1"
}
