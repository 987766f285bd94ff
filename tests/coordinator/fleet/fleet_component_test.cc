#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "common/catalogue.h"
#include "common/file_name.h"
#include "tests/coordinator/fleet/fleet_bench.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using test::FleetBench;

class FleetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!FleetBench::has_agent_program()) GTEST_SKIP() << "needs the program vmferry-agent";
    bench.options.heartbeat_every = 100ms;
    bench.options.lease = 1000ms;
    bench.options.settle = 300ms;
  }
  void start(int agents, const std::vector<std::string>& more = {}) {
    for (int i = 1; i <= agents; ++i) bench.allow_agent("agent-" + std::to_string(i));
    bench.start_fleet();
    for (int i = 1; i <= agents; ++i) bench.start_agent("agent-" + std::to_string(i), more);
    ASSERT_TRUE(bench.eventually(5s, [&] {
      const std::vector<AgentView> views = bench.fleet().agents();
      return std::count_if(views.begin(), views.end(), [](const auto& v) { return v.connected; }) ==
             agents;
    }));
  }
  void expect_copied(const TransferRequest& request) {
    const TransferView view = bench.view(request.job);
    EXPECT_TRUE(view.verified);
    EXPECT_TRUE(view.digest.starts_with("xxh3-128:")) << view.digest;
    EXPECT_TRUE(bench.same_content(request.source.url, request.target.path));
  }

  FleetBench bench;
};

TEST_F(FleetTest, CopiesDisksOverSeveralAgents) {
  std::atomic<int> changes{0};
  bench.options.changed = [&](const std::string& key) {
    EXPECT_EQ(key, "default/vm");
    ++changes;
  };
  start(2);
  std::vector<TransferRequest> requests;
  for (int i = 0; i < 4; ++i) {
    const std::string name = "disk-" + std::to_string(i);
    bench.make_disk(name, 10 * kMiB + 512);
    requests.push_back(bench.request(name, 10 * kMiB + 512));
    bench.fleet().submit(requests.back());
  }
  std::set<std::string> agents;
  for (const TransferRequest& request : requests) {
    ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 20s));
    expect_copied(request);
    agents.insert(bench.view(request.job).agent);
  }
  EXPECT_EQ(agents.size(), 2u) << "disks of one import go to different agents";
  EXPECT_GE(changes.load(), 4);
  // The outcome is kept until it is collected, then nothing is left.
  bench.fleet().forget(requests[0].job);
  EXPECT_FALSE(bench.fleet().transfer(requests[0].job));
  EXPECT_TRUE(bench.eventually(5s, [&] {
    return std::filesystem::is_empty(bench.path("state-agent-1/jobs")) &&
           std::filesystem::is_empty(bench.path("state-agent-2/jobs"));
  }));
}

TEST_F(FleetTest, AKilledAgentsDiskIsTakenOverWhereItStopped) {
  start(2);
  constexpr std::uint64_t kSize = 160 * kMiB;
  bench.make_disk("disk", kSize);
  TransferRequest request = bench.request("disk", kSize);
  request.limit_bytes_per_second = 10 * kMiB;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Running, 10s));
  // Long enough for a checkpoint (every 5 s) to have come here.
  ASSERT_TRUE(bench.eventually(
      20s, [&] { return bench.view(request.job).status.moved_bytes > 75 * kMiB; }));
  const std::string first = bench.view(request.job).agent;
  bench.stop_agent(first, SIGKILL);
  const auto killed = std::chrono::steady_clock::now();
  request.limit_bytes_per_second = 0;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.eventually(20s, [&] {
    // No overlap: whoever has the target open is the only one.
    EXPECT_LE(FleetBench::openers(request.target.path).size(), 1u);
    return bench.view(request.job).attempt == 2;
  }));
  EXPECT_GT(std::chrono::steady_clock::now() - killed, bench.options.lease)
      << "not before the lease ended";
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 30s));
  const TransferView view = bench.view(request.job);
  EXPECT_NE(view.agent, first);
  EXPECT_GT(view.status.resumed_bytes, 0u);
  ASSERT_FALSE(view.history.empty());
  EXPECT_NE(view.history.front().find(first + ": lost after"), std::string::npos);
  expect_copied(request);
}

// It says nothing of the disk any more; the copy is not to fail for it, now and for ever.
TEST_F(FleetTest, AJobWhoseJournalHereCannotBeReadStartsAfresh) {
  start(2);
  constexpr std::uint64_t kSize = 100 * kMiB;
  bench.make_disk("disk", kSize);
  TransferRequest request = bench.request("disk", kSize);
  request.limit_bytes_per_second = 10 * kMiB;
  bench.fleet().submit(request);
  const std::string journal =
      bench.path("coordinator/jobs/" + safe_file_name(request.job.value) + "/journal");
  ASSERT_TRUE(bench.eventually(20s, [&] {
    return std::filesystem::exists(journal) &&
           bench.view(request.job).status.moved_bytes > 20 * kMiB;
  }));
  bench.stop_agent(bench.view(request.job).agent, SIGKILL);
  constexpr std::uintmax_t kFarTooLarge = std::uintmax_t{5} << 30;  // of holes: no room is taken
  std::filesystem::resize_file(journal, kFarTooLarge);
  request.limit_bytes_per_second = 0;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 60s));
  EXPECT_EQ(bench.view(request.job).status.resumed_bytes, 0u);
  expect_copied(request);
  EXPECT_LT(std::filesystem::file_size(journal), kFarTooLarge) << "it is a new one";
}

TEST_F(FleetTest, ARestartedAgentProvesThatTheOldOneIsGone) {
  bench.options.lease = 60s;  // nobody waits for that here
  start(1);
  bench.make_disk("disk", 60 * kMiB);
  TransferRequest request = bench.request("disk", 60 * kMiB);
  request.limit_bytes_per_second = 10 * kMiB;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.eventually(
      10s, [&] { return bench.view(request.job).status.moved_bytes > 10 * kMiB; }));
  bench.stop_agent("agent-1", SIGKILL);
  request.limit_bytes_per_second = 0;
  bench.fleet().submit(request);
  bench.start_agent("agent-1");
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 20s));
  EXPECT_EQ(bench.view(request.job).attempt, 2u);
  expect_copied(request);
}

TEST_F(FleetTest, ANewCoordinatorAdoptsWhatRuns) {
  bench.options.lease = 5s;
  start(2);
  bench.make_disk("disk", 60 * kMiB);
  TransferRequest request = bench.request("disk", 60 * kMiB);
  request.limit_bytes_per_second = 15 * kMiB;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.eventually(
      10s, [&] { return bench.view(request.job).status.moved_bytes > 10 * kMiB; }));
  const std::string agent = bench.view(request.job).agent;
  bench.stop_fleet();
  bench.start_fleet();
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Running, 10s));
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 20s));
  EXPECT_EQ(bench.view(request.job).attempt, 1u);
  EXPECT_EQ(bench.view(request.job).agent, agent);
  EXPECT_EQ(bench.view(request.job).status.resumed_bytes, 0u);
  expect_copied(request);
}

TEST_F(FleetTest, AnOutcomeSurvivesTheCoordinator) {
  start(1);
  bench.make_disk("disk", kMiB);
  const TransferRequest request = bench.request("disk", kMiB);
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 10s));
  const std::string digest = bench.view(request.job).digest;
  bench.stop_fleet();
  bench.start_fleet();
  bench.fleet().submit(request);
  EXPECT_EQ(bench.view(request.job).state, TransferState::Succeeded);
  EXPECT_EQ(bench.view(request.job).digest, digest);
}

TEST_F(FleetTest, WithoutACoordinatorTheAgentStopsWritingWhenTheLeaseEnds) {
  start(1);
  bench.make_disk("disk", 100 * kMiB);
  TransferRequest request = bench.request("disk", 100 * kMiB);
  request.limit_bytes_per_second = 10 * kMiB;
  bench.fleet().submit(request);
  ASSERT_TRUE(
      bench.eventually(10s, [&] { return bench.view(request.job).status.moved_bytes > 5 * kMiB; }));
  EXPECT_EQ(FleetBench::openers(request.target.path).size(), 1u);
  bench.stop_fleet();
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(FleetBench::openers(request.target.path).size(), 1u) << "an outage stops nothing";
  EXPECT_TRUE(
      bench.eventually(4s, [&] { return FleetBench::openers(request.target.path).empty(); }));
  bench.start_fleet();
  request.limit_bytes_per_second = 0;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 20s));
  EXPECT_GT(bench.view(request.job).status.resumed_bytes, 0u);
  expect_copied(request);
}

TEST_F(FleetTest, CancelReturnsTrueWhenNobodyWritesAnyMore) {
  start(1);
  bench.make_disk("disk", 100 * kMiB);
  TransferRequest request = bench.request("disk", 100 * kMiB);
  request.limit_bytes_per_second = 5 * kMiB;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Running, 10s));
  ASSERT_TRUE(
      bench.eventually(5s, [&] { return FleetBench::openers(request.target.path).size() == 1; }));
  EXPECT_FALSE(bench.fleet().cancel(request.job));
  ASSERT_TRUE(bench.eventually(5s, [&] { return bench.fleet().cancel(request.job); }));
  EXPECT_TRUE(FleetBench::openers(request.target.path).empty());
  EXPECT_FALSE(bench.fleet().transfer(request.job));
  EXPECT_TRUE(std::filesystem::is_empty(bench.path("state-agent-1/jobs")));
  // And again from the start, with an attempt that no late message can mean.
  request.limit_bytes_per_second = 0;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 20s));
  EXPECT_EQ(bench.view(request.job).attempt, 2u);
  expect_copied(request);
}

TEST_F(FleetTest, LimitsTakeEffectWhileItRuns) {
  start(1);
  bench.options.agent_limit_bytes_per_second = 0;
  bench.make_disk("disk", 100 * kMiB);
  const TransferRequest request = bench.request("disk", 100 * kMiB);
  bench.fleet().set_agent_limit(5 * kMiB);
  std::this_thread::sleep_for(300ms);
  bench.fleet().submit(request);
  ASSERT_TRUE(
      bench.eventually(10s, [&] { return bench.view(request.job).status.moved_bytes > 8 * kMiB; }));
  const std::uint64_t before = bench.view(request.job).status.moved_bytes;
  std::this_thread::sleep_for(1s);
  EXPECT_LT(bench.view(request.job).status.moved_bytes - before, 9 * kMiB);
  EXPECT_NE(bench.view(request.job).status.note.find("limit"), std::string::npos);
  bench.fleet().set_agent_limit(0);
  EXPECT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 8s));
}

TEST_F(FleetTest, ASourceThatDoesNotExistFailsForGood) {
  start(1);
  const TransferRequest request = bench.request("missing", kMiB);
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Failed, 20s));
  const TransferView view = bench.view(request.job);
  ASSERT_TRUE(view.error);
  EXPECT_EQ(view.attempt, 1u);
  EXPECT_FALSE(std::filesystem::exists(request.target.path)) << "the source is opened first";
}

TEST_F(FleetTest, SigtermSavesTheWorkAndAnotherAgentGoesOn) {
  start(2);
  bench.make_disk("disk", 60 * kMiB);
  TransferRequest request = bench.request("disk", 60 * kMiB);
  request.limit_bytes_per_second = 10 * kMiB;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.eventually(
      10s, [&] { return bench.view(request.job).status.moved_bytes > 15 * kMiB; }));
  const std::string first = bench.view(request.job).agent;
  request.limit_bytes_per_second = 0;
  const auto asked = std::chrono::steady_clock::now();
  const int status = bench.stop_agent(first, SIGTERM);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 3s);
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 20s));
  const TransferView view = bench.view(request.job);
  EXPECT_NE(view.agent, first);
  EXPECT_GT(view.status.resumed_bytes, 10 * kMiB);
  expect_copied(request);
}

TEST_F(FleetTest, AnAgentThatHangsIsFencedByItself) {
  start(2);
  bench.make_disk("disk", 100 * kMiB);
  TransferRequest request = bench.request("disk", 100 * kMiB);
  request.limit_bytes_per_second = 10 * kMiB;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.eventually(
      10s, [&] { return bench.view(request.job).status.moved_bytes > 15 * kMiB; }));
  const std::string first = bench.view(request.job).agent;
  bench.signal_agent(first,
                     SIGSTOP);  // as a machine that sleeps: it wakes up later and knows nothing
  ASSERT_TRUE(bench.eventually(10s, [&] { return bench.view(request.job).attempt == 2; }));
  bench.signal_agent(first, SIGCONT);
  // The target is locked by the sleeper until it wakes up and sees that its lease is over.
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 40s));
  expect_copied(request);
}

TEST_F(FleetTest, AStrangerChangesNothing) {
  start(1);
  bench.make_disk("disk", 40 * kMiB);
  TransferRequest request = bench.request("disk", 40 * kMiB);
  request.limit_bytes_per_second = 10 * kMiB;
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Running, 10s));
  // Not allowed: its key was made after the fleet's start.
  bench.start_agent("stranger");
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(bench.fleet().agents().size(), 1u);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 20s));
  expect_copied(request);
}

TEST_F(FleetTest, ASecondAgentWithTheSameStateDoesNotStart) {
  start(1);
  bench.start_agent("agent-2", {}, "agent-1");
  EXPECT_NE(bench.wait_for_agent("agent-2"), 0);
}

}  // namespace
}  // namespace vmferry
