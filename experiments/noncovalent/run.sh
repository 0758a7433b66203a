#!/usr/bin/env bash
# Which part of the physics non-covalent interactions need: a short-range model, then with charges, dipoles and quadrupoles,
# induced dipoles and dispersion, one after the other; the same backbone, data and CPU seconds on one thread (start-up
# included), then tables and figure. Started again, it skips what is finished and goes on with what was stopped.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [more overrides]
#   DATA_FOLDER is ncia: HB375x10, IHB100x10 and D442x10 (.extxyz.gz) with interaction_energy and fragment
#   MODELS="short_range charges multipoles induction dispersion", SEEDS="0 1 2" choose which
set -euo pipefail
data=$1 output=$2 here=$(cd "$(dirname "$0")" && pwd)
shift 2
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
files=$output/data
[ -e "$files/train.extxyz" ] || python "$here/prepare.py" "$data" "$files"
# a pair's energy is its interaction energy, its molecules' energies are zero: elements have none
common=(model=charge_embedding model.backbone.channels=32 training/losses=energy threads=1 tracking=none figures=false
  data.path="'$files/train.extxyz'" data.val="'$files/val.extxyz'" data.test.test="'$files/test.extxyz'"
  data.batch_size=16 "data.require=[energy]" budget.cpu_seconds=75
  "data.reference_energies={H: 0, C: 0, N: 0, O: 0, F: 0, S: 0, Cl: 0, Ar: 0}")
# within a molecule charges and moments don't interact: molecules are rigid here, and have no energy
charges=(+head@model.heads.charges=charges +head@model.heads.molecules=molecules
  +term@model.terms.multipoles=multipoles model.terms.multipoles.short_range=gaussian model.terms.multipoles.width=1.0
  model.terms.multipoles.groups=molecules)
moments=(+head@model.heads.atomic_dipoles=atomic_dipoles +head@model.heads.atomic_quadrupoles=atomic_quadrupoles)
induction=(+head@model.heads.polarizabilities=polarizabilities +term@model.terms.induction=induction
  model.terms.induction.groups=molecules model.terms.induction.dipoles=atomic_dipoles
  model.terms.induction.quadrupoles=atomic_quadrupoles)
dispersion=(+term@model.terms.dispersion=learned_dispersion)

train() {  # NAME SEED OVERRIDES...
  local folder=$output/$1-$2 chosen=()
  case $1 in
    short_range) ;;
    charges) chosen=("${charges[@]}" model.terms.multipoles.dipoles=null model.terms.multipoles.quadrupoles=null) ;;
    multipoles) chosen=("${charges[@]}" "${moments[@]}") ;;
    induction) chosen=("${charges[@]}" "${moments[@]}" "${induction[@]}") ;;
    dispersion) chosen=("${charges[@]}" "${moments[@]}" "${induction[@]}" "${dispersion[@]}") ;;
    *) echo "no model '$1'" >&2; exit 2 ;;
  esac
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="$folder"
  else
    python -m eqff.train "${common[@]}" "${chosen[@]}" seed="$2" data.seed="$2" name="$1" output="$folder" "${@:3}"
  fi
}

for seed in ${SEEDS:-0 1 2}; do
  for name in ${MODELS:-short_range charges multipoles induction dispersion}; do
    train "$name" "$seed" "$@"
  done
done
python "$here/table.py" "$output"
