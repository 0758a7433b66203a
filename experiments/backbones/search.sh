#!/usr/bin/env bash
# Learning rates and optimizers: short runs, one after the other; the validation loss decides.
# usage: search.sh OUTPUT_FOLDER [CPU_SECONDS=60]
set -euo pipefail
folder=$1 seconds=${2:-60} here=$(dirname "$0")

try() {  # BACKBONE NAME OVERRIDES...
  local backbone=$1 name=$2
  shift 2
  "$here/run.sh" "$backbone" "$folder/${backbone}_$name" "$seconds" evaluate=false figures=false "$@"
}

for rate in 0.02 0.01; do
  for backbone in equivariant painn schnet; do
    try $backbone muon_$rate training.optimizer.lr=$rate training.optimizer.adam_lr="$(python -c "print($rate / 2)")"
  done
done
for rate in 2e-3 1e-3; do
  for backbone in painn schnet; do
    try $backbone adamw_$rate training/optimizer=adamw training.optimizer.lr=$rate
  done
done
try painn muon_0.005 training.optimizer.lr=0.005 training.optimizer.adam_lr=0.0025
