#!/usr/bin/env bash
# From nothing to a validated dataset: makes .venv-demo, installs the core, generates manifests/demo.yaml into
# out/demo, validates it and draws out/demo-sheet.png. A second run skips whatever is finished.
# Needs Python 3.11 to 3.13 with its venv module; PYTHON=/path/to/python chooses one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$ROOT"

venv="$ROOT/.venv-demo"
dataset="out/demo"
sheet="out/demo-sheet.png"

summary() {
    "$venv/bin/python" - "$dataset" <<'PY'
import sys
from pathlib import Path

from aih_builder import open_dataset

folder = Path(sys.argv[1])
dataset = open_dataset(folder)
samples, size = len(dataset), sum(shard["bytes"] for shard in dataset.shards)
print(f"dataset      {folder}")
print(f"samples      {samples} in {len(dataset.shards)} shards")
print(f"bytes        {size} ({size / samples / 1024:.1f} KiB per sample)")
PY
}

step environment ensure_venv "$venv" ""
jobs="$(nproc)"
step generate "$venv/bin/aih" generate manifests/demo.yaml --out "$dataset" --jobs "$jobs"
step validate "$venv/bin/aih" validate "$dataset" --jobs "$jobs"
step sheet "$venv/bin/aih" sheet "$dataset" --out "$sheet"

say summary
summary
printf 'sheet        %s\n' "$sheet"
print_times
