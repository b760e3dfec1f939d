#!/usr/bin/env bash
# The benchmark on a machine with an NVIDIA GPU: bash tools/bench/gpu.sh WHEELS [OUT.json]
# WHEELS is a folder of wheels; nothing else is fetched. Fill it where there is a network, with the same Python:
#   python -m pip download --only-binary :all: -c tools/constraints.txt -d WHEELS hatchling '.[train]'
# Measures pyrender on EGL against numba and the naive versions, whole datasets with 1 to 16 processes and, where WHEELS
# holds torch (leave '[train]' out for none), training steps at the paper's size, into OUT-training.json. It needs the
# driver's EGL (libEGL_nvidia, with the file 10_nvidia.json in glvnd's egl_vendor.d), and says so where it is missing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../venv.sh"
cd "$ROOT"

[[ $# -ge 1 && -d "$1" ]] || die "usage: bash tools/bench/gpu.sh WHEELS [OUT.json]; WHEELS is a folder of wheels."
wheels="$(cd "$1" && pwd)"
out="${2:-tools/bench/results/gpu.json}"
venv="$ROOT/.venv-bench"
extra=""
if compgen -G "$wheels/torch-*.whl" >/dev/null; then
    extra="[train]"
fi

install_from_wheels() {
    local python pip
    python="$(find_python)" || exit 1
    "$python" -m venv --clear "$venv" || die "$python cannot make a virtual environment in $venv."
    pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$wheels"
        --constraint "$ROOT/tools/constraints.txt")
    "${pip[@]}" hatchling && "${pip[@]}" --no-build-isolation --editable "$ROOT$extra" ||
        die "$wheels does not hold all that is needed (pip's message is above). See the head of this script."
}

# Where there is no such file, glvnd finds Mesa only, though the driver's library is there: containers often lack it.
name_nvidia_egl() {
    local folder library
    for folder in /etc/glvnd/egl_vendor.d /usr/share/glvnd/egl_vendor.d; do
        compgen -G "$folder/*nvidia*.json" >/dev/null && return
    done
    library="$(ldconfig -p | awk '/libEGL_nvidia\.so\.0/ {print $NF; exit}')"
    [[ -n "$library" ]] || die "no libEGL_nvidia.so.0 here. In a container, ask for the driver's graphics" \
        "capability (NVIDIA_DRIVER_CAPABILITIES=all); else install the driver with its OpenGL libraries."
    printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s"}}\n' "$library" >"$venv/10_nvidia.json"
    export __EGL_VENDOR_LIBRARY_FILENAMES="$venv/10_nvidia.json"
}

measure_training() {
    if [[ -z "$extra" ]]; then
        printf 'No torch in %s: training steps are not measured\n' "$wheels"
        return
    fi
    "$venv/bin/aih" generate manifests/demo.yaml --out "$venv/demo" --jobs "$(nproc)" &&
        "$venv/bin/python" tools/bench/training.py "$venv/demo" --size paper --input-px 256 --batch 16 --device auto \
            --precision bfloat16 --workers 0 8 --out "${out%.json}-training.json"
}

processes=(1)
for count in 2 4 8 16; do
    ((count <= $(nproc))) && processes+=("$count")
done

step environment install_from_wheels
step EGL name_nvidia_egl
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
step benchmark "$venv/bin/python" tools/bench/engines.py --need-gpu --processes "${processes[@]}" \
    --samples 1024 --out "$out"
step training measure_training
printf 'figures      %s\n' "$out"
print_times
