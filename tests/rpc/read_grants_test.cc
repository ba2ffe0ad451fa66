#include "server/rpc/read_grants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "server/batching/admission.h"
#include "server/rpc/caller.h"

namespace kldiv::server {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using TimePoint = ReadGrants::TimePoint;

constexpr milliseconds kTimeout{1000};

class TestReader final : public ReadGrants::Reader {
 public:
  TestReader(std::string connection, ReaderKind kind) : Reader(kind), connection_(std::move(connection)) {}
  std::string Connection() const override {
    ++asked_;
    return connection_;
  }
  std::string ClientName() const override { return PeerAddress(connection_); }
  int asked() const { return asked_; }

 private:
  const std::string connection_;
  mutable int asked_ = 0;
};

class ReadGrantsTest : public ::testing::Test {
 protected:
  void Make(int total) { grants_.emplace(total, kTimeout); }

  TestReader& Call(const std::string& connection) {
    return readers_.emplace_back(connection, ReaderKind::kCall);
  }
  TestReader& Stream(const std::string& connection) {
    return readers_.emplace_back(connection, ReaderKind::kStream);
  }

  TestReader& Probe(const std::string& connection) {
    return readers_.emplace_back(connection, ReaderKind::kProbe);
  }

  // True: it was granted; else it is parked.
  bool Ask(TestReader& reader) {
    if (grants_->Take(reader, now_)) {
      holders_.push_back(&reader);
      return true;
    }
    grants_->Park(reader);
    return false;
  }

  // Who is granted by it.
  std::vector<ReadGrants::Reader*> Release(TestReader& reader) {
    std::erase(holders_, &reader);
    std::vector<ReadGrants::Reader*> granted;
    grants_->Release(reader, now_, granted);
    for (auto* r : granted) holders_.push_back(static_cast<TestReader*>(r));
    return granted;
  }

  std::vector<ReadGrants::Reader*> Late() {
    std::vector<ReadGrants::Late> late;
    grants_->Expire(now_, late);
    std::vector<ReadGrants::Reader*> readers;
    for (const auto& entry : late) readers.push_back(entry.reader);
    return readers;
  }

  void TearDown() override {
    for (TestReader& reader : readers_) grants_->Forget(reader);
    while (!holders_.empty()) Release(*holders_.back());
    EXPECT_EQ(grants_->usage().held, 0);
    EXPECT_EQ(grants_->usage().parked, 0);
  }

  TimePoint now_{std::chrono::hours(1)};
  std::optional<ReadGrants> grants_;
  std::deque<TestReader> readers_;
  std::vector<TestReader*> holders_;
};

TEST_F(ReadGrantsTest, AskNobodysNameWhileGrantsArePlenty) {
  Make(8);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Ask(Call("ipv4:10.0.0.1:1")));
  for (const TestReader& reader : readers_) EXPECT_EQ(reader.asked(), 0);
}

TEST_F(ReadGrantsTest, GiveOneClientHalfOfThemWhateverItsPorts) {
  Make(4);
  EXPECT_TRUE(Ask(Call("ipv4:10.0.0.1:1")));
  EXPECT_TRUE(Ask(Call("ipv4:10.0.0.1:2")));
  EXPECT_FALSE(Ask(Call("ipv4:10.0.0.1:3")));
  EXPECT_TRUE(Ask(Call("ipv4:10.0.0.2:1")));
  EXPECT_TRUE(Ask(Call("ipv6:%5B::1%5D:1")));
  EXPECT_FALSE(Ask(Call("ipv4:10.0.0.3:1")));  // all are taken
}

TEST_F(ReadGrantsTest, KeepTheLastOnesForClientsThatHoldNone) {
  Make(16);  // an eighth is two
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(Ask(Call("ipv4:10.0.0.1:" + std::to_string(i))));
  EXPECT_FALSE(Ask(Call("ipv4:10.0.0.1:9")));  // its share
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Ask(Call("ipv4:10.0.0.2:" + std::to_string(i))));
  EXPECT_FALSE(Ask(Call("ipv4:10.0.0.2:9")));
  EXPECT_TRUE(Ask(Call("ipv4:10.0.0.3:1")));
  EXPECT_FALSE(Ask(Call("ipv4:10.0.0.3:2")));
  EXPECT_TRUE(Ask(Call("ipv4:10.0.0.4:1")));
}

TEST_F(ReadGrantsTest, HurryProbes) {
  grants_.emplace(4, milliseconds(30'000));
  TestReader& call = Call("ipv4:10.0.0.1:1");
  TestReader& probe = Probe("ipv4:10.0.0.1:2");
  Ask(call);
  Ask(probe);
  now_ += milliseconds(1999);
  EXPECT_THAT(Late(), IsEmpty());
  now_ += milliseconds(1);
  EXPECT_THAT(Late(), ElementsAre(&probe));
  now_ += milliseconds(28'000);
  EXPECT_THAT(Late(), ElementsAre(&call, &probe));
}

TEST_F(ReadGrantsTest, TakeAllUnixConnectionsForOneClient) {
  Make(4);
  EXPECT_TRUE(Ask(Call("unix:")));
  EXPECT_TRUE(Ask(Call("unix:")));
  EXPECT_FALSE(Ask(Call("unix:")));
}

TEST_F(ReadGrantsTest, GiveAClientAlwaysOne) {
  Make(1);
  TestReader& first = Call("ipv4:10.0.0.1:1");
  TestReader& second = Call("ipv4:10.0.0.1:1");
  EXPECT_TRUE(Ask(first));
  EXPECT_FALSE(Ask(second));
  EXPECT_THAT(Release(first), ElementsAre(&second));
}

TEST_F(ReadGrantsTest, GrantASmallConnectionBeforeALargeOneThatCameEarlier) {
  Make(1);
  TestReader& holder = Call("ipv4:10.0.0.1:1");
  EXPECT_TRUE(Ask(holder));
  TestReader& large = Call("ipv4:10.0.0.2:1");
  grants_->NoteSize(large, kSmallMessageBytes + 1);
  EXPECT_FALSE(Ask(large));
  TestReader& small = Call("ipv4:10.0.0.3:1");
  EXPECT_FALSE(Ask(small));
  EXPECT_THAT(Release(holder), ElementsAre(&small));
  EXPECT_THAT(Release(small), ElementsAre(&large));
}

TEST_F(ReadGrantsTest, ForgetThatAConnectionWasLargeWhenItsNextMessageIsSmall) {
  Make(1);
  TestReader& reader = Call("ipv4:10.0.0.2:1");
  grants_->NoteSize(reader, kSmallMessageBytes + 1);
  EXPECT_EQ(grants_->LastSize("ipv4:10.0.0.2:1"), kSmallMessageBytes + 1);
  grants_->NoteSize(reader, kSmallMessageBytes);
  EXPECT_EQ(grants_->LastSize("ipv4:10.0.0.2:1"), 0);
}

TEST_F(ReadGrantsTest, CallNoUnixConnectionLarge) {
  Make(1);
  grants_->NoteSize(Call("unix:"), kSmallMessageBytes + 1);
  EXPECT_EQ(grants_->LastSize("unix:"), 0);
}

TEST_F(ReadGrantsTest, LetClientsTakeTurns) {
  Make(1);
  TestReader& holder = Call("ipv4:10.0.0.9:1");
  EXPECT_TRUE(Ask(holder));
  TestReader& first = Call("ipv4:10.0.0.1:1");
  TestReader& second = Call("ipv4:10.0.0.1:2");
  TestReader& other = Call("ipv4:10.0.0.2:1");
  for (TestReader* reader : {&first, &second, &other}) EXPECT_FALSE(Ask(*reader));
  EXPECT_THAT(Release(holder), ElementsAre(&first));
  EXPECT_THAT(Release(first), ElementsAre(&other));
  EXPECT_THAT(Release(other), ElementsAre(&second));
}

TEST_F(ReadGrantsTest, GiveStreamsHalfOfThem) {
  Make(4);
  EXPECT_TRUE(Ask(Stream("ipv4:10.0.0.1:1")));
  EXPECT_TRUE(Ask(Stream("ipv4:10.0.0.2:1")));
  EXPECT_FALSE(Ask(Stream("ipv4:10.0.0.3:1")));
  EXPECT_TRUE(Ask(Call("ipv4:10.0.0.3:1")));
}

TEST_F(ReadGrantsTest, KeepOneOfAClientsShareFromItsStreams) {
  Make(4);
  EXPECT_TRUE(Ask(Stream("ipv4:10.0.0.1:1")));
  EXPECT_FALSE(Ask(Stream("ipv4:10.0.0.1:2")));
  EXPECT_TRUE(Ask(Call("ipv4:10.0.0.1:3")));
}

TEST_F(ReadGrantsTest, GrantCallsBeforeStreams) {
  Make(1);
  TestReader& holder = Call("ipv4:10.0.0.1:1");
  EXPECT_TRUE(Ask(holder));
  TestReader& stream = Stream("ipv4:10.0.0.2:1");
  TestReader& large = Call("ipv4:10.0.0.3:1");
  grants_->NoteSize(large, kSmallMessageBytes + 1);
  EXPECT_FALSE(Ask(stream));
  EXPECT_FALSE(Ask(large));
  EXPECT_THAT(Release(holder), ElementsAre(&large));
  EXPECT_THAT(Release(large), ElementsAre(&stream));
}

TEST_F(ReadGrantsTest, PassOverAClientThatHasItsShare) {
  Make(4);
  TestReader& a = Call("ipv4:10.0.0.1:1");
  TestReader& b = Call("ipv4:10.0.0.1:2");
  TestReader& c = Call("ipv4:10.0.0.2:1");
  TestReader& d = Call("ipv4:10.0.0.2:2");
  for (TestReader* reader : {&a, &b, &c, &d}) EXPECT_TRUE(Ask(*reader));
  TestReader& waits = Call("ipv4:10.0.0.1:3");
  TestReader& third = Call("ipv4:10.0.0.3:1");
  EXPECT_FALSE(Ask(waits));
  EXPECT_FALSE(Ask(third));
  EXPECT_THAT(Release(c), ElementsAre(&third));
  EXPECT_THAT(Release(d), IsEmpty());
  EXPECT_THAT(Release(a), ElementsAre(&waits));
}

TEST_F(ReadGrantsTest, GrantNoneThatHasBeenForgotten) {
  Make(1);
  TestReader& holder = Call("ipv4:10.0.0.1:1");
  TestReader& gone = Call("ipv4:10.0.0.2:1");
  TestReader& next = Call("ipv4:10.0.0.3:1");
  EXPECT_TRUE(Ask(holder));
  EXPECT_FALSE(Ask(gone));
  EXPECT_FALSE(Ask(next));
  EXPECT_TRUE(grants_->Forget(gone));
  EXPECT_FALSE(grants_->Forget(gone));
  EXPECT_FALSE(grants_->Forget(holder));
  EXPECT_THAT(Release(holder), ElementsAre(&next));
}

TEST_F(ReadGrantsTest, CallAReadLateOnceForEachTimeout) {
  Make(2);
  TestReader& reader = Call("ipv4:10.0.0.1:1");
  EXPECT_TRUE(Ask(reader));
  now_ += kTimeout - milliseconds(1);
  EXPECT_THAT(Late(), IsEmpty());
  now_ += milliseconds(1);
  EXPECT_THAT(Late(), ElementsAre(&reader));
  EXPECT_THAT(Late(), IsEmpty());
  now_ += kTimeout;
  EXPECT_THAT(Late(), ElementsAre(&reader));
}

TEST_F(ReadGrantsTest, CallAStreamLateOnlyWhenSomebodyCouldUseItsGrant) {
  Make(2);
  TestReader& stream = Stream("ipv4:10.0.0.1:1");
  TestReader& call = Call("ipv4:10.0.0.2:1");
  EXPECT_TRUE(Ask(stream));
  EXPECT_TRUE(Ask(call));
  now_ += kTimeout;
  EXPECT_THAT(Late(), ElementsAre(&call));
  // A client that has its share waits for itself, not for the stream.
  TestReader& same = Call("ipv4:10.0.0.2:2");
  EXPECT_FALSE(Ask(same));
  EXPECT_THAT(Late(), IsEmpty());
  TestReader& other = Call("ipv4:10.0.0.3:1");
  EXPECT_FALSE(Ask(other));
  EXPECT_THAT(Late(), ElementsAre(&stream));
}

TEST_F(ReadGrantsTest, CallAStreamLateForAnotherStream) {
  Make(1);
  TestReader& idle = Stream("ipv4:10.0.0.1:1");
  TestReader& other = Stream("ipv4:10.0.0.1:2");
  EXPECT_TRUE(Ask(idle));
  now_ += kTimeout;
  EXPECT_THAT(Late(), IsEmpty());
  EXPECT_FALSE(Ask(other));
  EXPECT_THAT(Late(), ElementsAre(&idle));
}

TEST_F(ReadGrantsTest, ForgetAllParkedCallsButNoStreamAndNoProbe) {
  Make(1);
  TestReader& holder = Call("ipv4:10.0.0.1:1");
  EXPECT_TRUE(Ask(holder));
  TestReader& call = Call("ipv4:10.0.0.2:1");
  TestReader& large = Call("ipv4:10.0.0.3:1");
  grants_->NoteSize(large, kSmallMessageBytes + 1);
  TestReader& stream = Stream("ipv4:10.0.0.4:1");
  TestReader& probe = Probe("ipv4:10.0.0.5:1");
  for (TestReader* reader : {&call, &large, &stream, &probe}) EXPECT_FALSE(Ask(*reader));
  EXPECT_THAT(grants_->ForgetParkedCalls(), ElementsAre(&call, &large));
  EXPECT_EQ(grants_->usage().parked, 2);
  EXPECT_THAT(Release(holder), ElementsAre(&probe));
  EXPECT_THAT(Release(probe), ElementsAre(&stream));
}

TEST_F(ReadGrantsTest, ReachAnotherAddressPastTwoHundredConnectionsOfOne) {
  Make(4);
  for (int i = 0; i < 200; ++i) Ask(Call("ipv4:10.0.0.1:" + std::to_string(i)));
  EXPECT_EQ(grants_->usage().held, 2);
  for (int i = 0; i < 100; ++i) {
    TestReader& other = Call("ipv4:10.0.0.2:1");
    ASSERT_TRUE(Ask(other));
    EXPECT_THAT(Release(other), IsEmpty());
  }
}

}  // namespace
}  // namespace kldiv::server
