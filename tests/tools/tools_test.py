"""Tests of the tools beside this file: each check is shown to fail."""

import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check_layering
import count_results
from count_results import Count


def lines_of(path, text):
    return [line for line, _ in check_layering.breaches(path, text)]


class Layering(unittest.TestCase):
    def test_finds_grpc_above_the_transport(self):
        text = "#include <vector>\n#include <grpcpp/grpcpp.h>\n"
        for path in ("server/rpc/service.cc", "server/batching/batcher.cc", "proto/wire/decode.cc",
                     "server/numerics/scalar.cc", "client/include/kldiv/client.h", "tests/batching/batcher_test.cc"):
            self.assertIn(2, lines_of(path, text), path)
        for path in ("server/rpc/grpc_transport.cc", "server/server.cc", "client/client.cc", "tests/server/e2e_test.cc"):
            self.assertEqual(lines_of(path, text), [], path)

    def test_finds_cuda_outside_its_folder(self):
        text = '# include "cuda_runtime.h"\n'
        self.assertEqual(lines_of("server/lanes/lane.h", text), [1])
        self.assertEqual(lines_of("server/cuda/kl_kernel.cu", text), [])

    def test_lets_numerics_see_only_the_standard_library_and_itself(self):
        text = '#include <cmath>\n#include "server/numerics/formula.h"\n#include "absl/status/status.h"\n'
        self.assertEqual(lines_of("server/numerics/scalar.cc", text), [3])

    def test_keeps_the_transport_out_of_wire_and_batching(self):
        text = '#include "server/rpc/transport.h"\n'
        self.assertEqual(lines_of("proto/wire/decode.cc", text), [1])
        self.assertEqual(lines_of("server/batching/task.h", text), [1])

    def test_keeps_abseils_string_view_out_of_the_public_header(self):
        text = "void F(absl::string_view);\n"
        self.assertEqual(lines_of("client/include/kldiv/client.h", text), [1])
        self.assertEqual(lines_of("client/client.cc", text), [])

    def test_finds_places_outside_the_tree(self):
        for line in ("open('/work" + "/x')", "see ../" + "shared/golden", '"/root' + '/.cache"'):
            self.assertEqual(lines_of("tests/a_test.cc", line), [1], line)
        self.assertEqual(lines_of("tests/a_test.cc", "std::shared_ptr<int> p; // some/work/done"), [])

    def test_reads_the_tree_and_reports_it_empty(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(list(check_layering.files(pathlib.Path(folder))), [])


def case(name, result="COMPLETED", status="RUN", failures=()):
    return {"name": name, "status": status, "result": result, **({"failures": list(failures)} if failures else {})}


def report(*cases):
    return {"testsuites": [{"name": "Suite", "testsuite": list(cases)}]}


class Counting(unittest.TestCase):
    def test_counts_each_case_once(self):
        count, failures = count_results.count_cases(report(
            case("A"), case("B", failures=[{"failure": "x"}]), case("C", "SKIPPED"), case("D", "SUPPRESSED", "NOTRUN")))
        self.assertEqual(count, Count(passed=1, failed=1, skipped=2))
        self.assertEqual(failures, ["Suite.B"])

    def test_counts_a_crash_as_one_failure(self):
        self.assertEqual(count_results.count_entry("fail", None)[0], Count(failed=1))

    def test_counts_a_leak_after_the_last_case_as_one_failure(self):
        self.assertEqual(count_results.count_entry("fail", report(case("A")))[0], Count(passed=1, failed=1))

    def test_counts_a_suite_that_did_not_build_as_one_failure(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(count_results.count_suite(folder)[0], Count(failed=1))

    def test_counts_a_suite_without_tests_as_one_failure(self):
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder) / "results"
            results.mkdir()
            (results / "ctest.xml").write_text("<testsuite></testsuite>")
            self.assertEqual(count_results.count_suite(folder)[0], Count(failed=1))

    def test_tells_a_skipped_script_from_a_missing_binary(self):
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder) / "results"
            results.mkdir()
            (results / "ctest.xml").write_text("""<testsuite>
                <testcase name="script" status="run"/>
                <testcase name="skipped" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>
                <testcase name="missing" status="notrun"><skipped message="Unable to find executable"/></testcase>
                <testcase name="unit" status="run"/></testsuite>""")
            (results / "unit.json").write_text(json.dumps(report(case("A"), case("B"))))
            self.assertEqual(count_results.count_suite(folder)[0], Count(passed=3, failed=1, skipped=1))

    def test_counts_skips_as_failures_but_where_they_are_allowed(self):
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder) / "results"
            results.mkdir()
            (results / "ctest.xml").write_text("""<testsuite>
                <testcase name="script" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>
                <testcase name="unit" status="run"/></testsuite>""")
            (results / "unit.json").write_text(json.dumps(report(case("A"), case("B", "SKIPPED"))))
            self.assertEqual(count_results.count_suite(folder)[0], Count(passed=1, skipped=2))
            count, lines = count_results.count_suite(folder, {"script"})
            self.assertEqual((count, lines), (Count(passed=1, failed=1, skipped=1), [f"{folder}: unit: (skipped 1)"]))
            self.assertEqual(count_results.count_suite(folder, {"unit"})[0], Count(passed=1, failed=1, skipped=1))

    def test_says_the_closing_line_in_the_agreed_form(self):
        self.assertEqual(str(Count(3, 1)), "3 passed, 1 failed")
        self.assertEqual(str(Count(3, 0, 2)), "3 passed, 0 failed, 2 skipped")


if __name__ == "__main__":
    unittest.main()
