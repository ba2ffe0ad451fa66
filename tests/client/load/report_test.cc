// What the load tester says of its runs, and what it takes for a failure.
#include "client/load/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace kldiv::load {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// An open loop of two seconds whose calls took 1 ms to 100 ms.
RunResult HundredCalls() {
  RunResult run;
  run.plan.label = "rate 50";
  run.plan.rate = 50;
  run.measured = seconds(2);
  run.totals.calls = run.totals.ok = run.totals.due = run.totals.answered = run.totals.answered_pairs = 100;
  run.totals.answered_bytes = 800;
  for (int i = 1; i <= 100; ++i) run.totals.latency.Record(Duration(milliseconds(i)).count());
  return run;
}

Report ReportOf(std::vector<RunResult> runs) {
  Report report;
  report.started = "2030-01-02T03:04:05Z";
  report.command = {"kldiv-load", "--rate=50"};
  report.settings.rates = {50};
  report.settings.workload.shapes = {{.shape = {2, 5}, .weight = 1}};
  report.runs = std::move(runs);
  return report;
}

void FailCalls(RunResult& run, absl::StatusCode code, uint64_t count) {
  run.totals.calls += count;
  run.totals.errors[code] += count;
  run.totals.error_texts.emplace(code, "no \xff room");  // no UTF-8
}

TEST(Failures, AreNoneOfARunThatWentWell) { EXPECT_THAT(Failures(ReportOf({HundredCalls()})), IsEmpty()); }

TEST(Failures, TakeAWrongAnswerWhateverIsAllowed) {
  RunResult run = HundredCalls();
  run.totals.wrong = 1;
  run.totals.calls = 101;
  run.totals.wrong_text = "that one";
  Report report = ReportOf({run});
  report.settings.max_error_rate = 1;
  EXPECT_THAT(Failures(report), ElementsAre("rate 50: WRONG ANSWERS: 1, the first: that one"));
}

TEST(Failures, TakeAWrongAnswerOfTheWarmUp) {
  RunResult run = HundredCalls();
  run.totals.wrong_before = 2;
  run.totals.wrong_text = "that one";
  EXPECT_THAT(Failures(ReportOf({run})),
              ElementsAre("rate 50: WRONG ANSWERS: 2 (2 in the warm-up), the first: that one"));
}

TEST(Failures, TakeMoreErrorsThanAllowed) {
  RunResult run = HundredCalls();
  FailCalls(run, absl::StatusCode::kUnavailable, 20);
  FailCalls(run, absl::StatusCode::kResourceExhausted, 5);
  Report report = ReportOf({run});
  report.settings.max_error_rate = 0.2;
  EXPECT_THAT(Failures(report), IsEmpty());
  report.settings.max_error_rate = 0.19;
  EXPECT_THAT(Failures(report),
              ElementsAre("rate 50: 20 % of the calls failed, --max_error_rate allows 19 %"));
}

TEST(Failures, TakeARunWithoutCalls) {
  EXPECT_THAT(Failures(ReportOf({RunResult()})), ElementsAre(HasSubstr("no call was measured")));
}

TEST(Failures, TakeAMissedSloOfAnyRun) {
  RunResult slow = HundredCalls();
  slow.plan.label = "slow";
  slow.totals.latency.Record(Duration(seconds(1)).count());
  Report report = ReportOf({slow, HundredCalls()});
  report.settings.slo = Slo::Parse("max<500ms").value();
  EXPECT_THAT(Failures(report), ElementsAre("slow: --slo=max<500ms was missed"));
}

// A search whose first step failed and whose second held, in the end.
Report Searched() {
  RunResult failed = HundredCalls();
  failed.plan.label = "rate 100";
  FailCalls(failed, absl::StatusCode::kResourceExhausted, 50);
  Report report = ReportOf({failed, HundredCalls()});
  report.settings.slo = Slo::Parse("max<50ms").value();  // which the second missed in a second that was bad
  report.search.emplace();
  report.search->rule = "the rule";
  report.search->best = 50;
  report.search->steps = {{.value = 100, .held = false, .windows = {{.good = false}}},
                          {.value = 50, .held = true, .windows = {{.good = false}, {.good = true, .ok = 7}}}};
  return report;
}

TEST(Failures, LeaveTheStepsOfASearchToItsRule) {
  Report report = Searched();
  EXPECT_THAT(Failures(report), IsEmpty());
  report.runs[0].totals.wrong = 1;
  report.runs[0].totals.calls += 1;
  EXPECT_THAT(Failures(report), ElementsAre(StartsWith("rate 100: WRONG ANSWERS: 1")));
  report.runs[0].totals.wrong = 0;
  report.search->best.reset();
  EXPECT_THAT(Failures(report), ElementsAre(HasSubstr("--slo=max<50ms was missed by every load")));
}

TEST(Table, TellsTheRuleOfASearchWhatItSawAndTheBest) {
  EXPECT_THAT(ToTable(Searched()), HasSubstr("rule: the rule\n"
                                             "rate 100 does not hold: bad\n"
                                             "rate 50 holds: bad good\n"
                                             "best: rate 50\n"));
  EXPECT_THAT(ToTable(Searched()), HasSubstr("SLO max<50ms: met\n"));
}

TEST(Table, HasEachRunInALine) {
  RunResult run = HundredCalls();
  FailCalls(run, absl::StatusCode::kUnavailable, 3);
  run.totals.late_starts = 4;
  run.totals.start_delay.Record(Duration(milliseconds(20)).count());
  const std::string table = ToTable(ReportOf({run}));
  EXPECT_THAT(table,
              HasSubstr("rate 50         50       50       50  0.0 MB  50.0 ms  90.0 ms  99.0 ms  100 ms  "
                        "100 ms   100 ms  100 ms       3      0\n"));
  EXPECT_THAT(table, HasSubstr("late starts: 4 of 100 calls, the latest 20.0 ms\n"));
  EXPECT_THAT(table, HasSubstr("UNAVAILABLE: 3 calls, the first: no \xff room\n"));
  EXPECT_THAT(table, Not(HasSubstr("warning")));
}

TEST(Table, WarnsWhenTheGeneratorWasTheLimit) {
  RunResult run = HundredCalls();
  run.saturation = {"its threads"};
  EXPECT_THAT(ToTable(ReportOf({run})),
              HasSubstr("warning: the load tester itself was at its limit: its threads\n"));
}

TEST(Table, SplitsOffTheServersShareOfEveryRun) {
  RunResult run = HundredCalls();
  run.totals.queue.Record(1000);
  run.totals.compute.Record(Duration(milliseconds(2)).count());
  const std::string split =
      "of it, on the server: queue p50 1.00 us, p99 1.00 us; computing p50 2.00 ms, p99 2.00 ms\n";
  EXPECT_THAT(ToTable(ReportOf({run, run})), HasSubstr("rate 50: " + split));
}

TEST(Json, HasTheFiguresOfTheDecidingRunOnTop) {
  RunResult run = HundredCalls();
  FailCalls(run, absl::StatusCode::kUnavailable, 3);
  run.timeline = {
      {.t_s = 0, .offered = 60, .ok = 57, .errors = 3, .p50_ns = 1500, .p99_ns = 2500, .max_ns = 3500}};
  const json report = json::parse(ToJson(ReportOf({RunResult(), run})));
  EXPECT_EQ(report["command"], json({"kldiv-load", "--rate=50"}));
  EXPECT_EQ(report["server"], nullptr);
  EXPECT_EQ(report["workload"]["shapes"], json::parse(R"([{"shape": [2, 5], "weight": 1.0}])"));
  EXPECT_EQ(report["offered_rate"], 50);
  EXPECT_EQ(report["achieved_rate"], 50);
  EXPECT_EQ(report["slo"], nullptr);
  EXPECT_EQ(report["saturated"], false);
  EXPECT_EQ(report["search"], nullptr);
  EXPECT_EQ(report["errors"], json({{"UNAVAILABLE", 3}}));
  EXPECT_EQ(report["latency_us"]["max"], 100'000);
  EXPECT_NEAR(report["latency_us"]["p50"].get<double>(), 50'000, 50'000 * Histogram::kMaxRelativeError);
  ASSERT_EQ(report["runs"].size(), 2U);
  const json& last = report["runs"][1];
  EXPECT_EQ(last["loop"], "open");
  EXPECT_EQ(last["calls"], 103);
  EXPECT_EQ(last["ok"], 100);
  EXPECT_EQ(last["error_texts"]["UNAVAILABLE"], "no \xEF\xBF\xBD room");  // U+FFFD
  EXPECT_EQ(last["latency_us"]["p99999"], 100'000);
  EXPECT_EQ(last["latency_us"]["p50"], report["latency_us"]["p50"]);
  EXPECT_EQ(last["timeline"], json::parse(R"([{"t_s": 0, "offered": 60, "ok": 57, "errors": 3,
                                              "p50_us": 1.5, "p99_us": 2.5, "max_us": 3.5}])"));
  EXPECT_EQ(last["spectrum"].front(), json({0, 1000, 1}));
  EXPECT_EQ(last["spectrum"].back(), json({1, 100'000, 100}));
}

TEST(Json, HasTheStepsOfASearch) {
  const json report = json::parse(ToJson(Searched()));
  EXPECT_EQ(report["search"]["variable"], "rate");
  EXPECT_EQ(report["search"]["best"], 50);
  EXPECT_EQ(report["search"]["rule"], "the rule");
  EXPECT_EQ(report["search"]["steps"][0]["held"], false);
  EXPECT_EQ(report["search"]["steps"][1]["windows"][1]["good"], true);
  EXPECT_EQ(report["search"]["steps"][1]["windows"][1]["ok"], 7);
  EXPECT_EQ(report["slo"], json({{"expression", "max<50ms"}, {"met", true}}));
  EXPECT_EQ(report["runs"][0]["slo"]["met"], false);
  EXPECT_EQ(report["errors"], json::object());  // of the one that held
}

TEST(FormatTime, HasThreeDigitsAndAUnit) {
  EXPECT_EQ(FormatTime(0), "0 ns");
  EXPECT_EQ(FormatTime(999), "999 ns");
  EXPECT_EQ(FormatTime(1000), "1.00 us");
  EXPECT_EQ(FormatTime(12'345), "12.3 us");
  EXPECT_EQ(FormatTime(9'996'000), "10.0 ms");
  EXPECT_EQ(FormatTime(345.6e6), "346 ms");
  EXPECT_EQ(FormatTime(61.2e9), "61.2 s");
}

TEST(Progress, TellsRatePercentilesAndErrors) {
  Window window;
  window.index = 4;
  window.ok = 2;
  window.errors = 3;
  window.latency.Record(1'000'000);
  window.latency.Record(3'000'000);
  EXPECT_EQ(ToProgress("rate 5", window, seconds(1)),
            "rate 5, 5 s: 2 answers/s, p50 1.00 ms, p99 3.00 ms, errors 3");
  window.wrong = 1;
  EXPECT_THAT(ToProgress("rate 5", window, seconds(1)), HasSubstr("errors 3, WRONG 1"));
  Window empty;
  empty.index = -1;
  EXPECT_EQ(ToProgress("rate 5", empty, seconds(1)),
            "rate 5, warming up: 0 answers/s, p50 -, p99 -, errors 0");
}

TEST(Saturation, IsNoneOfAGeneratorThatIsOnTime) {
  Totals totals;
  totals.due = 1000;
  totals.late_starts = 10;
  EXPECT_THAT(SaturationOf(totals, 0.9, 1.8, 2, true), IsEmpty());
}

TEST(Saturation, IsTooManyLateStartsABusyThreadOrAllProcessors) {
  Totals totals;
  totals.due = 1000;
  EXPECT_THAT(SaturationOf(totals, 0.91, 0, 2, true), ElementsAre(HasSubstr("91 % of a processor")));
  EXPECT_THAT(SaturationOf(totals, 0, 1.81, 2, true), ElementsAre(HasSubstr("1.8 of the 2 processors")));
  totals.late_starts = 11;
  EXPECT_THAT(SaturationOf(totals, 0, 0, 2, true),
              ElementsAre(StartsWith("1.1 % of the calls started more than 1 ms")));
}

}  // namespace
}  // namespace kldiv::load
