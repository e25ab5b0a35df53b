#!/usr/bin/env bash
# Recipe: not run. Ends the training as a preemption would: SIGTERM on every worker, upon which it saves a checkpoint
# and exits. run.sh with the same arguments goes on from there.
#
#   TPU_NAME=digits ZONE=us-east5-b bash tpu_scripts/stop.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

on_workers "
    set -eu
    pid=\$(cat $REMOTE/logs/pid)
    kill -TERM \$pid 2>/dev/null || { echo \"\$(hostname): no run\"; exit 0; }
    while kill -0 \$pid 2>/dev/null; do sleep 1; done
    echo \"\$(hostname): stopped\"
"
