#!/usr/bin/env bash
# Unpacks the sources of the libraries of which the distribution has no static form, in the versions that are
# installed, for docker/static_link.cmake. The system's lists of packages, which say where the sources come from, stay
# as they are. Does nothing when FOLDER has them already.
#
# usage: source_packages.sh FOLDER
set -euo pipefail

mapfile -t versions < <(dpkg-query -W -f '${source:Package}=${source:Version}\n' libhwy-dev prometheus-cpp-dev)
[[ ! -f $1/versions || $(<"$1/versions") != "${versions[*]}" ]] || exit 0
echo "fetching the sources of ${versions[*]}"
rm -rf "$1"
mkdir -p "$1/lists/partial"
cd "$1"
# shellcheck disable=SC2016  # apt-get fills these in
apt-get indextargets --format '$(ORIGIN) deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
  sed -nE 's/^(Debian|Ubuntu) //p' | sort -u >sources.list
options=(-qq -o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts=- -o APT::Sandbox::User=
  -o Dir::State::Lists="$PWD/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
apt-get "${options[@]}" update
apt-get "${options[@]}" source "${versions[@]}" >/dev/null
rm -rf lists
echo "${versions[*]}" >versions
