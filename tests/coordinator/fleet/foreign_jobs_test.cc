#include "tests/coordinator/fleet/job_table_fixture.h"

// What agents say of jobs that they were never given.
namespace vmferry {
namespace {

const std::string kMover = protocol::mover_node("pod-a");

class ForeignJobsTest : public JobTableTest {
 protected:
  std::size_t entries() const { return table->transfers(now).size(); }
  static std::size_t count(const std::string& words, const std::string& word) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = words.find(word, at)) != std::string::npos; at += word.size()) {
      ++found;
    }
    return found;
  }
};

TEST_F(ForeignJobsTest, AMoverOfAnotherPodRaisesNoAttempt) {
  hello("b");
  submit({"node-b"});
  EXPECT_EQ(hello_from("mover-pod-a", kMover, {status(4'000'000'000U)}), "welcome limits cancel");
  EXPECT_EQ(tick(1s), "save assign1>b-peer");
}

TEST_F(ForeignJobsTest, AMoverCannotClaimAJobThatNobodyKnowsYet) {
  hello("b");
  EXPECT_EQ(hello_from("mover-pod-a", kMover, {status(7)}), "welcome limits cancel");
  EXPECT_EQ(entries(), 0U);
  submit({"node-b"});
  EXPECT_EQ(tick(1s), "save assign1>b-peer");
}

TEST_F(ForeignJobsTest, AMoverTakesNothingThatDoesNotNameIt) {
  hello_from("mover-pod-a", kMover);
  submit();
  EXPECT_EQ(tick(1s), "");
  EXPECT_EQ(view().waiting_for, "no agent is connected");
  submit({protocol::mover_node("pod-b")});
  EXPECT_EQ(tick(1s), "");
  submit({kMover});
  EXPECT_EQ(tick(1s), "save assign1>mover-pod-a-peer");
}

TEST_F(ForeignJobsTest, ARunningAttemptStaysTheWritersWhateverAnotherAgentSays) {
  run_on_a();
  EXPECT_EQ(hello("b", {status(9)}), "welcome limits cancel");
  EXPECT_EQ(beat("a", {status(1, 50)}), "heartbeat_ack") << "still its writer";
  EXPECT_EQ(view().attempt, 1U);
  EXPECT_EQ(view().status.moved_bytes, 50U << 20);
}

// A record that was lost and begun anew: its writer of before would refuse lower attempts.
TEST_F(ForeignJobsTest, AnAgentThatReachesTheTargetIsCountedOnFrom) {
  submit({"node-b"});
  EXPECT_EQ(hello("b", {status(7)}), "welcome limits cancel");
  EXPECT_EQ(tick(1s), "save assign8>b-peer");
}

TEST_F(ForeignJobsTest, AnAttemptOutOfAllReasonIsNotBelieved) {
  submit({"node-b"});
  EXPECT_EQ(hello("b", {status(0xffffffffU)}), "welcome limits cancel");
  EXPECT_EQ(tick(1s), "save assign1>b-peer");
}

TEST_F(ForeignJobsTest, AnAgentThatDoesNotReachTheTargetRaisesNoAttempt) {
  submit({"node-b"});
  hello("b");
  EXPECT_EQ(hello("a", {status(7)}), "welcome limits cancel");
  EXPECT_EQ(tick(1s), "save assign1>b-peer");
}

// The documented rule: a job without a record that writes is held until its agent let go of it...
TEST_F(ForeignJobsTest, AnUnknownJobOnItsOwnNodeIsHeldUntilItsAgentLetsGo) {
  hello("b", {status(3)});
  submit({"node-b"});
  EXPECT_EQ(tick(1s), "cancel");
  EXPECT_EQ(say("b", protocol::Cancelled{kJob, 3}), "remove");
  submit({"node-b"});
  EXPECT_EQ(tick(1s), "save assign4>b-peer");
}

// ... but not by an agent that does not reach its target.
TEST_F(ForeignJobsTest, AnUnknownJobIsNotHeldByAnAgentOfAnotherNode) {
  hello("b");
  hello("a", {status(3)});
  submit({"node-b"});
  EXPECT_EQ(tick(1s), "save assign1>b-peer");
  EXPECT_EQ(beat("a", {status(3)}), "heartbeat_ack cancel") << "told again";
}

TEST_F(ForeignJobsTest, OneAgentHoldsAndReportsOnlySoManyUnknownJobs) {
  std::vector<protocol::JobStatus> jobs;
  for (int i = 0; i < 5000; ++i) {
    jobs.push_back(status(1));
    jobs.back().job = JobId{"uid/" + std::to_string(i)};
  }
  EXPECT_EQ(count(hello("a", jobs), "cancel"), 64U);
  EXPECT_EQ(entries(), 64U);
  for (protocol::JobStatus& job : jobs) job.job.value += "-more";
  beat("a", jobs);
  EXPECT_EQ(entries(), 64U);
}

TEST_F(ForeignJobsTest, OnlyWhoEndedAJobHasItsOutcomeStoredAgain) {
  run_on_a();
  protocol::Done done;
  done.job = kJob;
  done.attempt = 1;
  done.status = status(1, 1000);
  done.digest = "xxh3-128:00";
  done.verified = true;
  ASSERT_EQ(say("a", done), "save forget");
  EXPECT_EQ(say("a", done), "save forget") << "perhaps it failed the first time";
  hello("b");
  EXPECT_EQ(say("b", done), "forget");
}

}  // namespace
}  // namespace vmferry
