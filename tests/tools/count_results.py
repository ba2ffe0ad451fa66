"""Adds up what the test suites said and prints `N passed, N failed` as the last line.

Usage: count_results.py [--skips-only-in=NAME,...] BUILD_FOLDER...

With --skips-only-in, what was skipped in any other entry of ctest counts as failed.
Each build folder holds results/ctest.xml (ctest --output-junit) and, for its GoogleTest binaries,
results/NAME.json (--gtest_output), and results/seconds.txt, a note to print. A folder without results/ctest.xml, because its build failed, counts as one
failed test. Exits with 0 only when something passed and nothing failed.
"""

import argparse
import json
import pathlib
import sys
import xml.etree.ElementTree


class Count:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def __add__(self, other):
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __eq__(self, other):
        return vars(self) == vars(other)

    def __repr__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def count_cases(report):
    """The cases of one GoogleTest JSON report, and the names of the failed ones."""
    count, failures = Count(), []
    for suite in report["testsuites"]:
        for case in suite["testsuite"]:
            if case["status"] != "RUN":  # disabled, or filtered out
                count.skipped += 1
            elif case.get("failures"):
                count.failed += 1
                failures.append(f"{suite['name']}.{case['name']}")
            elif case["result"] == "SKIPPED":
                count.skipped += 1
            else:
                count.passed += 1
    return count, failures


def count_entry(status, report):
    """One entry of ctest: `status` as in its JUnit file, `report` the parsed JSON or None."""
    if report is None:  # a script; or a binary that crashed before it could report
        if status == "run":
            return Count(passed=1), []
        if status in ("notrun", "disabled"):
            return Count(skipped=1), []
        return Count(failed=1), [f"(ended with {status})"]
    count, failures = count_cases(report)
    if status != "run" and count.failed == 0:  # a leak or a crash after the last case
        return count + Count(failed=1), ["(every case passed, then the program failed)"]
    return count, failures


def refuse_skips(count, failures):
    """The same with every skip a failure."""
    if count.skipped == 0:
        return count, failures
    return Count(count.passed, count.failed + count.skipped), failures + [f"(skipped {count.skipped})"]


def count_suite(folder, skips_only_in=None):
    """(Count, lines about failures) of one build folder; skips are allowed in the entries named, or in all."""
    results = pathlib.Path(folder) / "results"
    if not (results / "ctest.xml").is_file():
        return Count(failed=1), [f"{folder}: did not build or did not run"]
    total, lines = Count(), []
    for entry in xml.etree.ElementTree.parse(results / "ctest.xml").getroot().iter("testcase"):
        name, status = entry.get("name"), entry.get("status")
        if status == "notrun" and "SKIP_RETURN_CODE" not in skip_reason(entry):
            status = "fail"  # its binary is missing
        json_file = results / f"{name}.json"
        report = json.loads(json_file.read_text()) if json_file.is_file() else None
        count, failures = count_entry(status, report)
        if skips_only_in is not None and name not in skips_only_in:
            count, failures = refuse_skips(count, failures)
        total += count
        lines += [f"{folder}: {name}: {failure}" for failure in failures]
    if total == Count():
        return Count(failed=1), [f"{folder}: there was no test to run"]
    return total, lines


def skip_reason(entry):
    skipped = entry.find("skipped")
    return "" if skipped is None else skipped.get("message", "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--skips-only-in", type=lambda names: set(names.split(",")))
    parser.add_argument("folders", nargs="+")
    arguments = parser.parse_args()
    total = Count()
    for folder in arguments.folders:
        count, lines = count_suite(folder, arguments.skips_only_in)
        total += count
        for line in lines:
            print(f"FAILED  {line}")
        seconds = pathlib.Path(folder) / "results" / "seconds.txt"
        print(f"{folder}: {count}" + (f"; {seconds.read_text().strip()}" if seconds.is_file() else ""))
    print(total)
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main())
