#!/usr/bin/env bash
# An ensemble of four and the last-layer estimate of its first member: calibration on molecules seen and unseen, and
# simulations driven out of the training range. Started again, it skips what is finished.
# usage: run.sh OUTPUT_FOLDER [CPU_SECONDS=60]
# needs tblite for the reference energies along the simulations (pip install 'eqff[qm]')
set -euo pipefail
output=$1 seconds=${2:-60} here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
settings=(data=ions 'data.test={}' model=short_range model.backbone.charge_and_spin=true model.backbone.channels=32
  model.backbone.order=2 data.batch_size=8 threads=1 tracking=none figures=false evaluate=false
  trainer.enable_progress_bar=false training.validations=6)
mkdir -p "$output"

for seed in 0 1 2 3; do
  run=$output/seed$seed
  if grep -qs '"interrupted": false' "$run/result.json"; then
    echo "$run is finished"
  elif [ -e "$run/checkpoints/last.ckpt" ]; then
    python -m eqff.train resume="'$run'"
  else
    rm -rf "$run"
    python -m eqff.train "${settings[@]}" budget.cpu_seconds="$seconds" seed="$seed" data.seed="$seed" \
      name="seed$seed" output="'$run'"
  fi
done

# both are calibrated on the validation set
[ -e "$output/ensemble/ensemble.json" ] ||
  python -m eqff.uncertainty model="'$output/seed[0-3]'" output="'$output/ensemble'"
[ -e "$output/seed0/uncertainty.safetensors" ] ||
  python -m eqff.uncertainty model="'$output/seed0'" max_training=2000 samples=16

for kind in ensemble last_layer; do
  model=$output/ensemble
  [ $kind = ensemble ] || model=$output/seed0/uncertainty.safetensors
  for set in test@::3 test_unseen_molecules@::2; do
    name=${set%@*}
    [ -e "$output/evaluated/$kind/$name.json" ] ||
      python -m eqff.evaluate model="'$model'" data.path="'shipped:ions/${set%@*}.extxyz.gz@${set#*@}'" name="$name" \
        predictions=false output="'$output/evaluated/$kind'"
  done
done

[ -e "$output/start.extxyz" ] || python "$here/excursion.py" start "$output/start.extxyz"
free="max_force=1e9 max_temperature=1e9 max_atom_energy=1e9 min_distance=0.0"
simulate() {  # simulate NAME SEED SETTING...
  local run=$output/md/$1$2
  [ -e "$run/result.json" ] || python -m eqff.simulate model="'$output/ensemble'" structure="'$output/start.extxyz'" \
    seed="$2" timestep=0.25 friction=0.05 steps=400 trajectory_every=4 figures=false output="'$run'" "${@:3}" || true
}
# 300 K, where the first threshold must not stop anything; the second threshold is taken from these runs
validation=$(python "$here/excursion.py" validation "$output")
for seed in 0 1 2 3 4; do simulate cold "$seed" temperature=300 max_uncertainty="$validation"; done
usual=$(python "$here/excursion.py" usual "$output")
for seed in 0 1 2 3 4 5 6 7 8 9; do
  # hot, with nothing that stops it; and hot with a threshold: the second one on seeds that it was not chosen with
  hot=$output/md/hot$seed
  simulate hot "$seed" temperature=5000 flag_uncertainty="$validation" $free
  if [ "$seed" -lt 5 ]; then
    simulate stopped "$seed" temperature=5000 max_uncertainty="$validation" $free
  else
    simulate stopped "$seed" temperature=5000 max_uncertainty="$usual" $free
  fi
  [ -e "$hot/labelled.extxyz" ] ||
    python "$here/../../tools/make_labels.py" "$hot/trajectory.extxyz" "$hot/labelled.extxyz" --method gfn2
done
python "$here/table.py" "$output"
