#!/usr/bin/env bash
# Active learning from a pool of 2,000 frames against random picking and against the whole pool; then table and figure.
# Every training has the same number of optimizer steps. Started again, it goes on where it was stopped.
# usage: run.sh OUTPUT_FOLDER [STEPS=2000]      SEEDS="0 1 2" chooses which
set -euo pipefail
output=$1 steps=${2:-2000} here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
settings=(model=short_range model.backbone.charge_and_spin=true model.backbone.channels=32 model.backbone.order=2
  data.batch_size=16 trainer.max_steps="$steps" training.validations=5 threads=1 tracking=none figures=false
  trainer.enable_progress_bar=false)
as_list=$(printf ',"%s"' "${settings[@]}")
mkdir -p "$output"
[ -e "$output/data/done" ] || { python "$here/prepare.py" "$output/data" | tee "$output/data.txt"; touch "$output/data/done"; }
data=$output/data

loop() {  # loop FOLDER SEED SETTING...
  local folder=$1 seed=$2
  shift 2
  python -m eqff.active pool="'$data/pool.extxyz'" held_back="'$data/held_back.extxyz'" \
    test.test="'$data/test.extxyz'" output="'$folder'" seed="$seed" "train=[${as_list:1}]" "$@"
}

for seed in ${SEEDS:-0 1 2}; do
  full=$output/full_seed$seed
  if grep -qs '"interrupted": false' "$full/result.json"; then
    echo "$full is finished"
  elif [ -e "$full/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="'$full'"
  else
    rm -rf "$full"
    python -m eqff.train "${settings[@]}" data.path="'$data/pool.extxyz'" data.val="'$data/held_back.extxyz'" \
      data.test.test="'$data/test.extxyz'" seed="$seed" data.seed="$seed" output="'$full'"
  fi
  loop "$output/active_seed$seed" "$seed" first=100 count=125 rounds=5
  # the first round is the same for both: 100 frames at random
  random=$output/random_seed$seed
  [ -e "$random/round_00" ] || { mkdir -p "$random"; cp -r "$output/active_seed$seed/round_00" "$random/round_00"; }
  loop "$random" "$seed" first=100 count=250 rounds=3 strategy=random
done
python "$here/table.py" "$output"
