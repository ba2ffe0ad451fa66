"""What tests of deployment files share: the programs' flags, values as such files write them, tools from PyPI."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLACK_S = 5  # for what the server does before and after the drain
DURATIONS = {"": 1, "s": 1, "m": 60, "h": 3600}
SIZES = {"Gi": 1 << 30, "g": 1 << 30, "Mi": 1 << 20, "m": 1 << 20}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)([smh]?)", text).groups()
    return int(number) * DURATIONS[unit]


def size(text):
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]+)", text).groups()
    return int(number) * SIZES[unit]


def port(address):
    return int(address.rpartition(":")[2])


def flags(program):
    """The flags of a program, with their defaults, as it tells them."""
    text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    return dict(re.findall(r"^  --(\w+) \(default: (.*)\)$", text, re.MULTILINE))


def guide(title):
    """A section of docker/README.md: its prose, and its blocks as (language, text)."""
    text = (ROOT / "docker/README.md").read_text()
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    block = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return block.sub("", section[1]), block.findall(section[1])


def without_settings(environment):
    return {name: value for name, value in environment.items() if not name.startswith("KLDIV_")}


def refusal(server, settings, memory_limit):
    """Why the server would not start with these KLDIV_ variables under a limit of so many bytes; empty: it would."""
    checked = subprocess.run([server, "--check_config", f"--max_memory={memory_limit // 4 * 3}"],
                             env=without_settings(os.environ) | settings, capture_output=True, text=True)
    unknown = "names no flag" in checked.stderr
    return checked.stderr if checked.returncode or unknown else ""


def pypi(folder, *packages):
    """The programs of an environment in `folder` that has these packages; made when it is not there."""
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        (folder / "complete").touch()
    return folder / "bin"


def main():
    """Runs the caller's tests, as unittest.main does, and counts them in the last line."""
    result = unittest.main(exit=False, verbosity=2).result
    failed = len({test.id().split(" ")[0] for test, _ in result.failures + result.errors})
    skipped = len(result.skipped)
    passed = max(0, result.testsRun - failed - skipped)  # what fails before the first test is one that failed
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(0 if result.testsRun and not failed else 1)
