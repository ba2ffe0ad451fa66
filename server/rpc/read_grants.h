#ifndef KLDIV_SERVER_RPC_READ_GRANTS_H_
#define KLDIV_SERVER_RPC_READ_GRANTS_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

namespace kldiv::server {

enum class ReaderKind : uint8_t {
  kCall,
  kStream,  // may say nothing for long: it is timed out only when others wait
  kProbe,
};

// Who may read a message now. gRPC tells no size before the body is read and buffers all of it, so every read
// under way may cost a message of the largest size: the number of grants bounds what that adds up to.
//
// A client is who its readers say they belong to. It holds at most half of the grants, but may always hold
// one. Those who wait are served in this order, clients taking turns within each group: connections that are
// new or whose last message was small; connections whose last message was large; streams. Streams hold at
// most half of the grants together, and leave their client one for its other calls where its share allows.
//
// A probe of health is a call like any other, except that a drain does not turn it away.
//
// Policy only: no thread, no lock, no clock. Peers are asked for their names only when grants are scarce.
class ReadGrants {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

 private:
  enum class Group : uint8_t { kSmall, kLarge, kStream };
  static constexpr int kGroups = 3;
  struct Client;

 public:
  // Somebody who wants to read, again and again if need be. Outlives its parking and its holding.
  class Reader {
   public:
    explicit Reader(ReaderKind kind) : kind_(kind) {}
    virtual ~Reader() = default;
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // "ipv4:10.0.0.1:5000", "unix:". Any thread.
    virtual std::string Connection() const = 0;
    // The name of its client. Any thread.
    virtual std::string ClientName() const = 0;

   private:
    friend class ReadGrants;
    enum class State : uint8_t { kIdle, kParked, kHolding };

    bool is_stream() const { return kind_ == ReaderKind::kStream; }

    const ReaderKind kind_;
    State state_ = State::kIdle;
    Group group_ = Group::kSmall;  // while parked
    int strikes_ = 0;              // how often it has been timed out since its grant
    TimePoint since_;              // its grant
    std::string connection_;       // empty until it was needed
    std::string client_name_;      // likewise
    Client* client_ = nullptr;     // null until it was needed; only while parked or holding
    Reader* previous_ = nullptr;   // among the holders, or in its client's queue
    Reader* next_ = nullptr;
  };

  // What there is at this moment.
  struct Usage {
    int total = 0;
    int held = 0;
    int parked = 0;
  };

  // `total` grants, at least 1, for reads that should take no longer than `timeout`; those of probes, whose
  // messages are short, no longer than 2 s.
  ReadGrants(int total, std::chrono::milliseconds timeout);
  ~ReadGrants();  // Nobody is parked or holds a grant.

  ReadGrants(const ReadGrants&) = delete;
  ReadGrants& operator=(const ReadGrants&) = delete;

  // True: the idle reader holds a grant now. False: there is none for it, nothing has changed.
  bool Take(Reader& reader, TimePoint now);

  // Lets the idle reader wait, after Take has failed, until a Release grants it or Forget ends it.
  void Park(Reader& reader);

  // Gives the reader's grant back, if it holds one. Appends to `granted` those parked that hold one from now
  // on.
  void Release(Reader& reader, TimePoint now, std::vector<Reader*>& granted);

  // True: the reader was parked and is idle now.
  bool Forget(Reader& reader);

  // All of kind kCall that are parked become idle; they are answered.
  std::vector<Reader*> ForgetParkedCalls();

  // How many readers of the reader's client are parked.
  int ParkedBySame(Reader& reader);

  // A holder whose read takes too long. `strikes`: how often this reader has been named for this grant,
  // from 1.
  struct Late {
    Reader* reader;
    int strikes;
  };
  // Holders whose time is up: once after `timeout`, again after each further one. Streams only when somebody
  // waits who could use their grant.
  void Expire(TimePoint now, std::vector<Late>& late);

  // The reader's connection has sent a message of this size, or would have: it tells what it will send next.
  void NoteSize(Reader& reader, int64_t bytes);
  // Size of the last message of a connection as far as it is known to be large, else 0.
  int64_t LastSize(const std::string& connection) const;
  bool KnowsLargeConnections() const { return !large_.empty(); }

  Usage usage() const;

 private:
  struct Queue {  // of readers, first in first out
    Reader* first = nullptr;
    Reader* last = nullptr;
    void Append(Reader& reader);
    void Remove(Reader& reader);
  };
  struct Client {
    std::string name;
    int held = 0;
    int held_by_streams = 0;
    int parked = 0;
    std::array<Queue, kGroups> waiting;
    std::array<std::list<Client*>::iterator, kGroups> turn;  // while somebody waits
  };

  void Grant(Reader& reader, TimePoint now);
  void Unpark(Reader& reader);
  bool Fits(const Client& client, bool is_stream) const;
  Reader* NextToGrant();
  bool SomebodyCouldUse(const Reader& holder) const;
  void Identify(Reader& reader);
  void IdentifyHolders();
  void DropIfUnused(Client& client);
  const std::string& ConnectionOf(Reader& reader);
  const std::string& ClientNameOf(Reader& reader);

  const int total_;
  const int share_;           // of one client
  const int reserve_;         // the last ones, for clients that hold none
  const int streams_;         // of all streams
  const int client_streams_;  // of one client's streams
  const std::chrono::milliseconds timeout_;

  Queue holders_;  // the oldest grant first
  int held_ = 0;
  int held_by_streams_ = 0;
  int unidentified_ = 0;  // holders without a client
  int parked_ = 0;
  std::unordered_map<std::string, Client> clients_;  // those that hold or wait, as far as identified
  std::array<std::list<Client*>, kGroups> turns_;    // clients with waiting readers; the next one first
  std::unordered_map<std::string, int64_t> large_;   // connections whose last message was large
};

}  // namespace kldiv::server

#endif  // KLDIV_SERVER_RPC_READ_GRANTS_H_
