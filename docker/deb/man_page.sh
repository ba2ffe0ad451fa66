#!/bin/sh
# The man page of a program, on stdout: what it says of itself with --help, and where else to look.
# Usage: man_page.sh PROGRAM "WHAT IT IS" "OTHER(1), PAGES(1)"
set -eu
program=$1 what=$2 see_also=$3
name=$(basename "$program")
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

# help2man makes a synopsis of GNU's spelling of the usage.
"$program" --help |
  sed -E '1s/^usage:/Usage:/; 2,5s/^       kldiv /  or:  kldiv /; 1,5s/\] {2,}(.*)/] (\1)/' >"$folder/help"
"$program" --version | sed -n 1p >"$folder/version"
# shellcheck disable=SC2016  # the script that is written expands it
printf '#!/bin/sh\ncat "%s/${1#--}"\n' "$folder" >"$folder/$name"
chmod +x "$folder/$name"
printf '[see also]\n%s\n' "$see_also" >"$folder/include"

help2man --no-info --section=1 --locale=C.UTF-8 --name="$what" --include="$folder/include" "$folder/$name"
