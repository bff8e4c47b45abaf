#!/usr/bin/env bash
# Makes or updates .venv-bench from benchmarks/requirements.lock. `make bench-venv` runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-bench
uv=.venv/bin/uv
if ! "$venv/bin/python" -c 'import sys' >/dev/null 2>&1; then
  # the pipeline's own Python, so that all contenders run on the same
  python=$(.venv/bin/python -c 'import sys; print(sys._base_executable)')
  echo "Making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi

export UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180} VIRTUAL_ENV=$PWD/$venv
echo "Installing the packages of benchmarks/requirements.lock into $venv"
# compiled, as those of .venv are
sync=("$uv" pip sync --quiet --compile-bytecode --python "$venv/bin/python" --require-hashes benchmarks/requirements.lock)
# A registry may be reachable only by the system's certificates, or only as pip's configuration says.
"${sync[@]}" ||
  { echo "Trying again with the system's certificates" >&2 && UV_SYSTEM_CERTS=1 "${sync[@]}"; } ||
  { echo "Trying again with pip" >&2 && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --require-hashes --no-deps -r benchmarks/requirements.lock; }
touch "$venv/.installed"
