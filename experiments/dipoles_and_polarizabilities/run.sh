#!/usr/bin/env bash
# Dipoles and polarizabilities of molecules (coupled cluster): what a model of them needs, over the number of training
# molecules; the same backbone and CPU seconds on one thread (start-up included), then table and figure. Started again,
# it skips what is finished and goes on with what was stopped.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [more overrides]
#   DATA_FOLDER is qm7b_response: train.extxyz(.gz) and test.extxyz with dipole and polarizability
#   MODELS="charges dipoles interacting", SIZES="100 200 400 900", SEEDS="0 1 2" choose which
set -euo pipefail
data=$1 output=$2 here=$(cd "$(dirname "$0")" && pwd)
shift 2
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
[ -e "$output/data/test.extxyz" ] || python "$here/prepare.py" "$data" "$output/data"
common=(model=short_range model.backbone.channels=32 training/losses=dipole_polarizability threads=1 tracking=none
  figures=false data.val="'$output/data/val.extxyz'"
  data.test.test="'$output/data/test.extxyz'" data.batch_size=8 "data.require=[dipole,polarizability]"
  "data.labels=[dipole,polarizability]" budget.cpu_seconds=45
  "data.reference_energies={H: 0, C: 0, N: 0, O: 0, S: 0, Cl: 0}" +head@model.heads.charges=charges
  +head@model.heads.polarizabilities=polarizabilities +head@model.heads.polarizability=molecular_polarizability)

model() {  # NAME, sets chosen=(...)
  local total=(+head@model.heads.dipole=dipole model.heads.dipole.atomic_dipoles=false)
  local dipoles=(+head@model.heads.atomic_dipoles=atomic_dipoles "${total[@]}" "model.heads.dipole.include=[atomic_dipoles]")
  case $1 in
    charges) chosen=("${total[@]}" model.heads.polarizability.interacting=false) ;;
    dipoles) chosen=("${dipoles[@]}" model.heads.polarizability.interacting=false) ;;
    interacting) chosen=("${dipoles[@]}") ;;
    *) echo "no model '$1'" >&2; exit 2 ;;
  esac
}

train() {  # MODEL SIZE SEED OVERRIDES...
  local folder=$output/$1-$2-$3
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="$folder"
  else
    model "$1"
    python -m eqff.train "${common[@]}" "${chosen[@]}" data.path="'$output/data/train.extxyz@:$2'" \
      seed="$3" data.seed="$3" name="$1" output="$folder" "${@:4}"
  fi
}

for seed in ${SEEDS:-0 1 2}; do
  for size in ${SIZES:-100 200 400 900}; do
    for name in ${MODELS:-charges dipoles interacting}; do
      train "$name" "$size" "$seed" "$@"
    done
  done
done
python "$here/table.py" "$output"
