"""Writes kldiv/_descriptor.py from proto/kldiv/v1/kldiv.proto; needs protoc and python3-protobuf.

Usage: update_descriptor.py [--check]   (--check: writes nothing, exits with 1 when the file is not up to date)
"""

import pathlib
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2

HERE = pathlib.Path(__file__).resolve().parent
DESCRIPTOR = HERE / "kldiv" / "_descriptor.py"
HEAD = '"""proto/kldiv/v1/kldiv.proto as a FileDescriptorProto; written by update_descriptor.py."""\n\nFILE = (\n'
BYTES_PER_LINE = 24


def descriptor() -> bytes:
    """The descriptor without comments, and without what versions of protoc differ in."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", "-I", HERE.parents[1] / "proto", f"--descriptor_set_out={out.name}",
                        "kldiv/v1/kldiv.proto"], check=True)
        (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read()).file
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return file.SerializeToString(deterministic=True)


def main() -> int:
    data = descriptor()
    lines = (f"    {data[i:i + BYTES_PER_LINE]!r}\n" for i in range(0, len(data), BYTES_PER_LINE))
    text = HEAD + "".join(lines) + ")\n"
    if "--check" not in sys.argv[1:]:
        DESCRIPTOR.write_text(text)
    elif not DESCRIPTOR.is_file() or DESCRIPTOR.read_text() != text:
        print(f"{DESCRIPTOR.name} is not what the proto file says; run {pathlib.Path(__file__).name}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
