#!/usr/bin/env bash
# The three backbones (PaiNN in two sizes), each with the optimizer's setting that search.sh found, and the table of their errors.
# usage: final.sh OUTPUT_FOLDER [CPU_SECONDS=300]
set -euo pipefail
folder=$1 seconds=${2:-300} here=$(dirname "$0")
"$here/run.sh" equivariant "$folder/equivariant" "$seconds"
for backbone in painn schnet; do
  "$here/run.sh" $backbone "$folder/$backbone" "$seconds" training.optimizer.lr=0.01 training.optimizer.adam_lr=0.005
done
"$here/run.sh" painn "$folder/painn_64" "$seconds" training.optimizer.lr=0.01 training.optimizer.adam_lr=0.005 \
  model.backbone.channels=64
python "$here/table.py" "$folder"/{equivariant,painn,painn_64,schnet}
