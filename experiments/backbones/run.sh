#!/usr/bin/env bash
# One backbone on the shipped ions within a number of CPU seconds on one thread, start-up and validations included.
# usage: run.sh BACKBONE OUTPUT [CPU_SECONDS=300] [more overrides]
set -euo pipefail
backbone=$1 output=$2 seconds=${3:-300}
shift $(( $# < 3 ? $# : 3 ))
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
exec python -m eqff.train data=ions model=charge_embedding data.batch_size=16 model/backbone="$backbone" threads=1 \
  budget.cpu_seconds="$seconds" tracking=none name="$backbone" output="$output" "$@"
