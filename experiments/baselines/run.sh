#!/usr/bin/env bash
# Kernel models of other libraries beside an eqff model: same frames, same evaluation, on one thread; then a table, a
# figure and eqff.compare. Started again, it skips what is there.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER       DATA_FOLDER holds train.extxyz.gz, val.extxyz and test.extxyz.gz
#   needs pip install sgdml dscribe
#   SIZES="50 200 950" frames to train on; MODELS="eqff soap sgdml gfn2" choose; CPU_SECONDS=120 of each eqff training
set -euo pipefail
data=$1 output=$2 here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$output/models"

evaluate() {  # NAME OVERRIDES...
  local folder=$output/evaluations/$1
  [ -e "$folder/test.json" ] || python -m eqff.evaluate "data.path=$data/test.extxyz.gz" name=test output="$folder" \
    predictions=false "${@:2}"
}

fit() {  # NAME SIZE SCRIPT, sets file=MODEL.npz; CPU seconds go to MODEL.time
  file=$output/models/$1-$2.npz
  if [ ! -e "$file" ]; then
    TIMEFORMAT=%U
    { time python "$here/$3" "$data/train.extxyz.gz@:$2" "$data/val.extxyz" "$output/models/new.npz" >&3 2>&4; } \
      3>&1 4>&2 2> "$output/models/$1-$2.time"
    mv "$output/models/new.npz" "$file"
  fi
}

for size in ${SIZES:-50 200 950}; do
  for model in ${MODELS:-eqff soap sgdml gfn2}; do
    case $model in
      eqff)
        folder=$output/runs/eqff-$size
        [ -e "$folder/result.json" ] || python -m eqff.train experiment=equal_cost "data.path=$data/train.extxyz.gz@:$size" \
          "data.val=$data/val.extxyz" budget.cpu_seconds="${CPU_SECONDS:-120}" tracking=none figures=false \
          name="eqff-$size" output="$folder"
        evaluate "eqff-$size" "model=$folder" ;;
      soap)
        fit soap "$size" soap_model.py
        evaluate "soap-$size" "calculator={_target_: soap_model.SoapCalculator, path: $file}" "packages=[soap_model]" ;;
      sgdml)
        [ "$size" -le "${SGDML_LARGEST:-200}" ] || continue  # a dense matrix of (3 atoms · frames)²
        fit sgdml "$size" fit_sgdml.py
        evaluate "sgdml-$size" "packages=[sgdml]" \
          "calculator={_target_: sgdml.intf.ase_calc.SGDMLCalculator, model_path: $file, E_to_eV: 1, F_to_eV_Ang: 1}" ;;
      gfn2)
        evaluate gfn2-0 "calculator={_target_: tblite.ase.TBLite, method: GFN2-xTB, verbosity: 0}" "packages=[tblite]" ;;
    esac
  done
done
python "$here/table.py" "$output"
python -m eqff.compare "$output/evaluations" --sort forces_mae --output "$output/comparison"
