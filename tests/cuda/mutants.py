#!/usr/bin/env python3
"""Shows that the proof can fail: builds cuda_mutant_check with one bug at a time and sees who finds it.

usage: mutants.py [--work FOLDER] [--only PART]

    --work FOLDER   builds there and keeps it: a second run is quicker
    --only PART     only bugs with this in their name

Each bug is looked for by the code compiled for the CPU (plain, with ASan + UBSan, with TSan), executing eagerly and
lazily with three seeds each, and by the PTX of compute_90 with three seeds. Prints how many runs of each found it, and
exits with 1 when a check that must find a bug in every run, as mutations.py says, has missed it in one, or when one
finds something in the sources as they are. Runs for KLDIV_SLOW=1; exits with 77 otherwise, and without nvcc.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

import static_check
from mutations import MUTATIONS

ROOT = static_check.ROOT
PRESETS = {"plain": "release", "asan": "dev", "tsan": "tsan"}
MODES = ("eager", "lazy")
SEEDS = (1, 2, 3)
PROGRAM = "cuda_mutant_check"
# Libraries of which each source that a bug touches is compiled anew.
LIBRARIES = ("kldiv_cuda_lanes", "kldiv_kl_kernel_on_cpu", "kldiv_ptx_lane")
# Those that use what a bug in a header changes.
INCLUDERS = {
    "server/cuda/kl_number-inl.h": ["server/cuda/kl_kernel.cu"],
    "server/cuda/staging.h": ["server/cuda/cuda_lane.cc", "server/cuda/staging.cc", "tests/ptx/ptx_lane.cc"],
}
COLUMNS = [*((check, mode) for check in PRESETS for mode in MODES), ("ptx", "")]
SYMPTOMS = (("ThreadSanitizer: data race", "race"), ("AddressSanitizer", "asan"), ("runtime error:", "ubsan"),
            ("deadlock", "deadlock"), ("wrong:", "wrong"))


def run(command, folder, **options):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", **options)


def must(command, folder):
    done = run(command, folder)
    if done.returncode:
        raise RuntimeError(f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


class Build:
    """The unmutated program of a preset, and how its parts were compiled and linked."""

    def __init__(self, check, folder):
        self.folder = folder
        must(["cmake", "--preset", PRESETS[check], "-B", str(folder), "-DKLDIV_BUILD_TESTS=ON"], ROOT)
        must(["ninja", "-C", str(folder), PROGRAM], ROOT)
        database = json.loads((folder / "compile_commands.json").read_text())
        self.compile = {entry["file"]: shlex.split(entry["command"]) for entry in database
                        if any(f"/{library}.dir/" in entry["command"] for library in LIBRARIES)}
        self.link = must(["ninja", "-t", "commands", PROGRAM], folder).splitlines()[-1]
        self.program = folder / "bin" / PROGRAM

    def mutant(self, overlay, units):
        """The program with these files of the tree, as the overlay has them or its headers."""
        objects = []
        for unit in units:
            command = list(self.compile[str(ROOT / unit)])
            mutated = overlay / unit
            objects.append(str(overlay / (pathlib.Path(unit).name + ".o")))
            command[command.index("-o") + 1] = objects[-1]
            command[command.index("-c") + 1] = str(mutated if mutated.exists() else ROOT / unit)
            command.insert(1, f"-I{overlay}")
            must([part for part in command if part != "-Werror"], self.folder)
        # The objects come before the libraries, which then have nothing left to give.
        program = overlay / PROGRAM
        old = f"-o bin/{PROGRAM}"
        if self.link.count(old) != 1:
            raise RuntimeError(f"not a link command: {self.link}")
        must(["sh", "-c", self.link.replace(old, shlex.join(["-o", str(program), *objects]))], self.folder)
        return program


def make_overlay(mutation, overlay):
    """Writes the mutated files; returns the units to compile."""
    units = []
    for file, old, new in mutation.changes:
        target = overlay / file
        text = (target if target.exists() else ROOT / file).read_text()
        if text.count(old) != 1:
            raise RuntimeError(f"{mutation.name}: {text.count(old)} places in {file} match {old!r}, not 1")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace(old, new))
        units += INCLUDERS.get(file, [file])
    return sorted(set(units))


def make_ptx(nvcc, overlay, output):
    kernel = overlay / "server/cuda/kl_kernel.cu"
    source = kernel if kernel.exists() else "server/cuda/kl_kernel.cu"
    must([nvcc, "-std=c++20", f"-I{overlay}", "-I.", "-O3", "-fmad=false", "-arch=compute_90", "-ptx", str(source),
          "-o", str(output)], ROOT)


def symptom(program, *arguments):
    """What a run shows; None when all is right."""
    environment = dict(os.environ, TSAN_OPTIONS="halt_on_error=1", ASAN_OPTIONS="detect_leaks=0")
    try:
        done = run([str(program), *map(str, arguments)], ROOT, env=environment, timeout=120)
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode == 0:
        return None
    text = done.stdout + done.stderr
    return next((name for pattern, name in SYMPTOMS if pattern in text), "fault")


def find(programs, ptx):
    """{column: [what each seed shows]}"""
    found = {}
    for check, mode in COLUMNS:
        if check == "ptx":
            found[check, mode] = [symptom(programs["plain"], "ptx", seed, ptx) for seed in SEEDS]
        else:
            found[check, mode] = [symptom(programs[check], mode, seed) for seed in SEEDS]
    return found


def cell(symptoms):
    seen = [s for s in symptoms if s]
    return f"{len(seen)} {'/'.join(sorted(set(seen)))}".strip()


def print_row(name, cells):
    print(f"| {name:<48} | " + " | ".join(f"{c:<12}" for c in cells) + " |", flush=True)


def check_mutation(mutation, builds, nvcc, folder):
    """Prints the row; returns what was missed."""
    folder.mkdir(parents=True)
    programs, units = {}, make_overlay(mutation, folder)
    for check, build in builds.items():
        programs[check] = build.mutant(folder, units).rename(folder / f"{check}_{PROGRAM}")
    ptx = folder / "kernel.ptx"
    make_ptx(nvcc, folder, ptx)
    found = find(programs, ptx)
    print_row(mutation.name, [cell(found[column]) for column in COLUMNS])
    return [f"{mutation.name}: missed by {' '.join(column).strip()}: {found[column]}"
            for column in COLUMNS if mutation.must_be_seen_by(*column) and not all(found[column])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if os.environ.get("KLDIV_SLOW", "0") in ("", "0"):
        print("skipped: only with KLDIV_SLOW=1")
        return 77
    nvcc = static_check.find_nvcc()
    if not nvcc:
        print("skipped: no nvcc")
        return 77
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = pathlib.Path(scratch_name)
        work = options.work.resolve() if options.work else scratch
        builds = {check: Build(check, work / preset) for check, preset in PRESETS.items()}
        print_row("bug", [" ".join(column).strip() for column in COLUMNS])
        make_ptx(nvcc, scratch, scratch / "none.ptx")
        found = find({check: build.program for check, build in builds.items()}, scratch / "none.ptx")
        print_row("none", [cell(found[column]) for column in COLUMNS])
        problems = [f"none: {column} finds {seen}" for column, seen in found.items() if any(seen)]
        for number, mutation in enumerate(MUTATIONS):
            if options.only in mutation.name:
                problems += check_mutation(mutation, builds, nvcc, scratch / str(number))
    for problem in problems:
        print(f"wrong: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
