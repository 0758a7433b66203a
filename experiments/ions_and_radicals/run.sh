#!/usr/bin/env bash
# Charges and spin charges of neutral molecules and their radical ions: every model for the same CPU seconds on one
# thread, then tables and figure. Started again, it skips what is finished and goes on with what was stopped.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [CPU_SECONDS=300] [more overrides]
#   MODELS="equilibration input attention" and SEEDS="0 1 2" choose which
#   DATA_FOLDER holds train.extxyz.gz and test.extxyz.gz with energy, charges, spin_charges, charge, spin, mol_id
set -euo pipefail
data=$1 output=$2 seconds=${3:-300} here=$(cd "$(dirname "$0")" && pwd)
shift $(( $# < 3 ? $# : 3 ))
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
common=(data.path="'$data/train.extxyz.gz'" data.test.test="'$data/test.extxyz.gz'" data.split.by=group
  data.split.val=0.08 "data.require=[energy,charges,spin_charges]" data.batch_size=6 threads=1 tracking=none
  model.backbone.num_passes=3 training.optimizer.weight_decay=0.1 budget.cpu_seconds="$seconds" figures=false)
size=(model/backbone=painn model.backbone.channels=64 model.backbone.cutoff=3.5)
head=("+head@model.heads.charges=spin_channel_charges" model.heads.charges.hidden=64 model.heads.charges.scale=1.0)

losses() {  # PREFIX, sets chosen=(...): errors of charges as in energy_${1}charges, but absolute ones
  chosen=(training/losses="energy_${1}charges"
    training.losses."${1}charges".{function=mae,weight=10} training.losses."${1}spin_charges".{function=mae,weight=40})
}

train() {  # MODEL SEED OVERRIDES...
  local folder=$output/$1-$2
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="$folder"
  else
    python -m eqff.train "${common[@]}" "${size[@]}" name="$1" seed="$2" data.seed="$2" output="$folder" "${@:3}"
  fi
}

for seed in ${SEEDS:-0 1 2}; do
  for model in ${MODELS:-equilibration input attention}; do
    case $model in
      equilibration) losses pass_; chosen+=(model=aimnet_nse model.exchanges.equilibration.hidden=64
        model.exchanges.equilibration.scale=1.0) ;;
      input) losses ""; chosen+=(model=charge_embedding "${head[@]}") ;;
      attention) losses ""; chosen+=(model=spookynet "${head[@]}") ;;
      *) echo "no model '$model'" >&2; exit 2 ;;
    esac
    train "$model" "$seed" "${chosen[@]}" "$@"
  done
done
python "$here/table.py" "$data" "$output"
