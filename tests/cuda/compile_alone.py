#!/usr/bin/env python3
"""Each .cu file compiles alone, from the root of the tree, without what the build knows.

Exits with 1 when one does not, with 77 without nvcc.
"""

import pathlib
import subprocess
import sys
import tempfile

import static_check

COMMAND = ["-std=c++20", "-I.", "-O3", "-fmad=false", "-arch=sm_90", "-cubin"]
FOLDERS = ("server", "client", "proto", "tests")


def main():
    nvcc = static_check.find_nvcc()
    if not nvcc:
        print("skipped: no nvcc")
        return 77
    sources = sorted(path.relative_to(static_check.ROOT)
                     for folder in FOLDERS for path in (static_check.ROOT / folder).rglob("*.cu"))
    if not sources:
        print("wrong: there is no .cu file")
        return 1
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            command = [nvcc, *COMMAND, str(source), "-o", str(pathlib.Path(folder) / "out.cubin")]
            done = subprocess.run(command, cwd=static_check.ROOT, capture_output=True, text=True)
            print(f"{'wrong' if done.returncode else 'compiles'}: {source}\n{done.stdout}{done.stderr}", end="")
            failed += done.returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
