#!/usr/bin/env bash
# Ag3+ and Ag3-: one model, total charge as input, for the same CPU seconds on one thread with three seeds, then a table.
# Started again, it skips what is finished and goes on with what was stopped.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [CPU_SECONDS=240] [more overrides]
#   DATA_FOLDER holds train.extxyz.gz and test.extxyz with energy, forces, charge and suspect_scf
#   SEEDS="0 1 2" chooses which
set -euo pipefail
data=$1 output=$2 seconds=${3:-240} here=$(cd "$(dirname "$0")" && pwd)
shift $(( $# < 3 ? $# : 3 ))
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
settings=(model=charge_embedding data.multiplicity=lowest data.charge_reference=offsets data.split.val=0.1 data.batch_size=10
  training.losses.energy.weight=30 threads=1 tracking=none figures=false)

if ! [ -e "$output/data/test.extxyz" ]; then
  mkdir -p "$output"
  python "$here/../charge_schemes/prepare.py" ag3_ions "$data" "$output/data" | tee "$output/left_out.txt"
fi
for seed in ${SEEDS:-0 1 2}; do
  folder=$output/seed$seed
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="$folder"
  else
    python -m eqff.train "${settings[@]}" data.path="'$output/data/train.extxyz'" \
      data.test.test="'$output/data/test.extxyz'" budget.cpu_seconds="$seconds" seed="$seed" data.seed="$seed" \
      name="seed$seed" output="$folder" "$@"
  fi
done
python "$here/table.py" "$output"
