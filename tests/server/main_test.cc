// The program kldiv-server around a double of the server: what it prints and how it ends.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <string>
#include <vector>

#include "server/base/version.h"
#include "tests/server/child_process.h"
#include "tests/server/notify_socket.h"

namespace kldiv::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// A limit of memory that suits every machine, before `arguments`.
std::vector<std::string> Command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {KLDIV_PROGRAM, "--max_memory=1GiB"});
  return arguments;
}

struct Ended {
  int code = 0;
  std::string output;
  std::string errors;
};

Ended RunToItsEnd(const std::vector<std::string>& arguments,
                  const std::vector<std::pair<std::string, std::string>>& environment = {}) {
  ChildProcess program(Command(arguments), environment);
  Ended ended;
  ended.output = program.Output();
  ended.errors = program.Errors();
  ended.code = program.Wait();
  return ended;
}

TEST(Program, PrintsOneReadyLineAndEndsCleanlyAtSigterm) {
  ChildProcess program(Command({"--listen=127.0.0.1:7,unix:/tmp/k.sock"}));
  EXPECT_EQ(program.OutputLine(),
            "listening on 127.0.0.1:7,unix:/tmp/k.sock metrics=127.0.0.1:9464 backend=cpu");
  program.Signal(SIGTERM);
  EXPECT_EQ(program.Output(), "");
  EXPECT_EQ(program.Wait(), 0);
}

TEST(Program, TellsTheServiceManagerWhenItServesAndWhenItsDrainBegins) {
  const NotifySocket manager(NotifySocket::Kind::kAbstract);
  ChildProcess program(Command({"--drain_timeout=1h", "--backend=cpu"}),
                       {{"NOTIFY_SOCKET", manager.name()}, {"SERVER_DOUBLE", "drains_never"}});
  EXPECT_EQ(manager.Receive(), "READY=1");
  EXPECT_THAT(program.OutputLine(), StartsWith("listening on "));
  EXPECT_FALSE(manager.HasMessage());
  program.Signal(SIGTERM);
  EXPECT_EQ(manager.Receive(), "STOPPING=1");
  program.Signal(SIGTERM);
  EXPECT_EQ(program.Wait(), 3);
  EXPECT_FALSE(manager.HasMessage());
}

TEST(Program, ServesWithoutTheServiceManagerThatItCannotTell) {
  ChildProcess program(Command({"--log_format=text", "--backend=cpu"}),
                       {{"NOTIFY_SOCKET", "/missing/socket"}});
  program.OutputLine();
  EXPECT_THAT(program.ErrorLine(), HasSubstr(" warning the service manager was not told"));
  program.Signal(SIGTERM);
  EXPECT_EQ(program.Wait(), 0);
}

TEST(Program, EndsCleanlyAtSigintToo) {
  ChildProcess program(Command({"--metrics_listen="}));
  EXPECT_EQ(program.OutputLine(), "listening on 127.0.0.1:50051 metrics=off backend=cpu");
  program.Signal(SIGINT);
  EXPECT_EQ(program.Wait(), 0);
}

TEST(Program, EndsWithThreeWhenTheDrainTimesOut) {
  ChildProcess program(Command({"--drain_timeout=50ms"}), {{"SERVER_DOUBLE", "drains_never"}});
  program.OutputLine();
  program.Signal(SIGTERM);
  EXPECT_THAT(program.Errors(), HasSubstr("--drain_timeout"));
  EXPECT_EQ(program.Wait(), 3);
}

TEST(Program, EndsWithThreeAtOnceAtASecondSignal) {
  ChildProcess program(Command({"--drain_timeout=1h", "--backend=cpu"}), {{"SERVER_DOUBLE", "drains_never"}});
  program.OutputLine();
  program.Signal(SIGTERM);
  EXPECT_THAT(program.ErrorLine(), HasSubstr("draining"));  // The first one has been received.
  program.Signal(SIGINT);
  EXPECT_EQ(program.Wait(), 3);
}

TEST(Program, EndsWithFourWhenItsDeviceIsLost) {
  ChildProcess program(Command({"--backend=cpu"}), {{"SERVER_DOUBLE", "loses_its_device"}});
  EXPECT_THAT(program.Errors(), HasSubstr("no device is left"));
  EXPECT_EQ(program.Wait(), 4);
}

// Whoever sees that it does not serve stops it, which must not cost the answers that it still holds.
TEST(Program, TakesASignalAfterTheLossOfItsDeviceForTheFirst) {
  ChildProcess program(Command({"--drain_timeout=1h", "--backend=cpu"}),
                       {{"SERVER_DOUBLE", "loses_its_device,drains_never"}});
  EXPECT_THAT(program.ErrorLine(), HasSubstr("no device is left"));
  EXPECT_EQ(program.ErrorLine(), "announced");
  EXPECT_EQ(program.ErrorLine(), "begun");
  program.Signal(SIGTERM);
  EXPECT_THAT(program.ErrorLine(), HasSubstr("draining already"));
  program.Signal(SIGTERM);
  EXPECT_THAT(program.ErrorLine(), HasSubstr("a second signal"));
  EXPECT_EQ(program.Wait(), 3);
}

TEST(Program, ServesOnForTheDrainDelayAfterSayingThatItDrains) {
  ChildProcess program(Command({"--drain_delay=1h", "--backend=cpu"}));
  program.OutputLine();
  program.Signal(SIGTERM);
  EXPECT_THAT(program.ErrorLine(), HasSubstr("draining"));
  EXPECT_EQ(program.ErrorLine(), "announced");
  program.Signal(SIGTERM);
  EXPECT_EQ(program.Wait(), 3);
  EXPECT_THAT(program.Errors(), ::testing::Not(HasSubstr("begun")));

  ChildProcess other(Command({"--drain_delay=1ms", "--backend=cpu"}));
  other.OutputLine();
  other.Signal(SIGTERM);
  EXPECT_THAT(other.Errors(), HasSubstr("announced\nbegun\n"));
  EXPECT_EQ(other.Wait(), 0);
}

TEST(Program, ChecksItsConfigurationWithoutServing) {
  const Ended good = RunToItsEnd({"--check_config", "--backend=cpu"}, {{"SERVER_DOUBLE", "starts_not"}});
  EXPECT_EQ(good.code, 0);
  EXPECT_EQ(good.output, "the configuration is valid\n");
  EXPECT_EQ(RunToItsEnd({"--check_config", "--colour=red"}).code, 2);
  EXPECT_EQ(RunToItsEnd({"--check_config", "--tls_cert=/missing", "--tls_key=/missing"}).code, 1);
}

TEST(Program, EndsWithThreeWhenAcceptedWorkWasLost) {
  ChildProcess program(Command({}), {{"SERVER_DOUBLE", "loses_work"}});
  program.OutputLine();
  program.Signal(SIGTERM);
  EXPECT_THAT(program.Errors(), HasSubstr("not answered"));
  EXPECT_EQ(program.Wait(), 3);
}

TEST(Program, EndsWithOneAndOneLineWhenItCannotStart) {
  for (const auto& [argument, told] : {std::pair{"--backend=cpu", "starts_not"}, {"--max_memory=1", ""}}) {
    const Ended ended = RunToItsEnd({"--backend=cpu", argument}, {{"SERVER_DOUBLE", told}});
    EXPECT_EQ(ended.code, 1);
    EXPECT_EQ(ended.output, "");
    EXPECT_THAT(ended.errors, StartsWith("kldiv-server: --"));
    EXPECT_EQ(std::count(ended.errors.begin(), ended.errors.end(), '\n'), 1);
  }
}

// Whether the build has CUDA, has it executed on the CPU, or has none.
TEST(Program, EndsWithOneWhenCudaAloneShallServeAndNoDeviceIsThere) {
  const Ended ended =
      RunToItsEnd({"--backend=cuda"}, {{"CUDA_VISIBLE_DEVICES", ""}, {"KLDIV_CUDA_HOST_DEVICES", "0"}});
  EXPECT_EQ(ended.code, 1);
  EXPECT_EQ(ended.output, "");
  EXPECT_THAT(ended.errors, HasSubstr("kldiv-server: --backend=cuda: "));
}

TEST(Program, EndsWithTwoAndOneLineAfterBadUsage) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"--colour=red"}, {"--max_queue_bytes=many"}, {"--read_timeout=5"}, {"--tls_cert=x"}, {"now"}}) {
    const Ended ended = RunToItsEnd(arguments);
    EXPECT_EQ(ended.code, 2) << arguments[0];
    EXPECT_EQ(ended.output, "");
    EXPECT_THAT(ended.errors, StartsWith("kldiv-server: "));
    EXPECT_EQ(std::count(ended.errors.begin(), ended.errors.end(), '\n'), 1);
  }
  EXPECT_EQ(RunToItsEnd({}, {{"KLDIV_CPU_THREADS", "many"}}).code, 2);
}

TEST(Program, ShowsItsFlagsAndItsVersion) {
  const Ended help = RunToItsEnd({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.output,
              AllOf(StartsWith("usage: kldiv-server"), HasSubstr("\nMemory and limits:\n  --max_memory")));
  EXPECT_THAT(help.errors, IsEmpty());
  const Ended version = RunToItsEnd({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.output, StartsWith(std::string("kldiv-server ") + base::kVersion + "\ncommit "));
  EXPECT_THAT(version.output, AllOf(HasSubstr(", gRPC 1."), HasSubstr("CUDA"), ::testing::EndsWith("\n")));
}

TEST(Program, WarnsOfUnknownVariablesInItsLog) {
  ChildProcess program(Command({"--log_format=text"}),
                       {{"KLDIV_COLOUR", "red"}, {"KLDIV_PORT", "tcp://10.0.0.1:1"}});
  program.OutputLine();
  program.Signal(SIGTERM);
  const std::string errors = program.Errors();
  EXPECT_THAT(errors, HasSubstr(" warning the environment variable KLDIV_COLOUR names no flag"));
  EXPECT_THAT(errors, Not(HasSubstr("KLDIV_PORT")));
  EXPECT_EQ(program.Wait(), 0);
}

}  // namespace
}  // namespace kldiv::server
