#!/usr/bin/env bash
# Makes or updates .venv from requirements.lock. `make venv` runs it when the lock or setup.py has changed.
#   scripts/venv.sh          make it
#   scripts/venv.sh --find   only print the Python that it would be made with
set -euo pipefail
cd "$(dirname "$0")/.."

uv_version=0.13.9
bin=.venv/bin
supported='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3 python}; do
    # run it: a version manager's command may exist without the Python behind it
    if "$candidate" -c "$supported" >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "h3_pipeline needs Python 3.11 or 3.12 with its venv module; none of these is one:" >&2
  for candidate in ${PYTHON:-python3.11 python3.12 python3 python}; do
    echo "  $candidate: $("$candidate" --version 2>/dev/null || echo "not found")" >&2
  done
  echo "Install one (Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv), or name yours: make venv PYTHON=..." >&2
  return 1
}

if [[ ${1:-} == --find ]]; then
  find_python
  exit
fi

if ! "$bin/python" -c "$supported" >/dev/null 2>&1 || ! "$bin/python" -m pip --version >/dev/null 2>&1; then
  python=$(find_python)
  echo "Making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi

"$bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
export UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180} VIRTUAL_ENV=$PWD/.venv
# progress for a person, silence for a log
[[ -t 2 ]] && quiet=() || quiet=(--quiet)
echo "Installing the packages of requirements.lock into .venv"
# as pip does: otherwise every process compiles all that it imports, where none may write beside the packages
sync=("$bin/uv" pip sync "${quiet[@]}" --compile-bytecode --require-hashes requirements.lock)
# A registry may be reachable only by the system's certificates, or only as pip's configuration says.
"${sync[@]}" ||
  { echo "Trying again with the system's certificates" >&2 && UV_SYSTEM_CERTS=1 "${sync[@]}"; } ||
  { echo "Trying again with pip" >&2 && "$bin/python" -m pip install --quiet --disable-pip-version-check \
    --require-hashes --no-deps -r requirements.lock; }
"$bin/uv" pip install --quiet --no-deps --no-build-isolation --editable .
# the project too, for as long as it is not changed
"$bin/python" -m compileall -q h3_pipeline
touch .venv/.installed
