#include "proto/wire/decode.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/wire/fields.h"
#include "proto/wire/reader.h"
#include "proto/wire/validate.h"

namespace kldiv::wire {
namespace {

// A message of 65,536 pairs keeps one for each.
static_assert(sizeof(PairRequest) <= 168);

constexpr uint32_t kRequestsTag = Tag(1, WireType::kLengthDelimited);

absl::Status Undecodable(const char* message, const Reader& reader) {
  return absl::InvalidArgumentError(absl::StrCat(message, " cannot be decoded ", reader.Error()));
}

absl::Status CheckSize(const char* message, const Reader& reader) {
  if (reader.left() <= Reader::kMaxMessageBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(message, " has ", reader.left(), " bytes, expected at most ", Reader::kMaxMessageBytes));
}

// Without looking into the pairs: what decoding them takes is not for messages that have too many. False,
// too, when the bytes cannot be decoded.
bool HasMorePairsThan(int64_t max_pairs, Reader reader) {
  int64_t pairs = 0;
  uint32_t tag;
  while (!reader.AtEnd() && reader.ReadTag(&tag)) {
    if (tag == kRequestsTag && ++pairs > max_pairs) return true;
    if (!reader.SkipField(tag)) return false;
  }
  return false;
}

// Reads one pair, whose length comes next. False when the bytes cannot be decoded.
bool ReadPair(Reader& reader, int64_t max_pairs, std::vector<PairRequest>& pairs) {
  size_t length;
  if (!reader.ReadLength(&length)) return false;
  const size_t outer = reader.Enter(length);
  // Pairs of one message are mostly alike: one allocation serves them all, in proportion to bytes that came.
  if (pairs.empty()) {
    pairs.reserve(std::min(static_cast<size_t>(max_pairs), 1 + outer / (length + 2)));
  }
  RequestFields fields;
  if (!ReadRequest(reader, fields)) return false;
  reader.Leave(outer);
  Validate(fields, pairs.emplace_back());
  return true;
}

}  // namespace

absl::StatusOr<PairRequest> DecodeEvaluateRequest(std::span<const Slice> slices) {
  constexpr char kMessage[] = "EvaluateRequest";
  Reader reader(slices);
  if (auto status = CheckSize(kMessage, reader); !status.ok()) return status;
  RequestFields fields;
  if (!ReadRequest(reader, fields)) return Undecodable(kMessage, reader);
  absl::StatusOr<PairRequest> pair(absl::in_place);
  Validate(fields, *pair);
  return pair;
}

absl::StatusOr<std::vector<PairRequest>> DecodeEvaluateBatchRequest(std::span<const Slice> slices,
                                                                    int64_t max_pairs) {
  constexpr char kMessage[] = "EvaluateBatchRequest";
  Reader reader(slices);
  if (auto status = CheckSize(kMessage, reader); !status.ok()) return status;
  if (HasMorePairsThan(max_pairs, reader)) {
    return absl::InvalidArgumentError(
        absl::StrCat("requests has over ", max_pairs, " pairs, expected at most ", max_pairs));
  }
  absl::StatusOr<std::vector<PairRequest>> pairs(absl::in_place);
  uint32_t unknown_tag = 0;
  while (!reader.AtEnd()) {
    uint32_t tag;
    if (!reader.ReadTag(&tag)) return Undecodable(kMessage, reader);
    if (tag == kRequestsTag) {
      if (!ReadPair(reader, max_pairs, *pairs)) return Undecodable(kMessage, reader);
    } else if (!SkipUnknown(reader, tag, &unknown_tag)) {
      return Undecodable(kMessage, reader);
    }
  }
  if (unknown_tag != 0) return absl::InvalidArgumentError(UnknownFieldText(unknown_tag, kMessage));
  return pairs;
}

absl::Status DecodeGetServerInfoRequest(std::span<const Slice> slices) {
  constexpr char kMessage[] = "GetServerInfoRequest";
  Reader reader(slices);
  if (auto status = CheckSize(kMessage, reader); !status.ok()) return status;
  while (!reader.AtEnd()) {
    uint32_t tag;
    if (!reader.ReadTag(&tag) || !reader.SkipField(tag)) return Undecodable(kMessage, reader);
  }
  return absl::OkStatus();
}

}  // namespace kldiv::wire
