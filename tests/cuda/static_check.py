#!/usr/bin/env python3
"""What nvcc and ptxas make of a .cu file, for each architecture: fails when a result could differ from what the source
says, or when the kernel would not run at the occupancy it is written for.

usage: static_check.py SOURCE.cu --sm 75:80 --sm 90:80 [--narrowest-load 8] [--widest-load 16]

    --sm ARCH:REGISTERS     an architecture, and how many registers a thread may have there
    --narrowest-load BYTES  no load from global memory is narrower
    --widest-load BYTES     some load from global memory is at least as wide
    --kernel NAME           part of the name of a kernel that must be there; can be given more than once

Compiles from the root of the tree, as the build does. Exits with 1 when something is wrong, with 77 without nvcc.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import cubin
import ptx_text

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find_nvcc():
    return os.environ.get("CUDACXX") or shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")


def compile_with(nvcc, source, output, *options):
    command = [nvcc, "-std=c++20", f"-I{ROOT}", "-O3", *options, str(source), "-o", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def check_ptx(text):
    """What is wrong with the PTX."""
    return [f"{what} leaves its rounding open" for what in ptx_text.open_roundings(text)]


def check_kernel(name, kernel, wanted, max_registers, narrowest_load, widest_load):
    """What is wrong with a kernel's machine code; `wanted` are the PTX's counts."""
    problems = []
    for operation, count in sorted(wanted.items()):
        if kernel.operations[operation] != count:
            problems.append(f"{kernel.operations[operation]} {operation}, the PTX has {count}")
    if kernel.registers == 0:
        problems.append("the cubin does not say how many registers it has")
    if kernel.registers > max_registers:
        problems.append(f"{kernel.registers} registers, at most {max_registers} are wanted")
    if kernel.stack_bytes or kernel.local_accesses():
        problems.append(f"{kernel.stack_bytes} bytes of stack, {kernel.local_accesses()} accesses to local memory")
    loads = kernel.global_loads()
    narrow = {size: count for size, count in loads.items() if size < narrowest_load}
    if narrow:
        problems.append(f"loads of {', '.join(f'{s} bytes ({c} times)' for s, c in sorted(narrow.items()))}")
    if widest_load and not any(size >= widest_load for size in loads):
        problems.append(f"no load of {widest_load} bytes")
    return [f"{name}: {problem}" for problem in problems]


def describe(kernel):
    loads = ", ".join(f"{count} x {size} B" for size, count in sorted(kernel.global_loads().items(), reverse=True))
    counts = ", ".join(f"{kernel.operations[op]} {op}" for op in ("DFMA", "DADD", "DMUL", "DSETP"))
    return f"{kernel.registers} registers, {kernel.instructions} instructions, {counts}, loads {loads or 'none'}"


def check_architecture(nvcc, source, folder, architecture, options):
    """Compiles for one architecture, prints what came out, and returns what is wrong with it."""
    max_registers = options.registers[architecture]
    ptx_path, cubin_path = folder / f"{architecture}.ptx", folder / f"{architecture}.cubin"
    compile_with(nvcc, source, ptx_path, "-fmad=false", f"-arch=compute_{architecture}", "-ptx")
    compile_with(nvcc, source, cubin_path, "-fmad=false", f"-arch=sm_{architecture}", "-cubin")
    text = ptx_path.read_text()
    wanted, kernels = ptx_text.fp64_counts(text), cubin.read(cubin_path)
    problems = check_ptx(text)
    problems += [f"no kernel named {part}" for part in options.kernel if not any(part in name for name in kernels)]
    if not kernels or kernels.keys() != wanted.keys():
        problems.append(f"the cubin has the kernels {sorted(kernels)}, the PTX {sorted(wanted)}")
    for name in sorted(kernels.keys() & wanted.keys()):
        print(f"sm_{architecture} {name}: {describe(kernels[name])}")
        problems += check_kernel(name, kernels[name], wanted[name], max_registers, options.narrowest_load,
                                 options.widest_load)
    return [f"sm_{architecture}: {problem}" for problem in problems]


def check_contraction(nvcc, source, folder, architecture):
    """-fmad=true must change nothing: no product and sum is left for the compiler to fuse."""
    texts = []
    for fmad in ("false", "true"):
        path = folder / f"fmad_{fmad}.ptx"
        compile_with(nvcc, source, path, f"-fmad={fmad}", f"-arch=compute_{architecture}", "-ptx")
        texts.append(path.read_text())
    return [] if texts[0] == texts[1] else [f"compute_{architecture}: -fmad=true gives another program"]


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--sm", action="append", required=True, metavar="ARCH:REGISTERS")
    parser.add_argument("--narrowest-load", type=int, default=0)
    parser.add_argument("--widest-load", type=int, default=0)
    parser.add_argument("--kernel", action="append", default=[])
    options = parser.parse_args(arguments)
    options.registers = {}
    for pair in options.sm:
        architecture, colon, registers = pair.partition(":")
        if not colon or not registers.isdigit():
            parser.error(f"--sm is ARCH:REGISTERS, not {pair}")
        options.registers[architecture] = int(registers)
    return options


def main(arguments):
    options = parse(arguments)
    nvcc = find_nvcc()
    if not nvcc:
        print("skipped: no nvcc")
        return 77
    source = options.source.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        problems = check_contraction(nvcc, source, folder, next(iter(options.registers)))
        for architecture in options.registers:
            problems += check_architecture(nvcc, source, folder, architecture, options)
    for problem in problems:
        print(f"wrong: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
