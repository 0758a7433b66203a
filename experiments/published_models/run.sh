#!/usr/bin/env bash
# A published model in the same table as ours: SevenNet-0 as it is, and models trained here for some minutes on MAD's
# crystals. Needs the package sevenn (pip install 'eqff[sevenn]'). Started again, it skips what is finished.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [more overrides]
#   DATA_FOLDER holds mad_small/ with MAD's train.extxyz.gz and test.extxyz; CPU_SECONDS=300 of our training
set -euo pipefail
data=$1 output=$2 here=$(cd "$(dirname "$0")" && pwd)
shift 2
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
files=$output/data
[ -e "$files/test.extxyz" ] || python "$here/prepare.py" "$data/mad_small" "$files"
[ -e "$output/beside.md" ] || python "$here/beside.py" "$files/beside.extxyz" "$output/beside.md"
common=(threads=1 tracking=none figures=false data.path="'$files/train.extxyz'" data.test.test="'$files/test.extxyz'"
  data.val="'$files/val.extxyz'" data.total_charge=0 data.multiplicity=lowest data.batch_size=4)

train() {  # NAME OVERRIDES...
  local folder=$output/runs/$1
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="$folder"
  else
    python -m eqff.train "${common[@]}" name="$1" output="$folder" "${@:2}"
  fi
}

# one step with next to no learning rate: only the elements' energies move, to those of the data, by least squares
train sevennet-0 finetune.model=sevenn://7net-0 finetune.lr_factor=1e-9 trainer.max_steps=1 training.ema=null \
  training.keep=last "$@"
train short_range model=short_range training/losses=energy_forces_stress budget.cpu_seconds="${CPU_SECONDS:-300}" "$@"
python -m eqff.compare "$output/runs" --output "$output/comparison" --metrics 'test/*_mae' --no-figures
