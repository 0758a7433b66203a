#!/usr/bin/env bash
# Fine-tuning eqff-ions on 50 frames beside training from scratch: what is learned, what is forgotten. Fourteen runs of a
# minute of CPU time on one thread each, then tables and a figure; started again, it skips what is finished.
# usage: run.sh OUTPUT_FOLDER [more overrides]
#   MODEL=eqff-ions is what is fine-tuned: a name, a path or a run folder
#   CPU_SECONDS=60 of a run; SETS="unseen wb97x", VARIANTS="scratch full readouts replay" and SEEDS="0 1" choose
set -euo pipefail
output=$1 here=$(cd "$(dirname "$0")" && pwd)
shift
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
common=(threads=1 tracking=none figures=false data.batch_size=5 budget.cpu_seconds="${CPU_SECONDS:-60}"
  +training.losses.charges.weight=10 +training.losses.spin_charges.weight=10)

dataset() {  # NAME, sets files=(...): 50 frames, of which 10 validate, and a test set that shares no frame with them
  case $1 in
    unseen) files=(data.path="shipped:ions/test_unseen_molecules.extxyz.gz@:450:9"
      data.test.new="shipped:ions/test_unseen_molecules.extxyz.gz@1::3") ;;
    wb97x) files=(data.path="shipped:ions/wb97x_train.extxyz.gz@:150:3"
      data.test.new="shipped:ions/wb97x_test.extxyz.gz") ;;
    *) echo "no set '$1'" >&2; exit 2 ;;
  esac
  files+=(data.split.val=10)
}

variant() {  # NAME SET, sets chosen=(...)
  # a model from scratch can't be tested on old frames: it lacks some of their elements
  local tuned=(finetune.model="${MODEL:-eqff-ions}" data.test.old="shipped:ions/test.extxyz.gz@::4")
  # unseen molecules have the energies of the model's own level of theory; those of wB97X are others
  [ "$2" = wb97x ] || tuned+=(finetune.reference_energies=keep)
  case $1 in
    scratch) chosen=(model=flagship) ;;
    full) chosen=("${tuned[@]}" finetune=full) ;;
    readouts) chosen=("${tuned[@]}" finetune=readouts) ;;
    replay) chosen=("${tuned[@]}" finetune=full data.extra="shipped:ions/train.extxyz.gz@:4700:94") ;;
  esac
}

train() {  # SET VARIANT SEED OVERRIDES...
  local folder=$output/$1/$2-$3
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="$folder"
  else
    dataset "$1"; variant "$2" "$1"
    python -m eqff.train "${chosen[@]}" "${files[@]}" "${common[@]}" seed="$3" data.seed="$3" data.split.seed="$3" \
      name="$2" output="$folder" "${@:4}"
  fi
}

for set in ${SETS:-unseen wb97x}; do
  variants=${VARIANTS:-scratch full readouts replay}
  # frames of two levels of theory are not mixed: no replay
  [ "$set" = unseen ] || variants=${variants/replay/}
  for seed in ${SEEDS:-0 1}; do
    for name in $variants; do train "$set" "$name" "$seed" "$@"; done
  done
done
python "$here/table.py" "$output"
