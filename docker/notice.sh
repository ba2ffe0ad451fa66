#!/usr/bin/env bash
# Prints the licences of all that a static build in BUILD is made of, and of the files in ROOT, the image's file
# system, as the distribution's packages state them. Fails when a file that went in belongs to no package.
#
# usage: notice.sh BUILD ROOT
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath "$1") root=$(realpath "$2")
cuda_licence='NVIDIA CUDA Toolkit End User License Agreement, https://docs.nvidia.com/cuda/eula/; of the toolkit, the
static runtime library (libcudart_static.a) and inline functions of its headers are in kldiv-server.'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the compiler read, by its own account, the archives from which the linker took something, and shared libraries.
inputs() {
  ninja -C "$build" -t deps | sed -n 's/^    //p'
  sed -nE 's/^([^ ].*\.a)\(.*\)$/\1/p' "$build"/bin/*.map
  find "$root/usr/lib" -type f -printf '/usr/lib/%P\n'
}

# `package NAME`, `source FOLDER` and `cuda` for what is not the project's own.
origins() {
  echo 'package ca-certificates'
  (cd "$build" && inputs | sort -u | xargs realpath -sm) | sed 's|^/lib|/usr/lib|' | sort -u |
    awk -v own="$source/" '
      FILENAME != "-" {
        sub("^/lib", "/usr/lib")
        if (!(FILENAME in name)) { name[FILENAME] = FILENAME; gsub(/.*\/|(:[^:]*)?\.list$/, "", name[FILENAME]) }
        owner[$0] = name[FILENAME]
        next
      }
      $0 in owner { print "package", owner[$0]; next }
      match($0, /\/build\/source-packages\/[^\/]*/) { print "source", substr($0, 1, RSTART + RLENGTH - 1); next }
      index($0, own) == 1 { next }
      /\/cuda(-[0-9.]+)?\// { print "cuda"; next }
      { print "notice.sh: of no package: " $0 >"/dev/stderr"; failed = 1 }
      END { exit failed }' /var/lib/dpkg/info/*.list - | sort -u
}

# add NAME TEXT_FILE: files with the same text are one entry.
add() {
  local entry
  entry=$work/$(sha256sum <"$2" | cut -c 1-16)
  echo "$1" >>"$entry.names"
  cp "$2" "$entry.text"
}

section() { printf '\n%s\n%s\n%s\n\n' "$(printf '=%.0s' {1..100})" "$1" "$(printf -- '-%.0s' {1..100})"; }

origins >"$work/origins"
while read -r kind name; do
  case $kind in
    package) add "$(dpkg-query -W -f '${Package} ${Version}\n' "$name" | head -1)" "/usr/share/doc/$name/copyright" ;;
    source) add "${name##*/} (compiled from its source package)" "$name/debian/copyright" ;;
    cuda) add 'NVIDIA CUDA' <(echo "$cuda_licence") ;;
  esac
done <"$work/origins"

echo "kldiv is under the Apache License 2.0, see LICENSE. Its programs, and the image that they come in, contain parts of
the following, under the licences that follow each name. A licence that is only named there stands at the end."
while read -r names; do
  section "$(<"$names")"
  cat "${names%.names}.text"
done < <(grep -m 1 . "$work"/*.names | sort -t : -k 2 | cut -d : -f 1)
while read -r licence; do
  [[ -f $licence ]] || continue  # a name that begins like one
  section "$licence"
  cat "$licence"
done < <(cat "$work"/*.text | grep -oE '/usr/share/common-licenses/[A-Za-z0-9.-]*[A-Za-z0-9]' | sort -u)
