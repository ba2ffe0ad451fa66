#include "server/rpc/read_grants.h"

#include <algorithm>
#include <cassert>

#include "server/batching/admission.h"

namespace kldiv::server {
namespace {

// Connections that are remembered for their large messages. Beyond it all are forgotten: they are then taken
// for new ones, once each.
constexpr size_t kMaxRemembered = 10'000;

constexpr std::chrono::milliseconds kProbeTimeout(2000);

// Not over a Unix-domain socket: those connections cannot be told apart.
bool NamesOneConnection(const std::string& connection) { return connection.starts_with("ip"); }

}  // namespace

void ReadGrants::Queue::Append(Reader& reader) {
  reader.previous_ = last;
  reader.next_ = nullptr;
  (last != nullptr ? last->next_ : first) = &reader;
  last = &reader;
}

void ReadGrants::Queue::Remove(Reader& reader) {
  (reader.previous_ != nullptr ? reader.previous_->next_ : first) = reader.next_;
  (reader.next_ != nullptr ? reader.next_->previous_ : last) = reader.previous_;
}

ReadGrants::ReadGrants(int total, std::chrono::milliseconds timeout)
    : total_(total),
      share_(std::max(1, total / 2)),
      reserve_(total / 8),
      streams_(std::max(1, total / 2)),
      client_streams_(std::max(1, share_ - 1)),
      timeout_(timeout) {
  assert(total >= 1);
}

ReadGrants::~ReadGrants() { assert(held_ == 0 && parked_ == 0); }

bool ReadGrants::Take(Reader& reader, TimePoint now) {
  assert(reader.state_ == Reader::State::kIdle);
  // While fewer are held than one client may hold, nobody's name matters.
  const bool plenty = parked_ == 0 && held_ < (reader.is_stream() ? client_streams_ : share_);
  if (!plenty) {
    if (held_ == total_ || (reader.is_stream() && held_by_streams_ == streams_)) return false;
    IdentifyHolders();
    Identify(reader);
    // Those who are parked cannot use what is free, or they would have it: nobody is overtaken.
    if (!Fits(*reader.client_, reader.is_stream())) {
      DropIfUnused(*reader.client_);
      reader.client_ = nullptr;
      return false;
    }
  }
  Grant(reader, now);
  return true;
}

void ReadGrants::Grant(Reader& reader, TimePoint now) {
  reader.state_ = Reader::State::kHolding;
  reader.since_ = now;
  reader.strikes_ = 0;
  holders_.Append(reader);
  ++held_;
  held_by_streams_ += reader.is_stream();
  if (reader.client_ == nullptr) {
    ++unidentified_;
  } else {
    ++reader.client_->held;
    reader.client_->held_by_streams += reader.is_stream();
  }
}

void ReadGrants::Park(Reader& reader) {
  assert(reader.state_ == Reader::State::kIdle);
  IdentifyHolders();
  Identify(reader);
  reader.group_ = reader.is_stream()                                    ? Group::kStream
                  : LastSize(ConnectionOf(reader)) > kSmallMessageBytes ? Group::kLarge
                                                                        : Group::kSmall;
  reader.state_ = Reader::State::kParked;
  const auto group = static_cast<size_t>(reader.group_);
  Client& client = *reader.client_;
  if (client.waiting[group].first == nullptr)
    client.turn[group] = turns_[group].insert(turns_[group].end(), &client);
  client.waiting[group].Append(reader);
  ++client.parked;
  ++parked_;
}

// Leaves it idle, with its client.
void ReadGrants::Unpark(Reader& reader) {
  const auto group = static_cast<size_t>(reader.group_);
  Client& client = *reader.client_;
  client.waiting[group].Remove(reader);
  if (client.waiting[group].first == nullptr) turns_[group].erase(client.turn[group]);
  reader.state_ = Reader::State::kIdle;
  --client.parked;
  --parked_;
}

void ReadGrants::Release(Reader& reader, TimePoint now, std::vector<Reader*>& granted) {
  if (reader.state_ != Reader::State::kHolding) return;
  reader.state_ = Reader::State::kIdle;
  holders_.Remove(reader);
  --held_;
  held_by_streams_ -= reader.is_stream();
  if (reader.client_ == nullptr) {
    --unidentified_;
  } else {
    --reader.client_->held;
    reader.client_->held_by_streams -= reader.is_stream();
    DropIfUnused(*reader.client_);
    reader.client_ = nullptr;
  }
  while (Reader* next = parked_ > 0 ? NextToGrant() : nullptr) {
    Unpark(*next);
    Grant(*next, now);
    granted.push_back(next);
  }
}

// The parked reader whose turn it is among those that fit. At most two or three clients have used up their
// share, so that few are passed over.
ReadGrants::Reader* ReadGrants::NextToGrant() {
  if (held_ == total_) return nullptr;
  for (int group = 0; group < kGroups; ++group) {
    const bool is_stream = group == static_cast<int>(Group::kStream);
    if (is_stream && held_by_streams_ == streams_) continue;
    std::list<Client*>& turns = turns_[group];
    for (auto turn = turns.begin(); turn != turns.end(); ++turn) {
      if (!Fits(**turn, is_stream)) continue;
      turns.splice(turns.end(), turns, turn);
      return turns.back()->waiting[group].first;
    }
  }
  return nullptr;
}

bool ReadGrants::Fits(const Client& client, bool is_stream) const {
  if (held_ >= total_ || client.held >= share_) return false;
  if (client.held > 0 && total_ - held_ <= reserve_) return false;
  return !is_stream || (held_by_streams_ < streams_ && client.held_by_streams < client_streams_);
}

bool ReadGrants::Forget(Reader& reader) {
  if (reader.state_ != Reader::State::kParked) return false;
  Unpark(reader);
  DropIfUnused(*reader.client_);
  reader.client_ = nullptr;
  return true;
}

std::vector<ReadGrants::Reader*> ReadGrants::ForgetParkedCalls() {
  std::vector<Reader*> parked;
  for (const Group group : {Group::kSmall, Group::kLarge}) {
    for (const Client* client : turns_[static_cast<size_t>(group)]) {
      for (Reader* r = client->waiting[static_cast<size_t>(group)].first; r != nullptr; r = r->next_) {
        if (r->kind_ == ReaderKind::kCall) parked.push_back(r);
      }
    }
  }
  for (Reader* reader : parked) Forget(*reader);
  return parked;
}

int ReadGrants::ParkedBySame(Reader& reader) {
  const auto client = clients_.find(ClientNameOf(reader));
  return client == clients_.end() ? 0 : client->second.parked;
}

void ReadGrants::Expire(TimePoint now, std::vector<Late>& late) {
  const std::chrono::milliseconds probe_timeout = std::min(timeout_, kProbeTimeout);
  for (Reader* reader = holders_.first; reader != nullptr; reader = reader->next_) {
    if (now - reader->since_ < probe_timeout) return;  // The rest has been granted later.
    const std::chrono::milliseconds timeout = reader->kind_ == ReaderKind::kProbe ? probe_timeout : timeout_;
    if (now - reader->since_ < timeout * (reader->strikes_ + 1)) continue;
    if (reader->is_stream() && !SomebodyCouldUse(*reader)) continue;
    late.push_back({reader, ++reader->strikes_});
  }
}

// Is somebody parked who would fit if `holder` gave its grant back?
bool ReadGrants::SomebodyCouldUse(const Reader& holder) const {
  for (int group = 0; group < kGroups; ++group) {
    const bool is_stream = group == static_cast<int>(Group::kStream);
    if (is_stream && held_by_streams_ - holder.is_stream() >= streams_) continue;
    for (const Client* client : turns_[group]) {
      const bool same = client == holder.client_;  // Holders have clients while anybody is parked.
      if (client->held - same >= share_) continue;
      if (client->held - same > 0 && total_ - held_ + 1 <= reserve_) continue;
      if (is_stream && client->held_by_streams - (same && holder.is_stream()) >= client_streams_) continue;
      return true;
    }
  }
  return false;
}

void ReadGrants::Identify(Reader& reader) {
  if (reader.client_ != nullptr) return;
  const std::string& name = ClientNameOf(reader);
  const auto [entry, is_new] = clients_.try_emplace(name);
  if (is_new) entry->second.name = name;
  reader.client_ = &entry->second;
}

void ReadGrants::IdentifyHolders() {
  for (Reader* holder = holders_.first; unidentified_ > 0 && holder != nullptr; holder = holder->next_) {
    if (holder->client_ != nullptr) continue;
    Identify(*holder);
    ++holder->client_->held;
    holder->client_->held_by_streams += holder->is_stream();
    --unidentified_;
  }
}

void ReadGrants::DropIfUnused(Client& client) {
  const bool waits =
      std::ranges::any_of(client.waiting, [](const Queue& queue) { return queue.first != nullptr; });
  if (client.held == 0 && !waits) clients_.erase(clients_.find(client.name));
}

const std::string& ReadGrants::ConnectionOf(Reader& reader) {
  if (reader.connection_.empty()) reader.connection_ = reader.Connection();
  return reader.connection_;
}

const std::string& ReadGrants::ClientNameOf(Reader& reader) {
  if (reader.client_name_.empty()) reader.client_name_ = reader.ClientName();
  return reader.client_name_;
}

void ReadGrants::NoteSize(Reader& reader, int64_t bytes) {
  const bool large = bytes > kSmallMessageBytes;
  // A connection that is large no more is noticed when its name had to be known anyway.
  if (!large && (large_.empty() || reader.connection_.empty())) return;
  const std::string& connection = ConnectionOf(reader);
  if (!NamesOneConnection(connection)) return;
  if (!large) {
    large_.erase(connection);
    return;
  }
  if (large_.size() >= kMaxRemembered) large_.clear();
  large_[connection] = bytes;
}

int64_t ReadGrants::LastSize(const std::string& connection) const {
  if (large_.empty()) return 0;
  const auto entry = large_.find(connection);
  return entry == large_.end() ? 0 : entry->second;
}

ReadGrants::Usage ReadGrants::usage() const { return {total_, held_, parked_}; }

}  // namespace kldiv::server
