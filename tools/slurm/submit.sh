#!/usr/bin/env bash
# Make a dataset as a Slurm array: bash tools/slurm/submit.sh MANIFEST DIR [TASKS]
# Plans here, submits TASKS array tasks (16 where none are given) and, after the last, the job that writes DIR/dataset.json.
# DIR lies on a disk that all nodes share. `aih` is taken from PATH: activate its environment first; jobs inherit it.
# SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT and the like are sbatch's own; AIH_JOBS is the processes of a task.
# Submit again as often as you like: finished shards are kept. A manifest with `renderer: auto` gets the renderer of the
# machine where it is planned; name pyrender in it where nodes have GPUs and this one has none.
set -euo pipefail

if (($# < 2 || $# > 3)); then
    printf 'usage: bash tools/slurm/submit.sh MANIFEST DIR [TASKS]\n' >&2
    exit 2
fi
manifest="$(realpath -- "$1")"
folder="$(realpath -m -- "$2")"
tasks="${3:-16}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"

aih plan "$manifest" --out "$folder"
mkdir -p "$folder.logs"
array="$(sbatch --parsable --array="0-$((tasks - 1))" --cpus-per-task="${AIH_JOBS:-1}" \
    --output="$folder.logs/%A_%a.out" "$here/aih_array.sbatch" "$manifest" "$folder")"
index="$(sbatch --parsable --dependency="afterany:${array%%;*}" --job-name=aih-index --ntasks=1 --mem=2G \
    --output="$folder.logs/%j.out" --wrap="aih index $(printf '%q' "$folder")")"
printf 'array %s, index %s; logs in %s.logs; aih status %s\n' "${array%%;*}" "${index%%;*}" "$folder" "$folder"
