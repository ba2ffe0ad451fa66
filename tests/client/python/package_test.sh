#!/bin/bash
# usage: package_test.sh [--pypi] PYTHON BUILD_FOLDER
# Installs the Python client into an environment of its own, and runs its tests from there: without network, with the
# system's grpcio, protobuf and NumPy; with --pypi (skipped unless KLDIV_SLOW is set) with the current ones.
set -euo pipefail
pypi=
[[ $1 != --pypi ]] || { pypi=yes; shift; }
python=$1 build=$2
here=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "$here/../../..")
[[ -z $pypi || -n ${KLDIV_SLOW:-} ]] || exit 77
unset KLDIV_SLOW PYTHONPATH PYTHONHOME
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" # so that nothing is imported from the tree

fail() { echo "FAILED: $*" >&2; exit 1; }
quiet() { "$@" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; fail "$*"; }; }

# pip builds where the sources are.
mkdir "$folder/source"
cp -r "$root"/client/python/{pyproject.toml,README.md,kldiv} "$folder/source"
if [[ -n $pypi ]]; then
  quiet "$python" -m venv "$folder/venv"
  quiet "$folder/venv/bin/pip" wheel --no-deps --wheel-dir "$folder/wheels" "$folder/source"
  quiet "$folder/venv/bin/pip" install "$folder"/wheels/kldiv-*.whl
else
  quiet "$python" -m venv --system-site-packages "$folder/venv"
  quiet "$folder/venv/bin/pip" wheel --no-deps --no-index --no-build-isolation --wheel-dir "$folder/wheels" \
    "$folder/source"
  quiet "$folder/venv/bin/pip" install --no-index "$folder"/wheels/kldiv-*.whl
fi
quiet "$folder/venv/bin/pip" check
venv=$folder/venv/bin/python

version=$(sed -nE 's/^project\(kldiv VERSION ([0-9.]+) .*/\1/p' "$root/CMakeLists.txt")
[[ -f $folder/wheels/kldiv-$version-py3-none-any.whl ]] || fail "the wheel is not of version $version"

# Stubs that the system's protoc has made live in the same program, and PyTorch is not imported.
mkdir "$folder/stubs"
protoc --plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin -I "$root/proto" --python_out="$folder/stubs" \
  --grpc_out="$folder/stubs" kldiv/v1/kldiv.proto
for order in 'import kldiv; from kldiv.v1 import kldiv_pb2, kldiv_pb2_grpc' \
  'from kldiv.v1 import kldiv_pb2, kldiv_pb2_grpc; import kldiv'; do
  PYTHONPATH=$folder/stubs "$venv" -c "
$order
import os, sys
from kldiv import _messages
assert kldiv.__file__.startswith('$folder/venv/'), kldiv.__file__
assert os.path.exists(os.path.join(os.path.dirname(kldiv.__file__), 'py.typed'))
assert 'torch' not in sys.modules
ours, theirs = _messages.EvaluateRequest(request_id=7), kldiv_pb2.EvaluateRequest(request_id=7)
assert ours.SerializeToString() == theirs.SerializeToString()
" || fail "$order"
done

cd "$here"
tests=(client retry stream security)
[[ -n $pypi ]] || tests+=(torch)
for test in "${tests[@]}"; do
  "$venv" "${test}_test.py" "$build/bin"
done
if [[ -z $pypi ]]; then
  mypy --config-file "$root/client/python/pyproject.toml" --cache-dir "$folder/mypy" \
    --python-executable "$venv" --no-incremental "$root/client/python/kldiv" "$here/typed_use.py"
else
  "$folder/venv/bin/pip" list
fi
