# shellcheck shell=bash
# Sourced by demo.sh and test.sh: finds a Python, keeps a virtual environment up to date, times steps.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
TIMES=()

# Another project's path (ROS sets one) must not reach into the virtual environment.
unset PYTHONPATH PYTHONHOME

say() { printf '\n== %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

now_ms() { printf '%s' "$(($(date +%s%N) / 1000000))"; }

# step NAME COMMAND...: run it, note its time; on failure say which step it was and exit with its code.
step() {
    local name="$1" code=0 start_ms ms
    shift
    say "$name"
    start_ms="$(now_ms)"
    "$@" || code=$?
    ms=$(($(now_ms) - start_ms))
    TIMES+=("$(printf '%-12s %6d.%d s' "$name" $((ms / 1000)) $((ms % 1000 / 100)))")
    if ((code != 0)); then
        printf 'error: step "%s" failed with exit code %d: %s\n' "$name" "$code" "$*" >&2
        exit "$code"
    fi
}

print_times() { printf '%s\n' "${TIMES[@]}"; }

# Prints the path of a Python 3.11 to 3.13 that can make virtual environments: $PYTHON, or the first that fits.
find_python() {
    local candidate found
    local check='import ensurepip, sys, venv
assert (3, 11) <= sys.version_info[:2] <= (3, 13)
print(sys.executable)'
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        if found="$("$candidate" -c "$check" 2>/dev/null)"; then
            printf '%s\n' "$found"
            return
        fi
        [[ -z "${PYTHON:-}" ]] || die "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip."
    done
    die "no Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip was found. Install one (on Debian" \
        "or Ubuntu the package python3-venv is needed too), or name it: PYTHON=/path/to/python3.12 bash $0"
}

# What an environment depends on, as one hash: interpreter, place, extras, dependencies, pins.
environment_stamp() {
    "$1" - "$ROOT" "$2" <<'PY'
import hashlib, json, sys, tomllib
from pathlib import Path

root, extras = Path(sys.argv[1]), sys.argv[2]
project = tomllib.loads((root / "pyproject.toml").read_text())
parts = [project["build-system"], project["project"], project["tool"]["hatch"]]
parts += [(root / "tools/constraints.txt").read_text(), str(root), extras, sys.version, sys.executable]
print(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest())
PY
}

# ensure_venv FOLDER EXTRAS: the checkout, editable, with pinned dependencies. EXTRAS is "" or like "[dev]".
# Does nothing where the folder's stamp says that it is up to date; makes the environment anew otherwise.
ensure_venv() {
    local venv="$1" extras="$2" python stamp
    python="$(find_python)" || exit 1
    stamp="$(environment_stamp "$python" "$extras")" || die "pyproject.toml cannot be read."
    if [[ -x "$venv/bin/python" && -f "$venv/.stamp" && "$(<"$venv/.stamp")" == "$stamp" ]]; then
        printf '%s is up to date.\n' "$venv"
        return
    fi
    [[ ! -e "$venv" || -f "$venv/pyvenv.cfg" ]] || die "$venv is in the way: it is not a virtual environment. Move it."
    printf 'Making %s with %s\n' "$venv" "$("$python" --version)"
    rm -f "$venv/.stamp"
    "$python" -m venv --clear "$venv" || die "$python cannot make a virtual environment in $venv."
    # The build backends come from the pins too, hence no build isolation; wheels only, so no compiler is needed. One
    # package of plain Python, which mlcroissant needs, has none.
    local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input
        --only-binary :all: --no-binary jsonpath-rw --constraint "$ROOT/tools/constraints.txt")
    "${pip[@]}" hatchling setuptools && "${pip[@]}" --no-build-isolation --editable "$ROOT$extras" ||
        die "pip could not install the dependencies (its message is above). Is a package index within reach?"
    printf '%s\n' "$stamp" >"$venv/.stamp"
}
