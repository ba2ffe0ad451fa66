#!/usr/bin/env bash
# `./dev gpu-check --bundle` in an empty Debian root: that its `run` says that there is no GPU, and that its server
# serves with the CPU. Only with KLDIV_SLOW=1, as root and where debootstrap and its packages can be had: it builds a
# tree of its own.
#
# usage: bundle_test.sh
set -euo pipefail

skip() { echo "skipped: $*"; exit 77; }
[[ ${KLDIV_SLOW:-0} == 1 ]] || skip "only with KLDIV_SLOW=1"
unset KLDIV_SLOW  # it names no flag, of which the programs would warn
[[ ! -e /dev/nvidiactl && ! -e /dev/dxg ]] || skip "there is a GPU"
((EUID == 0)) || skip "needs root"
command -v debootstrap >/dev/null || skip "needs debootstrap"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/root
debootstrap --variant=minbase bookworm "$root" >"$folder/log" 2>&1 || { tail -3 "$folder/log"; skip "no packages"; }
./dev gpu-check --bundle
cp -r build/gpu-check "$root/bundle"

code=0
chroot "$root" /bundle/run >"$folder/out" 2>"$folder/errors" || code=$?
cat "$folder/errors"
[[ $code == 1 && ! -s $folder/out ]]
reason="cudaGetDeviceCount: cudaErrorInsufficientDriver (35), "
[[ $(<"$folder/errors") == "run: no GPU here that can be used: $reason"* ]]

mkdir "$root/programs"
tar -xzf "$root/bundle/programs.tar.gz" -C "$root/programs"
cat >"$root/serve" <<'EOS'
set -eu
cd /programs
mkfifo ready
bin/kldiv-server --listen=127.0.0.1:0 --metrics_listen=127.0.0.1:0 >ready 2>log &
read -r line <ready
echo "$line"
set -- $line
bin/kldiv eval --server="$3" --reduction=batchmean digits/digits_student_logprobs.npy digits/digits_teacher_probs.npy
kill $!
wait $!
EOS
chroot "$root" /bin/sh /serve | tee "$folder/served"
grep -q ' backend=cpu$' "$folder/served"
[[ $(tail -1 "$folder/served") == 0.3992725936154355 ]]
