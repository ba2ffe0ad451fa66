#!/usr/bin/env bash
# The tests of the CPU kernel and of the scalar reference for AArch64, cross-compiled and emulated: NEON gives the
# frozen bits and equals the reference. Minutes of emulation, so only with KLDIV_SLOW=1; exits with 77 where it does
# not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

compiler=aarch64-linux-gnu-g++
emulator=qemu-aarch64-static
googletest=/usr/src/googletest

skip() { echo "skipped: $*"; exit 77; }
[[ ${KLDIV_SLOW:-0} != 0 ]] || skip "set KLDIV_SLOW=1"
for tool in "$compiler" "$emulator"; do command -v "$tool" >/dev/null || skip "no $tool"; done
[[ -d $googletest ]] || skip "no sources of GoogleTest in $googletest"

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# Headers that do not depend on the architecture, by themselves: the rest of /usr/include is the host's.
mkdir "$build/include"
ln -s /usr/include/hwy /usr/include/nlohmann "$build/include"

flags=(-std=c++20 -O2 -ffp-contract=off -static -pthread -Wall -Wextra -Werror -I. -isystem "$build/include"
  -isystem "$googletest/googletest/include" -isystem "$googletest/googlemock/include"
  # Highway's NEON includes the AES instructions; with one instruction set it needs no library of its own.
  -march=armv8-a+crypto -DHWY_COMPILE_ONLY_STATIC
  -DKLDIV_EMULATED "-DKLDIV_GOLDEN_FOLDER=\"$PWD/tests/golden\"")
# The tests here, which the host builds with GoogleTest's library, and what they link.
sources=(server/numerics/scalar.cc server/lanes/cpu_kernel.cc
  tests/golden/{encoding,exact_cases,formats,frozen_cases}.cc tests/numerics/random_tensor.cc
  tests/numerics/{float_control,reduce,scalar,scalar_golden}_test.cc
  tests/lanes/cpu_kernel{,_golden}_test.cc)

"$compiler" "${flags[@]}" -I"$googletest/googletest" -I"$googletest/googlemock" -c \
  "$googletest/googletest/src/gtest-all.cc" -o "$build/gtest.o"
"$compiler" "${flags[@]}" -I"$googletest/googletest" -I"$googletest/googlemock" -c \
  "$googletest/googlemock/src/gmock-all.cc" -o "$build/gmock.o"
"$compiler" "${flags[@]}" "${sources[@]}" "$googletest/googlemock/src/gmock_main.cc" \
  "$build/gtest.o" "$build/gmock.o" -o "$build/neon_test"

"$emulator" "$build/neon_test" --gtest_brief=1
"$emulator" "$build/neon_test" --gtest_list_tests --gtest_filter='*NEON*' | grep -q NEON || {
  echo "NEON was not among the instruction sets"
  exit 1
}
