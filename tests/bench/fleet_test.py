#!/usr/bin/python3
"""The simulations of `./dev bench fleet` agree with the formulae of queueing theory, and what it prints can be used.

usage: fleet_test.py BUILD
"""
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

import fleet
import fleet_model as model

BUILD = pathlib.Path(sys.argv.pop())


class Model(unittest.TestCase):
    def p99_of_one_queue(self, servers, load):
        rng = random.Random(1)
        return model.queueing(rng, model.one_queue, servers, 1, load, model.mixed, 400_000)[0]

    def assert_close(self, value, expected, share):
        self.assertLess(abs(value - expected), share * expected, f"{value} instead of {expected}")

    def test_a_server_queues_as_m_m_1_says(self):
        # P(wait > t) = load exp(-(1 - load) t)
        self.assert_close(self.p99_of_one_queue(1, 0.6), math.log(0.6 / 0.01) / 0.4, 0.05)

    def test_servers_with_one_queue_wait_as_erlang_c_says(self):
        # P(wait > t) = C exp(-servers (1 - load) t)
        servers, load = 5, 0.8
        offered = servers * load
        waiting = offered**servers / math.factorial(servers) / (1 - load)
        erlang_c = waiting / (sum(offered**k / math.factorial(k) for k in range(servers)) + waiting)
        expected = math.log(erlang_c / 0.01) / (servers * (1 - load))
        self.assert_close(self.p99_of_one_queue(servers, load), expected, 0.05)

    def test_a_single_client_s_round_robin_serves_all_alike(self):
        _, busiest = model.queueing(random.Random(1), model.round_robin, 10, 1, 0.6, model.fixed, 10_000)
        self.assertEqual(busiest, 1)

    def test_a_subset_of_one_server_a_client_is_as_uneven_as_the_draw(self):
        policy = lambda *arguments: model.round_robin(*arguments, subset=1)
        _, busiest = model.queueing(random.Random(1), policy, 2, 1, 0.4, model.fixed, 1_000)
        self.assertEqual(busiest, 1)  # the only server that the only client has is the mean of those that work
        _, busiest = model.queueing(random.Random(1), policy, 50, 100, 0.4, model.fixed, 100_000)
        self.assertGreater(busiest, 2)

    def test_lookups_come_as_the_formula_says(self):
        for connections, age in ((3, 300), (30, 30), (1000, 300)):
            counted = model.lookups_simulated(random.Random(1), connections, age, 200_000 / connections * age / 30)
            self.assert_close(counted, model.lookups_a_second(connections, age), 0.05)

    def test_a_client_finds_a_new_server_when_the_first_of_its_connections_ends(self):
        rng = random.Random(1)
        found = [model.finds_new_servers(rng, 9, 600, 100) - 100 for _ in range(20_000)]
        self.assert_close(sum(found) / len(found), 600 / (9 + 1), 0.05)


class Fleet(unittest.TestCase):
    def run_fleet(self, *flags):
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            options = ("--quick", "--costs=/nonexistent", f"--json={report.name}", *flags)
            done = subprocess.run([sys.executable, fleet.__file__, *options], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_prints_the_same_for_the_same_seed(self):
        self.assertEqual(self.run_fleet(), self.run_fleet())
        self.assertNotEqual(self.run_fleet(), self.run_fleet("--seed=2"))

    def test_the_flags_that_it_prints_are_good(self):
        for wanted in ((20_000, 32_000, 1_000), (1, 1, 1), (100_000, 1_000, 3_000), (10, 8_000_000, 10)):
            _, flags = fleet.sizing(*wanted, fleet.MEASURED)
            done = subprocess.run([BUILD / "bin/kldiv-server", "--check_config", "--backend=cpu", *flags],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, (flags, done.stderr))

    def test_more_calls_need_proportionally_more_servers(self):
        def replicas(rate):
            rows, _ = fleet.sizing(rate, 32_000, 1_000, fleet.MEASURED)
            return next(value for what, value, _ in rows if what == "replicas")
        self.assertEqual(replicas(1), 2)
        self.assertAlmostEqual((replicas(2_000_000) - 1) / (replicas(1_000_000) - 1), 2, delta=0.02)

    def test_costs_between_the_measured_sizes_lie_on_straight_lines(self):
        costs = {1_000: {"all": 10}, 11_000: {"all": 20}, 21_000: {"all": 50}}
        for elements, cost in ((1, 10), (1_000, 10), (6_000, 15), (11_000, 20), (16_000, 35), (31_000, 80)):
            self.assertEqual(fleet.interpolated(costs, elements, "all"), cost)

    def test_takes_the_costs_of_a_whole_measurement_alone(self):
        cost = {"open": {"all": 3, "polling": 2, "lanes": 1}, "busy": {}}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as report:
            report.write(json.dumps({"server_cpu_us": {str(elements): cost for elements in fleet.MEASURED}}))
            report.flush()
            costs, source = fleet.costs_from(pathlib.Path(report.name))
            self.assertEqual((costs[32_000]["all"], source), (3, report.name))
            report.seek(0)
            report.truncate()
            report.write(json.dumps({"server_cpu_us": {"1000": cost}}))
            report.flush()
            self.assertEqual(fleet.costs_from(pathlib.Path(report.name)), (fleet.MEASURED, "those in fleet.py"))

    def test_a_thousand_addresses_make_sixteen_kilobytes(self):
        self.assertEqual(fleet.dns_bytes(1000), 12 + (1 + 5 + 1 + 7 + 1 + 3 + 1 + 7 + 1 + 5 + 1) + 4 + 16_000)


if __name__ == "__main__":
    unittest.main()
