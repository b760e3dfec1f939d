#!/usr/bin/env bash
# Make a dataset as a Slurm array: bash tools/slurm/submit.sh MANIFEST DIR [TASKS]
# Three jobs, one after the other: a plan in DIR, an array of TASKS (16) that make its shards, and DIR/dataset.json.
# DIR lies on a disk that all nodes share. `aih` is taken from PATH: activate its environment first, jobs inherit it.
# Where and how long is said by sbatch's own variables (SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT; SBATCH_GPUS=1
# for the renderer pyrender), the processes of a task by AIH_JOBS (1). Submit again as often as you like: what is
# finished is kept.
set -euo pipefail

if (($# < 2 || $# > 3)) || ! [[ "${3:-16}" =~ ^[1-9][0-9]*$ && "${AIH_JOBS:-1}" =~ ^[1-9][0-9]*$ ]]; then
    printf 'usage: [AIH_JOBS=N] bash tools/slurm/submit.sh MANIFEST DIR [TASKS]\n' >&2
    exit 2
fi
command -v aih >/dev/null || { printf 'no aih on the PATH: activate the environment where it is installed\n' >&2; exit 1; }
manifest="$(realpath -- "$1")"
folder="$(realpath -m -- "$2")"
tasks="${3:-16}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
logs="$folder.logs"
mkdir -p -- "$logs"
log="${logs//%/%%}" # sbatch replaces %j and the like

submit() { sbatch --parsable --kill-on-invalid-dep=yes "$@" | cut -d ';' -f 1; }

plan="$(submit --job-name=aih-plan --output="$log/plan-%j.out" "$here/aih_once.sbatch" plan "$manifest" --out "$folder")"
array="$(submit --dependency="afterok:$plan" --array="0-$((tasks - 1))" --cpus-per-task="${AIH_JOBS:-1}" \
    --output="$log/%A_%a.out" "$here/aih_array.sbatch" "$manifest" "$folder" "$tasks")"
index="$(submit --job-name=aih-index --dependency="afterany:$array" --output="$log/index-%j.out" \
    "$here/aih_once.sbatch" index "$folder")"
printf 'plan %s, array %s, index %s; logs in %s; aih status %s\n' "$plan" "$array" "$index" "$logs" "$folder"
