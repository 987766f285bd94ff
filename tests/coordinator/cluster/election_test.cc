#include "coordinator/cluster/election.h"

#include <gtest/gtest.h>

namespace vmferry::cluster {
namespace {

using namespace std::chrono_literals;
using Move = Election::Move;

class ElectionTest : public testing::Test {
 protected:
  ElectionSettings settings(const std::string& identity) const {
    return {.identity = identity, .lease = 15s, .renew = 10s, .retry = 2s};
  }
  // What `election` would write over `lease` now, as the API server would keep it.
  void write(Election& election) {
    const nlohmann::json spec = election.spec(lease, clock.wall());
    lease = lease_record(kube::Object(nlohmann::json{
        {"metadata", {{"resourceVersion", std::to_string(++version)}}}, {"spec", spec}}));
    election.written(clock.steady(), lease->transitions);
  }
  Move look(Election& election) { return election.look(lease, clock.steady()); }

  FakeClock clock;
  std::optional<LeaseRecord> lease;
  int version = 0;
  Election a{settings("a")}, b{settings("b")};
};

TEST_F(ElectionTest, TheFirstMakesTheLeaseAndTheOtherWaits) {
  EXPECT_EQ(look(a), Move::Create);
  write(a);
  EXPECT_EQ(lease->holder, "a");
  EXPECT_EQ(lease->duration, 15s);
  EXPECT_EQ(lease->transitions, 1);
  EXPECT_EQ(look(b), Move::Wait);
  EXPECT_EQ(look(a), Move::Renew);
  EXPECT_EQ(a.leads_until(), clock.steady() + 10s);
  EXPECT_EQ(b.leads_until(), std::nullopt);
}

TEST_F(ElectionTest, ARenewedLeaseIsNeverTaken) {
  write(a);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(look(b), Move::Wait);
    clock.advance(9s);
    ASSERT_EQ(look(a), Move::Renew);
    write(a);
  }
  EXPECT_EQ(lease->transitions, 1);
}

TEST_F(ElectionTest, TheLeaseOfASilentLeaderIsTakenAfterItHasStopped) {
  write(a);
  EXPECT_EQ(look(b), Move::Wait);
  clock.advance(15s);
  EXPECT_EQ(look(a), Move::Lost) << "it stopped five seconds ago";
  EXPECT_EQ(look(b), Move::Wait) << "not before the whole time is over";
  clock.advance(1ms);
  EXPECT_EQ(look(b), Move::Take);
  write(b);
  EXPECT_EQ(lease->transitions, 2);
  EXPECT_EQ(b.term(), 2);
  EXPECT_EQ(look(a), Move::Lost);
}

// The times of a's clock in the lease play no part: only that they do not change.
TEST_F(ElectionTest, SkewedClocksDoNotMatter) {
  write(a);
  for (const char* renewed : {"1970-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z", ""}) {
    lease->renewed = renewed;
    lease->resource_version = std::to_string(++version);
    EXPECT_EQ(look(b), Move::Wait);
    clock.advance(14s);
    EXPECT_EQ(look(b), Move::Wait);
  }
  clock.advance(2s);
  EXPECT_EQ(look(b), Move::Take);
}

TEST_F(ElectionTest, AGivenUpLeaseIsTakenAtOnce) {
  write(a);
  lease->holder.clear();
  EXPECT_EQ(look(b), Move::Take);
}

TEST_F(ElectionTest, ALongerDurationOfTheHolderIsRespected) {
  write(a);
  lease->duration = 60s;
  EXPECT_EQ(look(b), Move::Wait);
  clock.advance(59s);
  EXPECT_EQ(look(b), Move::Wait);
  clock.advance(2s);
  EXPECT_EQ(look(b), Move::Take);
}

TEST_F(ElectionTest, ALostAnswerToOurOwnWriteIsNoOtherLeader) {
  write(b);
  lease->holder = "a";  // a's write was carried out, and nobody told it
  EXPECT_EQ(look(a), Move::Take);
}

TEST_F(ElectionTest, ARemovedOrForeignLeaseEndsTheLeader) {
  write(a);
  const auto own = lease;
  lease.reset();
  EXPECT_EQ(look(a), Move::Lost);
  lease = own;
  lease->holder = "b";
  EXPECT_EQ(look(a), Move::Lost);
}

TEST_F(ElectionTest, AnythingMayStandInALease) {
  const LeaseRecord record = lease_record(kube::Object(nlohmann::json::parse(
      R"({"spec": {"holderIdentity": 7, "leaseDurationSeconds": "x", "leaseTransitions": -4}})")));
  EXPECT_EQ(record.holder, "");
  EXPECT_EQ(record.duration, 0s);
  EXPECT_EQ(record.transitions, 0);
  EXPECT_EQ(lease_record(kube::Object()).holder, "");
}

}  // namespace
}  // namespace vmferry::cluster
