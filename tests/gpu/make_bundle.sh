#!/usr/bin/env bash
# Makes of a static build what a machine with a GPU, and without a compiler, needs: the folder BUNDLE, with `run` and
# programs.tar.gz. Fails when a program needs a library that is not glibc's, or a glibc newer than 2.35, and when the
# bundle is larger than 50 MB.
#
# usage: make_bundle.sh BUILD BUNDLE
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$1 bundle=$2
die() { printf 'make_bundle.sh: %s\n' "$*" >&2; exit 1; }

programs=("$build"/bin/{kldiv,kldiv-load,kldiv-server,gpu_benchmark,gpu_check_test})
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder"/{bin,digits,golden}
for program in "${programs[@]}"; do
  strip -o "$folder/bin/${program##*/}" "$program"
  while read -r library; do
    [[ $library =~ ^(libc|libm|libdl|librt|libpthread|libresolv|ld-linux-x86-64)\.so\. ]] ||
      die "${program##*/} needs $library"
  done < <(objdump -p "$program" | sed -n 's/^ *NEEDED *//p')
  newest=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
  [[ $(printf '%s\n' GLIBC_2.35 "$newest" | sort -V | tail -1) == GLIBC_2.35 ]] ||
    die "${program##*/} needs $newest"
done
cp "$source"/tests/golden/*.jsonl "$folder/golden"
cp "$source"/tests/data/digits/*.npy "$folder/digits"

rm -rf "$bundle"
mkdir -p "$bundle"
tar -C "$folder" --owner=0 --group=0 -czf "$bundle/programs.tar.gz" .
install -m 755 "$source/tests/gpu/run" "$bundle/run"
bytes=$(du -sb "$bundle" | cut -f1)
((bytes < 50000000)) || die "$bundle has $bytes bytes"
stat -c '%n %s' "$folder"/bin/* | sed 's|.*/||' | awk '{printf "%-16s %5.1f MB\n", $1, $2 / 1e6}'
printf '%-16s %5.1f MB\n' "$bundle" "$(awk "BEGIN {print $bytes / 1e6}")"
