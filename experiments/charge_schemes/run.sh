#!/usr/bin/env bash
# Ways to treat charge on one backbone, with the same data and the same CPU seconds on one thread (start-up included),
# then tables and figures: 108 minutes of CPU time in all. Started again, it skips what is finished and goes on with what was stopped.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [more overrides]
#   DATA_FOLDER holds ag3_ions/, charged_dimers/, ... as experiments/README.md says; the set `ions` ships with eqff
#   SETS="ag3_ions charged_dimers ions", SCHEMES="short_range input ...", SEEDS="0 1 2" choose which; the schemes lode and bpopnn
#   are trained only where they are chosen
set -euo pipefail
data=$1 output=$2 here=$(cd "$(dirname "$0")" && pwd)
shift 2
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
schemes="short_range input inferred nse qeq hdnnp_4g sqe latent"
common=(threads=1 tracking=none figures=false model/backbone=equivariant data.multiplicity=lowest)

# Every scheme but short_range has total charge and multiplicity as inputs of the backbone too, and the repulsion of nuclei.
scheme() {  # NAME, sets chosen=(...)
  case $1 in
    short_range) chosen=(model=short_range) ;;
    input) chosen=(model=charge_embedding) ;;
    inferred) chosen=(model=third_generation) ;;
    nse) chosen=(model=flagship) ;;
    qeq) chosen=(model=qeq) ;;
    hdnnp_4g) chosen=(model=hdnnp_4g) ;;
    sqe) chosen=(model=sqe) ;;
    latent) chosen=(model=les) ;;
    lode) chosen=(model=lode) ;;
    bpopnn) chosen=(model=bpopnn); return ;;  # charge states differ by the total of the populations alone
    *) echo "no scheme '$1'" >&2; exit 2 ;;
  esac
  [ "$1" = short_range ] || chosen+=(model.backbone.charge_and_spin=true)
}

dataset() {  # NAME, sets files=(...)
  local folder=$output/data/$1
  if [ "$1" = ions ]; then
    files=(data=ions data.batch_size=16 budget.cpu_seconds=120)
    return
  fi
  [ -e "$folder/train.extxyz" ] || python "$here/prepare.py" "$1" "$data/$1" "$folder"
  files=(data.path="'$folder/train.extxyz'")
  case $1 in
    charged_dimers) files+=(data.val="'$folder/val.extxyz'" data.test.far="'$folder/far.extxyz'" data.batch_size=5
      budget.cpu_seconds=60 "data.labels=[energy,forces]") ;;
    *) files+=(data.split.val=0.1 data.test.test="'$folder/test.extxyz'" data.batch_size=10
      budget.cpu_seconds=90) ;;
  esac
  files+=(training.losses.energy.weight=30)
}

has_charges() { case $1 in short_range|input|latent) return 1 ;; esac; }

train() {  # SET SCHEME SEED OVERRIDES...
  local folder=$output/$1/$2-$3
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="$folder"
  else
    dataset "$1"; scheme "$2"
    # the shipped set alone has charges of atoms; schemes that have some learn from them
    if [ "$1" = ions ] && has_charges "$2"; then files+=(+training.losses.charges.weight=10); fi
    python -m eqff.train "${chosen[@]}" "${files[@]}" "${common[@]}" seed="$3" data.seed="$3" name="$2" \
      output="$folder" "${@:4}"
  fi
}

for seed in ${SEEDS:-0 1 2}; do
  for set in ${SETS:-ag3_ions charged_dimers ions}; do
    for name in ${SCHEMES:-$schemes}; do
      train "$set" "$name" "$seed" "$@"
    done
  done
done
python "$here/table.py" "$output"
