"""Fails when a file includes what its layer must not know, or names a place outside the tree.

Usage: check_layering.py [ROOT]

The link graph is the layering; this catches what a header-only dependency would slip past it. Prints one line
per breach: file, line, what is wrong.
"""

import pathlib
import re
import sys

FOLDERS = ("proto", "server", "client", "tests", "docker")
ROOT_FILES = ("dev", "CMakeLists.txt", "CMakePresets.json", "README.md", ".ci/run")
SOURCE_SUFFIXES = {".h", ".cc", ".cu", ".inc"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

# What an include is about, the files that may have it (a match at the start of the path), and why.
# The first path that fits an include decides.
RESTRICTED = (
    (re.compile(r"grpc|.*\.grpc\.pb\.h$"),
     ("server/rpc/grpc_", "server/server.cc", "server/main.cc", "client/",
      "tests/rpc/", "tests/server/", "tests/client/", "tests/integration/", "tests/bench/"),
     "only the transport, the server's wiring and the client know gRPC"),
    (re.compile(r"cuda|cub/|thrust/|nv[mt]"), ("server/cuda/", "tests/cuda"),
     "only server/cuda knows the CUDA runtime"),
    (re.compile(r"openssl/"), ("server/security/", "tests/security/"),
     "only server/security knows OpenSSL"),
    (re.compile(r"hwy/"), ("server/lanes/cpu_kernel", "tests/lanes/"),
     "only the CPU kernel knows SIMD"),
    (re.compile(r"prometheus/|spdlog/|boost/(asio|beast)"),
     ("server/observability/", "server/server.cc", "server/main.cc", "tests/observability/", "tests/server/"),
     "only server/observability knows the metrics and logging libraries"),
)

# Folders that may include nothing but this, beside what comes with the compiler.
CLOSED = {
    "server/numerics/": ("server/numerics/",),
    "proto/wire/": ("proto/wire/", "server/numerics/", "absl/", "google/protobuf/"),
    "server/batching/": ("server/batching/", "server/lanes/", "server/numerics/", "server/base/", "proto/wire/",
                         "absl/"),
    "client/include/": ("kldiv/", "absl/status/"),
}

# In the public header a caller's compiler must not need to agree with ours about what a string_view is.
PUBLIC_HEADER_WORDS = re.compile(r"absl::(string_view|Span)")

OUTSIDE = re.compile(r"\.\./shared\b|(?<![\w.])/(work|root|home)/[\w.]")


def is_standard(bracket, name):
    """Headers of the standard library, the C library and the compiler: <vector>, <pthread.h>, <xmmintrin.h>."""
    return bracket == "<" and "/" not in name


def breaches_of_include(path, bracket, name):
    for pattern, allowed, reason in RESTRICTED:
        if pattern.match(name) and not path.startswith(allowed):
            yield f"includes {name}: {reason}"
    for folder, allowed in CLOSED.items():
        if path.startswith(folder) and not is_standard(bracket, name) and not name.startswith(allowed):
            yield f"includes {name}: {folder} may include {', '.join(allowed)} and what comes with the compiler"


def breaches(path, text):
    """Yields (line number, what is wrong) for the file at `path`, relative to the root."""
    is_source = pathlib.PurePath(path).suffix in SOURCE_SUFFIXES
    for number, line in enumerate(text.splitlines(), start=1):
        include = INCLUDE.match(line)
        if is_source and include:
            for what in breaches_of_include(path, *include.groups()):
                yield number, what
        if path.startswith("client/include/") and PUBLIC_HEADER_WORDS.search(line):
            yield number, "the public header uses std::string_view and std::span"
        outside = OUTSIDE.search(line)
        if outside:
            yield number, f"names a place outside the tree: {outside.group()}"


def files(root):
    for folder in FOLDERS:
        yield from sorted(p for p in (root / folder).rglob("*") if p.is_file())
    yield from (root / name for name in ROOT_FILES if (root / name).is_file())


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    checked = failed = 0
    for file in files(root):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # data
            continue
        path = file.relative_to(root).as_posix()
        if path.startswith("tests/tools/"):  # these tools and their tests spell out what they look for
            continue
        checked += 1
        for number, what in breaches(path, text):
            failed += 1
            print(f"{path}:{number}: {what}")
    if checked == 0:
        print(f"no files under {root.resolve()}")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
