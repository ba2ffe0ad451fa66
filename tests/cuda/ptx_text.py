"""What the text of PTX says about arithmetic: how much of it a kernel has, and what leaves its rounding open."""

import collections
import re

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_FUNCTION = re.compile(r"\.(entry|func)\s+(?:\([^)]*\)\s*)?([\w$]+)[^{;]*\{", re.DOTALL)
_INSTRUCTION = re.compile(r"(?:^|[;{}:\s])(?:@!?%\w+\s+)?([a-z][a-z0-9]*(?:\.[\w:]+)+)\s")
_CALL = re.compile(r"\bcall(?:\.uni)?\s+(?:\([^)]*\)\s*,\s*)?([\w$]+)")
_ARITHMETIC = {"add", "sub", "mul", "mad", "fma", "div", "rcp", "sqrt"}
_FLOATS = {"f16", "f16x2", "bf16", "bf16x2", "f32", "f64"}


def _functions(text):
    """(is_kernel, name, body) of each function with a body."""
    text = _COMMENT.sub(" ", text)
    for match in _FUNCTION.finditer(text):
        depth, at = 1, match.end()
        while depth and at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        yield match[1] == "entry", match[2], text[match.end():at]


def instructions(body):
    return _INSTRUCTION.findall(body)


def open_roundings(text):
    """Instructions that flush, approximate, or leave ptxas free to contract them."""
    found = []
    for _, name, body in _functions(text):
        for instruction in instructions(body):
            operation, *modifiers = instruction.split(".")
            flushes = {"ftz", "approx", "full", "sat"} & set(modifiers)
            floating = operation in _ARITHMETIC and modifiers[-1] in _FLOATS
            if flushes or (floating and "rn" not in modifiers):
                found.append(f"{name}: {instruction}")
    return found


def fp64_counts(text):
    """{kernel: Counter of DFMA, DADD, DMUL}, each function that a kernel calls counted once."""
    functions = {name: (is_kernel, body) for is_kernel, name, body in _functions(text)}
    sass = {"fma": "DFMA", "add": "DADD", "sub": "DADD", "mul": "DMUL"}

    def reachable(name, seen):
        if name in functions and name not in seen:
            seen.add(name)
            for callee in _CALL.findall(functions[name][1]):
                reachable(callee, seen)
        return seen

    counts = {}
    for kernel, (is_kernel, _) in functions.items():
        if not is_kernel:
            continue
        count = counts[kernel] = collections.Counter(DFMA=0, DADD=0, DMUL=0)
        for name in reachable(kernel, set()):
            for instruction in instructions(functions[name][1]):
                operation, *modifiers = instruction.split(".")
                if operation in sass and modifiers[-1] == "f64":
                    count[sass[operation]] += 1
    return counts
