#!/bin/sh
# Runs tick.py beside a hungry job, without a reservation and with one, and prints how late it woke. Needs a platform that
# runs here (`stead serve`). Usage: ./compare.sh [SECONDS]
set -eu
cd "$(dirname "$0")"
seconds=${1:-10}
stead=${STEAD:-stead}
tick="--cpu 0.5 --read $PWD -- python3 tick.py $seconds"
hungry='while :; do :; done'
last=$(($(nproc) - 1))

# One loop for each processor, without a limit.
job=$($stead job array "0-$last" --cpu 0 -- sh -c "$hungry")
trap '$stead job cancel "$job"' EXIT INT TERM
sleep 1
echo "beside a hungry job, nothing reserved:"
$stead job run $tick
echo "beside a hungry job, 1 ms in every 5 ms reserved:"
$stead job run --cpu-time 1ms/5ms $tick
$stead job cancel "$job"

job=$($stead job array "0-$last" --cpu 1 --best-effort -- sh -c "$hungry")
sleep 1
echo "beside a hungry job of best effort, nothing reserved:"
$stead job run $tick
