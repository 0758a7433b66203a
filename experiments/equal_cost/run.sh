#!/usr/bin/env bash
# The flagship on a small training set within a fixed number of CPU seconds on one thread, start-up included.
# usage: run.sh TRAIN VAL TEST OUTPUT [CPU_SECONDS=300] [more overrides]
#   VAL may be empty (''): then 50 frames are split off TRAIN.
set -euo pipefail
train=$1 val=$2 test=$3 output=$4 seconds=${5:-300}
shift $(( $# < 5 ? $# : 5 ))
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
split=(data.split.val=50)
[ -n "$val" ] && split=("data.val='$val'")
exec python -m eqff.train experiment=equal_cost "data.path='$train'" "${split[@]}" "+data.test.test='$test'" \
  budget.cpu_seconds="$seconds" output="$output" "$@"
