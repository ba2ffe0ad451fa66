#!/usr/bin/env bash
# Makes of a static build the whole file system of the image: the programs, the shared libraries that they and NVIDIA's
# driver load, and the few files that those read. In the stage of docker/Dockerfile that has built them, as root.
#
# usage: image_root.sh BUILD ROOT
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$1 root=$2
user=65532
programs=("$build"/bin/{kldiv,kldiv-load,kldiv-server})
# glibc has the first four for programs that were linked before its 2.34, as the driver's libraries are; the last one it
# loads by itself when a thread is cancelled.
others=(libdl.so.2 libpthread.so.0 libresolv.so.2 librt.so.1 libgcc_s.so.1)

# The file, and the link to it if its name is one.
copy() {
  local name file
  name=$(realpath "$(dirname "$1")")/${1##*/}
  file=$(realpath "$1")
  [[ -e $root$file ]] || install -D -m "$(stat -c %a "$file")" "$file" "$root$file"
  [[ -e $root$name ]] || { mkdir -p "$root${name%/*}" && ln -s "$file" "$root$name"; }
}

mkdir -p "$root"/{dev,etc/ld.so.conf.d,proc,sys,usr/bin,usr/lib,usr/lib64}
ln -s usr/lib usr/lib64 "$root"
for program in "${programs[@]}"; do
  strip -o "$root/usr/bin/${program##*/}" "$program"
  while read -r library; do copy "$library"; done < <(ldd "$program" | grep -o '/[^ ]*')
done
for library in "${others[@]}"; do copy "$(gcc -print-file-name="$library")"; done

# With the first, NVIDIA's container toolkit knows where the distribution's libraries are; into the cache that ldconfig
# makes it adds its own.
cp /etc/debian_version /etc/os-release "$root/etc"
echo 'include /etc/ld.so.conf.d/*.conf' >"$root/etc/ld.so.conf"
cp /etc/ld.so.conf.d/*-linux-gnu.conf "$root/etc/ld.so.conf.d"
ldconfig -r "$root"
rm -rf "${root:?}/var"

echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
printf '%s\n' root:x:0:0:root:/:/nonexistent "kldiv:x:$user:$user:kldiv-server:/:/nonexistent" >"$root/etc/passwd"
printf '%s\n' root:x:0: "kldiv:x:$user:" >"$root/etc/group"
copy /etc/ssl/certs/ca-certificates.crt  # whom `kldiv --tls` trusts without --server_ca

mkdir -p "$root/usr/share/doc/kldiv"
cp "$source/LICENSE" "$root/usr/share/doc/kldiv"
"$source/docker/notice.sh" "$build" "$root" >"$root/usr/share/doc/kldiv/NOTICE"
