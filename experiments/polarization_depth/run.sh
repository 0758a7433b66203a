#!/usr/bin/env bash
# How far polarization has to be followed: no induced dipoles, one shot, 1, 2 and 4 steps, converged; the same backbone,
# data and CPU seconds on one thread (start-up included), then tables and figure. Started again, it skips what is finished
# and goes on with what was stopped.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [more overrides]
#   DATA_FOLDER holds water_response/, ion_water_eda/, spice_response/; the pairs of the set ion_pairs ship with eqff
#   SETS="water_dimers ion_water ion_pairs spice", DEPTHS="none direct 1 2 4 mutual", SEEDS="0 1 2" choose which
set -euo pipefail
data=$1 output=$2 here=$(cd "$(dirname "$0")" && pwd)
shift 2
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
common=(model=polarizable model.backbone.channels=32 threads=1 tracking=none figures=false data.multiplicity=lowest
  "+head@model.heads.dipole=dipole" model.heads.dipole.atomic_dipoles=false)

depth() {  # NAME, sets chosen=(...)
  local with="[atomic_dipoles,induced_dipoles]"
  case $1 in
    none) chosen=("~model.terms.induction" "~model.heads.polarizabilities"); with="[atomic_dipoles]" ;;
    direct|mutual) chosen=(model.terms.induction.mode="$1") ;;
    *) chosen=(model.terms.induction.mode=steps model.terms.induction.steps="$1") ;;
  esac
  chosen+=("model.heads.dipole.include=$with")
}

dataset() {  # NAME, sets files=(...)
  local folder=$output/data/$1
  [ -e "$folder/train.extxyz" ] || python "$here/prepare.py" "$1" "$data" "$folder"
  files=(data.path="'$folder/train.extxyz'" data.val="'$folder/val.extxyz'" data.test.test="'$folder/test.extxyz'")
  case $1 in
    water_dimers) files+=(training/losses=energy "data.require=[energy,dipole]" data.batch_size=16
      budget.cpu_seconds=45 "+training.losses.dipole={function: mse, weight: 30.0}") ;;
    ion_water) files+=(training/losses=energy "data.require=[energy]" data.batch_size=32 budget.cpu_seconds=45
      "data.reference_energies={H: 0, O: 0, F: 0, Na: 0, Cl: 0, K: 0, Ca: 0}" "~model.heads.dipole") ;;
    ion_pairs) files+=(data.test.far_pairs="'$folder/far_pairs.extxyz'" data.batch_size=16 budget.cpu_seconds=60
      "+training.losses.dipole={function: mse, weight: 10.0}" "data.labels=[energy,forces,dipole]") ;;
    spice) files+=(data.batch_size=4 budget.cpu_seconds=60 "+training.losses.dipole={function: mse, weight: 10.0}"
      "data.labels=[energy,forces,dipole]") ;;
    *) echo "no set '$1'" >&2; exit 2 ;;
  esac
}

train() {  # SET DEPTH SEED OVERRIDES...
  local folder=$output/$1/$2-$3
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="$folder"
  else
    depth "$2"; dataset "$1"
    if [ "$1" = ion_water ]; then unset 'chosen[-1]'; fi  # interaction energies only: there is no head to include in
    python -m eqff.train "${common[@]}" "${chosen[@]}" "${files[@]}" seed="$3" data.seed="$3" name="depth_$2" \
      output="$folder" "${@:4}"
  fi
}

for seed in ${SEEDS:-0 1 2}; do
  for set in ${SETS:-water_dimers ion_water ion_pairs spice}; do
    for name in ${DEPTHS:-none direct 1 2 4 mutual}; do
      train "$set" "$name" "$seed" "$@"
    done
  done
done
python "$here/table.py" "$output"
