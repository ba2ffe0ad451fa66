// A program outside the project: prints the loss of a pair, from the server that is named.
#include <kldiv/client.h>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto client = kldiv::Client::Create({.server = argv[1]});
  if (!client.ok()) return 2;
  const float input[] = {-1.6F, -1.2F, -0.7F, -0.5F, -1.2F, -2.3F};
  const float target[] = {0.1F, 0.4F, 0.5F, 0.7F, 0.2F, 0.1F};
  const int64_t shape[] = {2, 3};
  kldiv::Pair pair = {.input = {input, shape}, .target = {target, shape}};
  pair.reduction = kldiv::Reduction::kBatchMean;
  const absl::StatusOr<kldiv::Evaluation> answer = (*client)->Evaluate(pair);
  if (!answer.ok()) {
    std::printf("%s\n", answer.status().ToString().c_str());
    return 1;
  }
  std::printf("%.17g\n", answer->loss.value());
  return 0;
}
