#!/usr/bin/env bash
# Charges and spin charges of neutral molecules and their radical ions: every model for the same CPU seconds on one
# thread, then tables and figure. Started again, it skips what is finished and goes on with what was stopped.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [CPU_SECONDS=120] [more overrides]
#   MODELS="equilibration input attention" chooses which
#   DATA_FOLDER holds train.extxyz.gz and test.extxyz.gz with energy, charges, spin_charges, charge, spin, mol_id
set -euo pipefail
data=$1 output=$2 seconds=${3:-120} here=$(cd "$(dirname "$0")" && pwd)
shift $(( $# < 3 ? $# : 3 ))
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
common=(data.path="'$data/train.extxyz.gz'" data.test.test="'$data/test.extxyz.gz'" data.split.by=group
  data.split.val=0.08 "data.require=[energy,charges,spin_charges]" data.batch_size=6 threads=1 tracking=none
  model.backbone.num_passes=3 budget.cpu_seconds="$seconds" figures=false)
size=(model/backbone=painn model.backbone.channels=64)
head=(training/losses=energy_charges "+head@model.heads.charges=spin_channel_charges" model.heads.charges.hidden=64)

train() {  # NAME OVERRIDES...
  local folder=$output/$1
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/config.yaml" ]; then
    python -m eqff.train resume="$folder"
  else
    python -m eqff.train "${common[@]}" "${size[@]}" name="$1" output="$folder" "${@:2}"
  fi
}

for model in ${MODELS:-equilibration input attention}; do
  case $model in
    equilibration) chosen=(model=aimnet_nse training/losses=energy_pass_charges
      model.exchanges.equilibration.hidden=64) ;;
    input) chosen=(model=flagship "${head[@]}") ;;
    attention) chosen=(model=spookynet "${head[@]}") ;;
    *) echo "no model '$model'" >&2; exit 2 ;;
  esac
  train "$model" "${chosen[@]}" "$@"
done
python "$here/table.py" "$data" "$output"
