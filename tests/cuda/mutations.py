"""The bugs of mutants.py: what is replaced by what, and which checks must find it in every run."""

import dataclasses

KERNEL = "server/cuda/kl_kernel.cu"
NUMBER = "server/cuda/kl_number-inl.h"
LANE = "server/cuda/cuda_lane.cc"
STAGING = "server/cuda/staging.cc"
STAGING_HEADER = "server/cuda/staging.h"

HOST = ("plain", "asan", "tsan")
ALL = (*HOST, "ptx")


@dataclasses.dataclass
class Mutation:
    name: str
    changes: list  # (file, text that is there once, what replaces it)
    # Checks, each in both modes and for all seeds; "plain lazy" is one in one mode.
    seen_by: tuple

    def must_be_seen_by(self, check, mode):
        return check in self.seen_by or f"{check} {mode}" in self.seen_by


FMA = "{ return __fma_rn(a, b, c); }"
TWO_ROUNDINGS = "return __dadd_rn(__dmul_rn(a, b), c);"
TWO_ON_A_DEVICE = f"{{\n#ifdef __CUDA_ARCH__\n{TWO_ROUNDINGS}\n#else\nreturn __fma_rn(a, b, c);\n#endif\n}}"
BARRIER = "__syncthreads();  // every warp reads what the first one has written"
BLOCKS = "dim3((batch.tile_count + kWarps - {}) / kWarps)"
ELEMENT = "const int element = first + 4 * lane;"
MORE_ROWS = "first < kTile && first {}< count;"
COUNT = "std::min(kTileElements{}, part.elements - done)"
FITTING = "(fits(middle) ? fitting : too_many) = middle;\n  }}\n  return {};"
TABLE = "table_offset() const {{ return tensor_bytes_{}; }}"
STAGING_BYTES = "staging_bytes() const {{ return tensor_bytes_ {}+"
LAUNCHED = "if (status.ok()) status = Mark(computed_);"
LAST_MARK = "return status.ok() ? Mark(done_) : status;"
COPY_BACK = "cudaMemcpyDeviceToHost, {})"
NEIGHBOURS = """Number::Add(Number::Add(accumulators[0], accumulators[1]),
                           Number::Add(accumulators[2], accumulators[3]));"""
NEIGHBOURS_IN_A_ROW = """Number::Add(
    Number::Add(Number::Add(accumulators[0], accumulators[1]), accumulators[2]), accumulators[3]);"""
HALVES = "for (int half = kWarpSize / 2; half >= 1; half /= 2)"
HALVES_FROM_BELOW = "for (int half = 1; half < kWarpSize; half *= 2)"

# Where it is chance which of two operations comes first, eager execution need not show it without TSan.
ORDER = ("tsan", "plain lazy", "asan lazy")

MUTATIONS = [
    Mutation("barrier removed", [(KERNEL, BARRIER, "")], ALL),
    Mutation("shuffle mask of half a warp", [(KERNEL, "_sync(0xffffffffu,", "_sync(0x0000ffffu,")], ALL),
    Mutation("early exit of a warp before the barrier",
             [(KERNEL, BARRIER,
               f"if (blockIdx.x * kWarps + threadIdx.x / kWarpSize >= tile_count) return;\n{BARRIER}")], ALL),
    Mutation("early exit of lanes beyond the end",
             [(KERNEL, ELEMENT, f"{ELEMENT}\nif (element >= count) return;")], ALL),
    Mutation("one tile too many", [(KERNEL, "(index >= tile_count) return", "(index > tile_count) return")],
             ("asan", "ptx")),
    Mutation("last block of tiles missing", [(KERNEL, BLOCKS.format(1), BLOCKS.format(2))], HOST),
    Mutation("last four elements of a tile left out", [(STAGING, COUNT.format(""), COUNT.format(" - 4"))], ALL),
    Mutation("one row too few", [(KERNEL, MORE_ROWS.format(""), MORE_ROWS.format("+ kRow "))], ALL),
    Mutation("one tile too many in a round", [(STAGING, FITTING.format("fitting"), FITTING.format("too_many"))],
             ("asan",)),
    Mutation("misaligned load",
             [(STAGING_HEADER, TABLE.format(""), TABLE.format(" + 8")),
              (STAGING_HEADER, STAGING_BYTES.format(""), STAGING_BYTES.format("+ 8 "))], ("asan", "ptx")),
    Mutation("kernel in a stream that waits for no copy",
             [(LANE, "LaunchKlKernel(batch, stream_.get())", "LaunchKlKernel(batch, nullptr)")], ORDER),
    Mutation("copy back in a stream that waits for no kernel",
             [(LANE, COPY_BACK.format("stream_.get()"), COPY_BACK.format("nullptr"))], ORDER),
    Mutation("result read without a wait", [(LANE, "cudaEventSynchronize(done_.get())", "cudaSuccess")], ORDER),
    Mutation("result read after too early an event",
             [(LANE, LAUNCHED, f"{LAUNCHED}\nif (status.ok()) status = Mark(done_);"),
              (LANE, LAST_MARK, "return status;")], ORDER),
    Mutation("two roundings for one", [(NUMBER, FMA, f"{{ {TWO_ROUNDINGS} }}")], ALL),
    Mutation("two roundings for one, on a device only", [(NUMBER, FMA, TWO_ON_A_DEVICE)], ("ptx",)),
    Mutation("neighbours added in another order", [(KERNEL, NEIGHBOURS, NEIGHBOURS_IN_A_ROW)], ALL),
    Mutation("halves of the tree added in another order", [(KERNEL, HALVES, HALVES_FROM_BELOW)], ALL),
]
