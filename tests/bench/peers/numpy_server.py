#!/usr/bin/python3
"""Evaluate by numpy, in one process or in several that share a port. usage: numpy_server.py [PROCESSES]"""

import os
import signal
import socket
import sys


def evaluate(x, t):
    import numpy
    return numpy.sum(t * (numpy.log(t) - x))


def main():
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with socket.socket() as reserved:  # Bound and not listening: the port stays ours, and gets no connections.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        children = []
        for _ in range(processes - 1):  # before gRPC starts, which does not survive a fork
            child = os.fork()
            if child == 0:
                sys.stdout = open(os.devnull, "w")
                children = []
                break
            children.append(child)
        import grpc_server
        grpc_server.serve(evaluate, address)
        for child in children:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
