#include "server/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/reflection.h"
#include "server/base/command_line.h"
#include "server/base/flag_registry.h"
#include "server/flags.h"

namespace kldiv::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kGiB = 1 << 30;
constexpr Host kLargeHost{
    .memory_bytes = 64 * kGiB, .memory_limit_bytes = 0, .cpus = 32, .max_descriptors = 1 << 20};

class OptionsTest : public ::testing::Test {
 protected:
  static absl::StatusOr<ServerOptions> Options(std::vector<std::string> arguments,
                                               const Host& host = kLargeHost) {
    arguments.insert(arguments.begin(), "kldiv-server");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    const auto parsed = base::ParseCommandLine(static_cast<int>(argv.size()), argv.data());
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return OptionsFromFlags(host);
  }

 private:
  const absl::FlagSaver saver_;
};

std::vector<std::string> Names(const std::vector<ListenAddress>& addresses) {
  std::vector<std::string> names;
  for (const ListenAddress& address : addresses) names.push_back(address.ToString());
  return names;
}

TEST_F(OptionsTest, HaveTheContractsDefaults) {
  const auto options = Options({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(Names(options->listen), ElementsAre("127.0.0.1:50051"));
  ASSERT_TRUE(options->metrics_listen.has_value());
  EXPECT_EQ(options->metrics_listen->ToString(), "127.0.0.1:9464");
  EXPECT_EQ(options->cpu_threads, 32);
  EXPECT_EQ(options->polling_threads, 4);
  EXPECT_EQ(options->max_memory, 32 * kGiB);
  EXPECT_EQ(options->max_message_bytes, 64 * kMiB);
  EXPECT_EQ(options->max_queue_bytes, 256 * kMiB);
  EXPECT_EQ(options->max_batch_bytes, 32 * kMiB);
  EXPECT_EQ(options->max_connections, 4096);
  EXPECT_EQ(options->max_pairs_per_message, 65536);
  EXPECT_EQ(options->max_in_flight_per_stream, 256);
  EXPECT_EQ(options->read_timeout, std::chrono::seconds(30));
  EXPECT_EQ(options->write_timeout, std::chrono::seconds(30));
  EXPECT_EQ(options->drain_timeout, std::chrono::seconds(30));
  EXPECT_EQ(options->log_format, LogFormat::kAuto);
  EXPECT_THAT(options->warnings, IsEmpty());
  // (32 GiB - 256 MiB - 4096 * 64 KiB - 120 MiB) / 64 MiB
  EXPECT_EQ(options->read_grants, 502);
}

TEST_F(OptionsTest, StartUnderALimitOf512MiBWithAllDefaults) {
  const auto options = Options(
      {}, {.memory_bytes = 64 * kGiB, .memory_limit_bytes = 512 * kMiB, .cpus = 2, .max_descriptors = 1024});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->max_memory, 384 * kMiB);
  EXPECT_EQ(options->max_queue_bytes, 96 * kMiB);
  EXPECT_EQ(options->max_connections, 768);
  EXPECT_EQ(options->read_grants, 1);
  EXPECT_EQ(options->polling_threads, 1);
}

TEST_F(OptionsTest, TakeHalfOfTheHostWhenTheLimitIsBeyondIt) {
  const auto options = Options(
      {}, {.memory_bytes = 4 * kGiB, .memory_limit_bytes = 8 * kGiB, .cpus = 1, .max_descriptors = 10'000});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->max_memory, 2 * kGiB);
}

TEST_F(OptionsTest, GiveOutWhatMemoryIsLeftAsReadGrants) {
  const auto options = Options({"--max_memory=640MiB", "--max_connections=512"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->max_queue_bytes, 160 * kMiB);
  EXPECT_EQ(options->read_grants, 5);  // (640 - 160 - 32 - 120) / 64
}

TEST_F(OptionsTest, NeedRoomForOneMessageToTheByte) {
  const std::vector<std::string> fixed = {"--max_queue_bytes=10MiB", "--max_connections=16",
                                          "--max_message_bytes=20MiB"};
  auto with_memory = [&](int64_t bytes) {
    std::vector<std::string> arguments = fixed;
    arguments.push_back("--max_memory=" + std::to_string(bytes));
    return Options(arguments);
  };
  const auto enough = with_memory(151 * kMiB);  // 10 + 1 + 120 + 20
  ASSERT_TRUE(enough.ok()) << enough.status();
  EXPECT_EQ(enough->read_grants, 1);

  const absl::Status short_by_one = with_memory(151 * kMiB - 1).status();
  EXPECT_EQ(short_by_one.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(short_by_one.message(),
            "--max_memory=158334975 leaves no room to read one message: --max_queue_bytes takes 10MiB, 16 "
            "connections "
            "(--max_connections) take 1MiB, the process 120MiB, and --max_message_bytes is 20MiB; at least "
            "151MiB are "
            "needed");
}

TEST_F(OptionsTest, FailToStartWhenTheQueueAloneIsTooLarge) {
  EXPECT_EQ(Options({"--max_memory=1GiB", "--max_queue_bytes=2GiB"}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(OptionsTest, FitConnectionsUnderTheLimitOfOpenFilesAndSayWhenThatCutsThem) {
  Host host = kLargeHost;
  host.max_descriptors = 1024;
  const auto by_default = Options({}, host);
  ASSERT_TRUE(by_default.ok());
  EXPECT_EQ(by_default->max_connections, 960);
  const auto asked = Options({"--max_connections=2000"}, host);
  ASSERT_TRUE(asked.ok());
  EXPECT_EQ(asked->max_connections, 960);
  EXPECT_THAT(asked->warnings,
              ElementsAre(StartsWith("--max_connections=2000 is more than the limit of 1024")));
}

TEST_F(OptionsTest, TakeSeveralAddressesOfBothKinds) {
  const auto options = Options({"--listen=0.0.0.0:1,[::1]:0,unix:/run/k.sock", "--metrics_listen="});
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(Names(options->listen), ElementsAre("0.0.0.0:1", "[::1]:0", "unix:/run/k.sock"));
  EXPECT_FALSE(options->metrics_listen.has_value());
}

TEST_F(OptionsTest, TakeBothBackendsThatThisBuildHas) {
  EXPECT_TRUE(Options({"--backend=auto"}).ok());
  EXPECT_TRUE(Options({"--backend=cpu"}).ok());
}

TEST_F(OptionsTest, CannotStartWithCudaInABuildWithoutIt) {
  const absl::Status status = Options({"--backend=cuda"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "--backend=cuda: this build has no CUDA");
}

// Machines with CUDA; the second and the third device of four do not work.
absl::StatusOr<cuda::FoundDevices> FindOnFour(const std::optional<std::vector<int>>& numbers) {
  cuda::FoundDevices found;
  for (const int number : numbers.value_or(std::vector<int>{0, 1, 2, 3})) {
    if (number == 0 || number == 3) {
      found.devices.push_back({number, "cuda:" + std::to_string(number)});
    } else {
      found.warnings.push_back("cuda:" + std::to_string(number) +
                               ": cudaSetDevice: cudaErrorDevicesUnavailable");
    }
  }
  if (found.devices.empty()) return absl::UnavailableError(found.warnings.at(0));
  return found;
}
absl::StatusOr<cuda::FoundDevices> FindWithoutDriver(const std::optional<std::vector<int>>& /*numbers*/) {
  return absl::UnavailableError("cudaGetDeviceCount: cudaErrorInsufficientDriver (35)");
}
Host HostWith(decltype(Host::find_cuda_devices) find) {
  Host host = kLargeHost;
  host.find_cuda_devices = find;
  return host;
}

TEST_F(OptionsTest, ServeWithEveryCudaDeviceThatWorks) {
  const auto options = Options({}, HostWith(FindOnFour));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->backend, Backend::kAuto);
  ASSERT_EQ(options->cuda_devices.size(), 2);
  EXPECT_EQ(options->cuda_devices[1].name, "cuda:3");
  EXPECT_EQ(options->cuda_lanes, 3);
  EXPECT_EQ(options->cuda_min_batch_elements, 65536);
  EXPECT_THAT(options->warnings,
              ElementsAre(StartsWith("a CUDA device does not serve: cuda:1"), HasSubstr("cuda:2")));
}

TEST_F(OptionsTest, ServeWithTheCudaDevicesThatAreNamed) {
  const auto options =
      Options({"--cuda_devices=3,0", "--backend=cuda", "--cuda_lanes=1"}, HostWith(FindOnFour));
  ASSERT_TRUE(options.ok()) << options.status();
  ASSERT_EQ(options->cuda_devices.size(), 2);
  EXPECT_EQ(options->cuda_devices[0].number, 3);
  EXPECT_THAT(options->warnings, IsEmpty());
}

TEST_F(OptionsTest, LookForNoCudaDeviceWithTheCpuBackend) {
  const auto options = Options({"--backend=cpu"}, HostWith(FindOnFour));
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(options->cuda_devices, IsEmpty());
  EXPECT_THAT(options->warnings, IsEmpty());
}

TEST_F(OptionsTest, ServeWithTheCpuWhereNoCudaDeviceWorksAndSayWhy) {
  const auto options = Options({}, HostWith(FindWithoutDriver));
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(options->cuda_devices, IsEmpty());
  EXPECT_THAT(options->warnings,
              ElementsAre("no CUDA device serves: cudaGetDeviceCount: cudaErrorInsufficientDriver (35)"));
}

TEST_F(OptionsTest, CannotStartWithCudaWithoutTheDevicesThatItAsksFor) {
  const absl::Status none = Options({"--backend=cuda"}, HostWith(FindWithoutDriver)).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(none.message(), "--backend=cuda: cudaGetDeviceCount: cudaErrorInsufficientDriver (35)");
  const absl::Status one = Options({"--backend=cuda", "--cuda_devices=0,1"}, HostWith(FindOnFour)).status();
  EXPECT_EQ(one.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(one.message(), "--cuda_devices: cuda:1: cudaSetDevice: cudaErrorDevicesUnavailable");
  EXPECT_TRUE(Options({"--backend=cuda", "--cuda_devices=all"}, HostWith(FindOnFour)).ok());
}

TEST_F(OptionsTest, RefuseBadCudaValues) {
  const std::pair<std::string, std::string> table[] = {
      {"--cuda_devices=", "--cuda_devices=: must be all, or different numbers"},
      {"--cuda_devices=0,0", "--cuda_devices=0,0: must be all, or different numbers"},
      {"--cuda_devices=-1", "--cuda_devices=-1: must be all, or different numbers"},
      {"--cuda_lanes=0", "--cuda_lanes=0: must be from 1 to 64"},
      {"--cuda_min_batch_elements=-1", "--cuda_min_batch_elements=-1: must be from 0"},
  };
  for (const auto& [argument, message] : table) {
    const absl::FlagSaver saver;
    const absl::Status status = Options({argument}, HostWith(FindOnFour)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << argument;
    EXPECT_THAT(std::string(status.message()), StartsWith(message)) << argument;
  }
}

TEST_F(OptionsTest, RefuseBadValuesNamingTheFlagAndTheValue) {
  const std::pair<std::string, std::string> table[] = {
      {"--listen=", "--listen: \"\": expected HOST:PORT"},
      {"--listen=a:1,", "--listen: \"\": expected HOST:PORT"},
      {"--listen=localhost", "--listen: \"localhost\": expected HOST:PORT"},
      {"--metrics_listen=9464", "--metrics_listen: \"9464\": expected HOST:PORT"},
      {"--metrics_listen=unix:/m.sock", "--metrics_listen=unix:/m.sock: expected HOST:PORT"},
      {"--backend=tpu", "--backend=tpu: must be auto, cpu or cuda"},
      {"--cpu_threads=-1", "--cpu_threads=-1: must be from 0 to 1024"},
      {"--polling_threads=1025", "--polling_threads=1025: must be from 0 to 1024"},
      {"--max_memory=2000000GiB", "--max_memory=2000000GiB: must be from 0 to 1048576GiB"},
      {"--max_message_bytes=0", "--max_message_bytes=0: must be from 1 to 2147483647"},
      {"--max_message_bytes=2GiB", "--max_message_bytes=2GiB: must be from 1 to 2147483647"},
      {"--max_queue_bytes=2000000GiB", "--max_queue_bytes=2000000GiB: must be from 0"},
      {"--max_batch_bytes=0", "--max_batch_bytes=0: must be from 1"},
      {"--max_connections=-1", "--max_connections=-1: must be from 0"},
      {"--max_pairs_per_message=0", "--max_pairs_per_message=0: must be from 1"},
      {"--max_in_flight_per_stream=0", "--max_in_flight_per_stream=0: must be from 1"},
      {"--read_timeout=0s", "--read_timeout=0: must be from 1ms to 24h"},
      {"--read_timeout=-1s", "--read_timeout=-1s: must be from 1ms to 24h"},
      {"--write_timeout=inf", "--write_timeout=inf: must be from 1ms to 24h"},
      {"--drain_timeout=-1ms", "--drain_timeout=-1ms: must be from 0 to 24h"},
      {"--drain_delay=-1ms", "--drain_delay=-1ms: must be from 0 to 24h"},
      {"--max_connection_age=-1s", "--max_connection_age=-1s: must be from 0 to 24h"},
      {"--health_listen=here", "--health_listen: "},
      {"--log_format=xml", "--log_format: \"xml\" is not one of auto, text, json"},
  };
  for (const auto& [argument, message] : table) {
    const absl::FlagSaver saver;
    const absl::Status status = Options({argument}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << argument;
    EXPECT_THAT(std::string(status.message()), StartsWith(message)) << argument;
  }
}

TEST_F(OptionsTest, TakeTheLargestMessageThatGrpcCanCount) {
  const auto options = Options({"--max_message_bytes=2147483647"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->max_message_bytes, 2147483647);
}

TEST_F(OptionsTest, RefuseCudaFlagsUnlessAtTheirDefaultsInABuildWithoutCuda) {
  const std::pair<std::string, std::string> table[] = {
      {"--cuda_devices=0", "--cuda_devices=0: this build has no CUDA"},
      {"--cuda_lanes=2", "--cuda_lanes=2: this build has no CUDA"},
      {"--cuda_min_batch_elements=1", "--cuda_min_batch_elements=1: this build has no CUDA"},
  };
  for (const auto& [argument, message] : table) {
    const absl::FlagSaver saver;
    const absl::Status status = Options({argument}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << argument;
    EXPECT_THAT(std::string(status.message()), StartsWith(message)) << argument;
  }
  EXPECT_TRUE(Options({"--cuda_lanes=3", "--cuda_devices=all"}).ok());
}

TEST_F(OptionsTest, AreAllShownUnderAHeading) {
  std::set<std::string> grouped;
  for (const base::FlagGroup& group : ServerFlagGroups()) {
    for (const std::string_view flag : group.flags)
      EXPECT_TRUE(grouped.insert(std::string(flag)).second) << flag;
  }
  std::set<std::string> all;
  for (const auto& [name, flag] : base::ProgramFlags()) all.insert(name);
  EXPECT_EQ(grouped, all);
  EXPECT_THAT(base::HelpText("usage", ServerFlagGroups()), Not(HasSubstr("Other flags")));
}

}  // namespace
}  // namespace kldiv::server
