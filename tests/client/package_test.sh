#!/bin/bash
# usage: package_test.sh BUILD_FOLDER
# Installs the project and builds a program outside of it, once with find_package and once with pkg-config; each
# evaluates a pair on the installed server.
set -euo pipefail
build=$1
here=$(dirname "$(readlink -f "$0")")
folder=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$folder/installed" >"$folder/log" || { cat "$folder/log"; fail "cmake --install"; }
# Moved, as packages are when they are built in one place and unpacked in another.
prefix=$folder/moved
mv "$folder/installed" "$prefix"
for file in include/kldiv/client.h share/kldiv/proto/kldiv/v1/kldiv.proto bin/kldiv bin/kldiv-server; do
  [[ -f $prefix/$file ]] || fail "$file is not installed"
done
! grep -rq "#include [<\"]grpc" "$prefix/include" || fail "a public header includes gRPC"

export CMAKE_CXX_COMPILER_LAUNCHER=
cmake -S "$here/package" -B "$folder/user" -DCMAKE_PREFIX_PATH="$prefix" >"$folder/log" 2>&1 &&
  cmake --build "$folder/user" >>"$folder/log" 2>&1 || { cat "$folder/log"; fail "find_package(kldiv)"; }

pc=$(dirname "$(find "$prefix" -name kldiv.pc)")
flags=$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs kldiv) || fail "pkg-config kldiv"
# shellcheck disable=SC2086  # flags are several words
"${CXX:-c++}" -std=c++20 "$here/package/user.cc" $flags -o "$folder/user_pc" || fail "a build with pkg-config"

exec {ready}< <(exec "$prefix/bin/kldiv-server" --listen="unix:$folder/socket" --metrics_listen= 2>"$folder/server_log")
server=$!
read -r -t 60 line <&"$ready" || { cat "$folder/server_log"; fail "the installed server did not start"; }
for user in "$folder/user/user" "$folder/user_pc"; do
  loss=$("$user" "unix:$folder/socket") || fail "$user: $loss"
  [[ $loss == 0.032416536552334* ]] || fail "$user printed $loss"
done
"$prefix/bin/kldiv" health --server="unix:$folder/socket" | grep -qx SERVING || fail "kldiv health"
echo "the installed library works"
