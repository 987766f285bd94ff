#include "coordinator/fleet/admissions.h"

#include <gtest/gtest.h>

#include "coordinator/fleet/job_table.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;

class AdmissionsTest : public ::testing::Test {
 protected:
  Received hello(const std::string& peer, const std::string& agent = "a",
                 const std::string& node = "n") {
    protocol::Hello message;
    message.agent = AgentId{agent};
    message.node = node;
    return {peer, "key", message};
  }
  Received heartbeat(const std::string& peer) { return {peer, "key", protocol::Heartbeat{}}; }
  Admissions::Verdict judge(const Received& received) { return admissions_.judge(received, now_); }
  Admissions::Admitted let_in(const std::string& peer) {
    return admissions_.answered(peer, AgentPass{3600s, 300s, "pod"}, now_);
  }
  Admissions::Admitted refuse(const std::string& peer,
                              ErrorKind kind = ErrorKind::PermissionDenied) {
    return admissions_.answered(peer, Error(kind, "no"), now_);
  }
  void enter(const std::string& peer) {
    ASSERT_TRUE(judge(hello(peer)).ask);
    ASSERT_TRUE(let_in(peer).hello);
  }

  Admissions admissions_;
  SteadyTime now_{1000h};
};

TEST_F(AdmissionsTest, AStrangerIsHeardOnlyAfterTheGateHasLetItIn) {
  const auto first = judge(hello("p"));
  EXPECT_TRUE(first.ask);
  EXPECT_FALSE(first.hear);
  EXPECT_FALSE(judge(heartbeat("p")).hear) << "the gate is still thinking";
  EXPECT_FALSE(judge(hello("p")).ask) << "it is asked once";
  EXPECT_FALSE(admissions_.may_hear_us("p", now_));
  EXPECT_TRUE(let_in("p").hello);
  EXPECT_TRUE(judge(heartbeat("p")).hear);
  EXPECT_TRUE(admissions_.may_hear_us("p", now_));
  EXPECT_EQ(admissions_.counts().admitted, 1U);
}

// A mover's own token lets the mover in; with a second hello it would become a node's agent.
TEST_F(AdmissionsTest, WhoSaysAnotherNameWhileTheGateThinksGetsInByTheNameThatWasAskedAbout) {
  ASSERT_TRUE(judge(hello("p", "mover", "mover:1")).ask);
  EXPECT_FALSE(judge(hello("p", "node-1", "node-1")).hear);
  EXPECT_FALSE(judge(hello("p", "mover", "node-1")).hear);
  const auto admitted = let_in("p");
  ASSERT_TRUE(admitted.hello);
  const auto& heard = std::get<protocol::Hello>(admitted.hello->message);
  EXPECT_EQ(heard.agent, AgentId{"mover"});
  EXPECT_EQ(heard.node, "mover:1");
  EXPECT_FALSE(judge(hello("p", "node-1", "node-1")).hear) << "has to be proven by itself";
}

TEST_F(AdmissionsTest, SomebodyOfATimeBeforeIsAskedToSayHello) {
  EXPECT_TRUE(judge(heartbeat("p")).hear) << "the table does not know it and says so";
  EXPECT_FALSE(admissions_.may_hear_us("p", now_)) << "nothing else leaves";
}

// They are kept as long as the job table knows their connection, or they would be heard unasked.
TEST_F(AdmissionsTest, WhoHadAPlaceIsForgottenAfterTheJobTableHasForgottenIt) {
  static_assert(Admissions::kForgetMover > JobTable::kForgetMover);
  static_assert(Admissions::kForgetAgent > JobTable::kForgetAgent);
  judge(hello("m", "mover", "mover:1"));
  ASSERT_TRUE(let_in("m").hello);
  enter("n");
  now_ += JobTable::kForgetMover + 1min;
  judge(heartbeat("x"));
  EXPECT_FALSE(judge(heartbeat("m")).hear && !admissions_.may_hear_us("m", now_));
  now_ += Admissions::kForgetMover + 2min;
  judge(heartbeat("x"));
  EXPECT_TRUE(judge(heartbeat("m")).hear) << "as of a stranger, whom the table tells to say hello";
  EXPECT_FALSE(admissions_.may_hear_us("m", now_));
  now_ += 2h;
  EXPECT_FALSE(judge(heartbeat("n")).hear) << "known, and its place has run out";
}

TEST_F(AdmissionsTest, ThousandsOfMoversComeAndGo) {
  for (int i = 0; i < 10'000; ++i) {
    const std::string peer = std::to_string(i);
    ASSERT_TRUE(judge(hello(peer, "mover-" + peer, "mover:" + peer)).ask) << i;
    ASSERT_TRUE(let_in(peer).hello);
    now_ += 30s;
  }
  EXPECT_TRUE(judge(hello("stranger")).ask);
}

TEST_F(AdmissionsTest, ARefusedOneMeetsSilenceForAWhile) {
  judge(hello("p"));
  EXPECT_FALSE(refuse("p").hello);
  now_ += 1s;
  EXPECT_FALSE(judge(hello("p")).ask);
  EXPECT_FALSE(judge(hello("p")).hear);
  EXPECT_FALSE(judge(heartbeat("p")).hear);
  EXPECT_FALSE(admissions_.may_hear_us("p", now_));
  now_ += Admissions::kRefusedFor;
  EXPECT_TRUE(judge(hello("p")).ask) << "its token may be another one by now";
  EXPECT_EQ(admissions_.counts().refused, 1U);
}

TEST_F(AdmissionsTest, TheSameRefusalIsNoNews) {
  judge(hello("p"));
  EXPECT_TRUE(refuse("p").news);
  now_ += Admissions::kRefusedFor;
  judge(hello("p"));
  EXPECT_FALSE(refuse("p").news);
}

TEST_F(AdmissionsTest, NobodyIsLetInWhileNobodyCanLook) {
  judge(hello("p"));
  EXPECT_FALSE(refuse("p", ErrorKind::Unavailable).hello);
  EXPECT_FALSE(judge(heartbeat("p")).hear);
  EXPECT_EQ(admissions_.counts().unanswered, 1U);
  now_ += Admissions::kRetryAfter;
  EXPECT_TRUE(judge(hello("p")).ask);
}

TEST_F(AdmissionsTest, WhoIsInStaysInUntilItsPassRunsOut) {
  enter("p");
  now_ += 301s;
  EXPECT_TRUE(judge(heartbeat("p")).hear);
  EXPECT_EQ(admissions_.to_greet(now_), std::vector<std::string>{"p"});
  EXPECT_TRUE(admissions_.to_greet(now_).empty()) << "not at every tick";
  const auto again = judge(hello("p"));
  EXPECT_TRUE(again.hear) << "its jobs go on meanwhile";
  EXPECT_TRUE(again.ask);
  EXPECT_FALSE(refuse("p", ErrorKind::Unavailable).hello);
  EXPECT_TRUE(judge(heartbeat("p")).hear) << "the API server is away, the pass is good";
  now_ += 3600s;
  EXPECT_FALSE(judge(heartbeat("p")).hear);
  EXPECT_FALSE(admissions_.may_hear_us("p", now_));
  EXPECT_EQ(admissions_.to_greet(now_), std::vector<std::string>{"p"}) << "how it gets in again";
  EXPECT_TRUE(judge(hello("p")).ask);
  EXPECT_TRUE(let_in("p").hello);
  EXPECT_TRUE(judge(heartbeat("p")).hear);
}

TEST_F(AdmissionsTest, ARenewedPassIsNoNewHello) {
  enter("p");
  now_ += 301s;
  judge(heartbeat("p"));
  judge(hello("p"));
  const auto renewed = let_in("p");
  EXPECT_FALSE(renewed.hello) << "the table has seen it";
  EXPECT_FALSE(renewed.news);
  now_ += 3500s;
  EXPECT_TRUE(judge(heartbeat("p")).hear);
}

TEST_F(AdmissionsTest, ARefusalEndsWhatItHad) {
  enter("p");
  now_ += 301s;
  judge(hello("p"));
  refuse("p");
  EXPECT_FALSE(judge(heartbeat("p")).hear);
  EXPECT_FALSE(admissions_.may_hear_us("p", now_));
}

TEST_F(AdmissionsTest, AnotherNameOnAConnectionIsProvenByItself) {
  enter("p");
  const auto other = judge(hello("p", "b", "m"));
  EXPECT_FALSE(other.hear);
  EXPECT_TRUE(other.ask);
  refuse("p");
  EXPECT_FALSE(judge(heartbeat("p")).hear) << "who lies has lost its place";
}

TEST_F(AdmissionsTest, OnlySoManyWaitAtOnceAndStrangersAreForgotten) {
  for (std::size_t i = 0; i < Admissions::kMostWaiting; ++i) {
    EXPECT_TRUE(judge(hello("p" + std::to_string(i))).ask);
  }
  EXPECT_FALSE(judge(hello("one-too-many")).ask);
  EXPECT_EQ(admissions_.counts().waiting, Admissions::kMostWaiting);
  refuse("p0");
  EXPECT_TRUE(judge(hello("one-too-many")).ask);
  for (std::size_t i = 0; i < 2 * Admissions::kMostStrangers; ++i) {
    judge(heartbeat("q" + std::to_string(i)));
  }
  EXPECT_FALSE(judge(hello("late")).ask) << "memory is bounded";
  for (std::size_t i = 1; i < Admissions::kMostWaiting; ++i) refuse("p" + std::to_string(i));
  refuse("one-too-many");
  now_ += 2 * Admissions::kForgetAfter;
  EXPECT_TRUE(judge(hello("late")).ask);
}

TEST_F(AdmissionsTest, WhoWasInOnceIsNoStranger) {
  for (std::size_t i = 0; i < Admissions::kMostStrangers; ++i) enter("mover" + std::to_string(i));
  EXPECT_TRUE(judge(hello("one-more")).ask);
}

TEST_F(AdmissionsTest, AnAnswerNobodyWaitsForChangesNothing) {
  EXPECT_FALSE(let_in("nobody").hello);
  EXPECT_EQ(admissions_.counts(), Fleet::GateCounts{});
}

}  // namespace
}  // namespace vmferry
