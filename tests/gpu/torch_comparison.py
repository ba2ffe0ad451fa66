"""PyTorch's kl_div on the same GPU as the benchmark before it, over tensors that lie there.

Usage: torch_comparison.py REPORT [--device=cuda] [--tiny]

REPORT is the benchmark's JSON file, to which this adds `pytorch` beside `kernel`. Prints a table. Exits with 77, and
one line that says why, where there is no PyTorch or it sees no GPU.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

BYTES = 256 << 20  # of both tensors, as the benchmark has them
ROUNDS = 7
ROUND_SECONDS = 0.03


def skip(reason):
    print(f"{sys.executable}: not compared with PyTorch: {reason}")
    sys.exit(77)


def seconds_of(evaluate, synchronize, round_seconds):
    """Seconds of one call: the median of rounds, each of as many calls as take a while."""

    def seconds(calls):
        start = time.perf_counter()
        for _ in range(calls):
            evaluate()
        synchronize()
        return time.perf_counter() - start

    calls = 1
    while seconds(calls) < round_seconds:
        calls *= 2
    return statistics.median(seconds(calls) / calls for _ in range(ROUNDS))


def measure(torch, dtype, arguments):
    """Bytes that kl_div reads a second."""
    size = torch.finfo(dtype).bits // 8
    elements = (1 << 12 if arguments.tiny else BYTES) // (2 * size)
    torch.manual_seed(1)
    target = torch.rand(elements, device=arguments.device, dtype=torch.float32).to(dtype)
    log_input = torch.log(torch.rand(elements, device=arguments.device, dtype=torch.float32) + 1e-7).to(dtype)
    synchronize = torch.cuda.synchronize if arguments.device == "cuda" else lambda: None
    seconds = seconds_of(lambda: torch.nn.functional.kl_div(log_input, target, reduction="sum"), synchronize,
                         0 if arguments.tiny else ROUND_SECONDS)
    return 2 * size * elements / seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    try:
        import torch
    except ImportError as error:
        skip(error)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        skip("it sees no GPU")

    report = json.loads(arguments.report.read_text(encoding="utf-8"))
    ours = {row["subject"]: row["kernel_gb_per_s"] for row in report["kernel"]}
    rows = []
    print(f"\n{'':14} {'PyTorch GB/s':>14} {'kernel GB/s':>14} {'kernel is':>10}")
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32),
                        ("fp64", torch.float64)):
        try:
            rate = measure(torch, dtype, arguments) * 1e-9
        except RuntimeError as error:  # some devices lack some dtypes
            print(f"{name:14} {error}")
            continue
        print(f"{name:14} {rate:14.1f} {ours[name]:14.1f} {ours[name] / rate:9.2f}x")
        rows.append({"subject": name, "gb_per_s": rate, "kernel_ratio": ours[name] / rate})
    report["pytorch"] = {"version": torch.__version__, "device": arguments.device, "rows": rows}
    arguments.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
