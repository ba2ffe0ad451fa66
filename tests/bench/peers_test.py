#!/usr/bin/python3
"""Every server that `./dev bench` compares answers as it should, and so does every way of calling ours.

usage: peers_test.py BUILD
"""
import importlib.util
import pathlib
import sys

import load

SHORT = {"calls": 3, "warm_up": 0}


def main():
    load.BUILD = pathlib.Path(sys.argv[1])
    ours, wrong = load.kldiv_server(), load.kldiv_server(binary="bench/twin_server")
    cases = [(ours, {"verify": "bits", **flags}) for flags in (
        {"elements": 1}, {"elements": 5000, "channels": 2, "outstanding": 4}, {"via": "library"},
        {"method": "batch", "pairs": 3}, {"method": "stream", "outstanding": 4}, {"rate": 1000})]
    cases.append((wrong, {"verify": "status"}))
    cases.append((load.Server(load.BUILD / "bench/null_server"), {"verify": "status"}))
    cases.append((load.kldiv_server(binary="bench/slow_server"), {"verify": "bits", "elements": 5000}))
    scripts = [("numpy_server.py",), ("numpy_server.py", 2)]
    if importlib.util.find_spec("torch"):  # not among the packages of the tests
        scripts.append(("torch_server.py",))
    for script, *arguments in scripts:
        server = load.Server(load.PYTHON, load.PEERS / script, *arguments)
        cases += [(server, {"verify": "close", "elements": elements}) for elements in (1, 5000)]
    for server, flags in cases:
        load.call(server, **SHORT, **flags)  # raises for a wrong answer
    try:
        load.call(wrong, **SHORT, verify="bits")
        sys.exit("the wrong answer of twin_server was not noticed")
    except RuntimeError as error:
        assert "the loss is 1, expected" in str(error), error
    for server in {server for server, _ in cases}:
        assert server.stop() == 0, server.process.args


if __name__ == "__main__":
    main()
