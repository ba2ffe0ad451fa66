#!/usr/bin/env python3
"""Three servers with addresses of their own behind one name, under open-loop load through the client library: killed,
cut off, joined by a fourth, restarted in turn. No call fails, and the load evens out. Prints the figures.

Usage: replicas_test.py BIN_FOLDER; only with KLDIV_SLOW=1, as root and with network namespaces, else skipped."""

import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent)]
import cluster  # noqa: E402  # the folder has just been named


class Replicas(cluster.Misfortunes):
    """Found by their name."""


if __name__ == "__main__":
    cluster.main()
