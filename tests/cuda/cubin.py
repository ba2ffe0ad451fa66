"""Reads what ptxas made of each kernel from a cubin, an ELF file, without nvdisasm. Volta and later.

An instruction has 128 bits. Its low nine say what it does; bits 9 to 11 only where its operands come from (register,
constant bank, immediate, uniform register), so a count that compared twelve bits would miss most of them.
"""

import collections
import dataclasses
import pathlib
import struct

OPERATIONS = {
    0x028: "DMUL", 0x029: "DADD", 0x02B: "DFMA", 0x02A: "DSETP",
    0x180: "LD", 0x181: "LDG", 0x183: "LDL", 0x184: "LDS",
    0x185: "ST", 0x186: "STG", 0x187: "STL", 0x188: "STS",
    0x189: "SHFL", 0x11D: "BAR",
}
MEMORY = {"LD", "LDG", "LDL", "LDS", "ST", "STG", "STL", "STS"}
# Bytes, by the three bits at 73. 7 is what is wider than 16 bytes.
BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 8, 6: 16, 7: 32}

ATTRIBUTE_FRAME_SIZE = 0x11
ATTRIBUTE_REGISTERS = 0x2F
FORMAT_SIZED = 4


@dataclasses.dataclass
class Kernel:
    """Counts of one kernel, with the functions that are linked into it."""

    instructions: int = 0
    registers: int = 0
    stack_bytes: int = 0
    operations: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    # (operation, bytes) of what accesses memory
    accesses: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    def global_loads(self):
        """Bytes at a time: how many instructions."""
        loads = collections.Counter()
        for (operation, size), count in self.accesses.items():
            if operation in ("LDG", "LD"):
                loads[size] += count
        return loads

    def local_accesses(self):
        return sum(count for (operation, _), count in self.accesses.items() if operation in ("LDL", "STL"))


def _sections(data):
    """(name, type, offset, size) of each section."""
    table, = struct.unpack_from("<Q", data, 0x28)
    entry_size, count, names_index = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * entry_size) for i in range(count)]
    names = headers[names_index][4]
    for name, kind, _, _, offset, size, *_ in headers:
        start = names + name
        yield data[start:data.index(b"\0", start)].decode(), kind, offset, size


def _symbols(data, sections):
    """The names of the symbol table's entries, in order."""
    by_name = {name: (offset, size) for name, _, offset, size in sections}
    offset, size = by_name[".symtab"]
    names, _ = by_name[".strtab"]
    symbols = []
    for at in range(offset, offset + size, 24):
        start = names + struct.unpack_from("<I", data, at)[0]
        symbols.append(data[start:data.index(b"\0", start)].decode())
    return symbols


def _attributes(data, offset, size):
    """(attribute, symbol, value) of .nv.info's entries that have these."""
    at = offset
    while at < offset + size:
        form, attribute, length = struct.unpack_from("<BBH", data, at)
        at += 4
        if form == FORMAT_SIZED:
            if length >= 8:
                yield (attribute, *struct.unpack_from("<II", data, at))
            at += length


def read(path):
    """{kernel's name: Kernel} of a cubin."""
    data = pathlib.Path(path).read_bytes()
    if data[:4] != b"\x7fELF":
        raise ValueError(f"{path} is not a cubin")
    sections = list(_sections(data))
    kernels = {}
    for name, _, offset, size in sections:
        if not name.startswith(".text."):
            continue
        kernel = kernels[name.removeprefix(".text.")] = Kernel(instructions=size // 16)
        for at in range(offset, offset + size, 16):
            low, high = struct.unpack_from("<QQ", data, at)
            operation = OPERATIONS.get(low & 0x1FF)
            if operation in MEMORY:
                kernel.accesses[operation, BYTES[high >> 9 & 7]] += 1
            elif operation:
                kernel.operations[operation] += 1
    symbols = _symbols(data, sections)
    for name, _, offset, size in sections:
        if name != ".nv.info":
            continue
        for attribute, symbol, value in _attributes(data, offset, size):
            kernel = kernels.get(symbols[symbol]) if symbol < len(symbols) else None
            if kernel and attribute == ATTRIBUTE_REGISTERS:
                kernel.registers = value
            elif kernel and attribute == ATTRIBUTE_FRAME_SIZE:
                kernel.stack_bytes = value
    return kernels
