#!/usr/bin/env bash
# Binding curves beyond the distances of training: the schemes of ../charge_schemes on charged_dimers and on the shipped
# pairs (finished runs of that experiment in OUTPUT_FOLDER are used as they are), then curves and table.
# usage: run.sh DATA_FOLDER OUTPUT_FOLDER [more overrides]
#   SCHEMES="short_range input nse ..." and SEEDS="0 1 2" choose which
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
SETS="charged_dimers ions" "$here/../charge_schemes/run.sh" "$@"
python "$here/curves.py" "$2"
