#!/usr/bin/env bash
# Interaction energies from fragments: AP-Net's scheme, with and without labels of SAPT's parts and with pair energies alone,
# beside a model of whole structures whose energies are subtracted; the same pairs and CPU seconds on one thread (start-up
# included), then tables and figure. Started again, it skips what is finished and goes on with what was stopped.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [more overrides]
#   DATA_FOLDER is ncia: HB375x10, IHB100x10 and D442x10 (.extxyz.gz) with interaction_energy, sapt_* and fragment
#   MODELS="supermolecular pairs ap_net ap_net_sapt", SEEDS="0 1 2", SECONDS_EACH=75 choose which and how long
set -euo pipefail
data=$1 output=$2 here=$(cd "$(dirname "$0")" && pwd)
shift 2
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
whole=$output/data/supermolecular files=$output/data/fragments
[ -e "$whole/train.extxyz" ] || python "$here/../noncovalent/prepare.py" "$data" "$whole"
[ -e "$files/train.extxyz" ] || python "$here/prepare.py" "$whole" "$files"
settings=(threads=1 tracking=none figures=false data.batch_size=16 model.backbone.channels=32
  budget.cpu_seconds="${SECONDS_EACH:-75}")
supermolecular=(model=charge_embedding training/losses=energy data.require=[energy] data.reference_energies=none
  data.path="'$whole/train.extxyz'" data.val="'$whole/val.extxyz'")
fragments=(data=dimers model=ap_net data.path="'$files/train.extxyz'" data.val="'$files/val.extxyz'")
alone=('~model.terms.multipoles' '~model.heads.charges' '~model.heads.atomic_dipoles' '~model.heads.atomic_quadrupoles'
  '~model.heads.components' '~model.terms.exchange' '~model.terms.induction' '~model.terms.dispersion')

train() {  # NAME SEED OVERRIDES...
  local folder=$output/$1-$2 chosen
  case $1 in
    supermolecular) chosen=("${supermolecular[@]}") ;;
    pairs) chosen=("${fragments[@]}" training/losses=interaction_energy "${alone[@]}") ;;
    ap_net) chosen=("${fragments[@]}" training/losses=interaction_energy) ;;
    ap_net_sapt) chosen=("${fragments[@]}" training/losses=sapt) ;;
    *) echo "no model '$1'" >&2; exit 2 ;;
  esac
  if grep -qs '"interrupted": false' "$folder/result.json"; then
    echo "$folder is finished"
  elif [ -e "$folder/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="$folder"
  else
    python -m eqff.train "${chosen[@]}" "${settings[@]}" seed="$2" data.seed="$2" name="$1" output="$folder" "${@:3}"
  fi
}

for seed in ${SEEDS:-0 1 2}; do
  for name in ${MODELS:-supermolecular pairs ap_net ap_net_sapt}; do
    train "$name" "$seed" "$@"
  done
done
python "$here/table.py" "$output"
