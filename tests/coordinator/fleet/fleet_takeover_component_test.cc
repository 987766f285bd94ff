#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>

#include "tests/coordinator/fleet/fleet_bench.h"

// Records that are kept elsewhere, as on a cluster: slow, failing, and read by another coordinator
// that has none of its predecessor's files.
namespace vmferry {
namespace {

using namespace std::chrono_literals;
using test::FleetBench;

class FarRecords final : public JobRecords {
 public:
  std::atomic<bool> blocked{false};
  std::atomic<int> failures{0};  // of the next saves
  std::atomic<int> saves{0};

  Result<std::vector<JobRecord>> load(std::stop_token) override {
    const std::lock_guard lock(mutex_);
    std::vector<JobRecord> all;
    for (const auto& [job, text] : records_) all.push_back(*job_record_from_json(text));
    return all;
  }
  Result<void> save(const JobRecord& record, std::stop_token) override {
    while (blocked) std::this_thread::sleep_for(5ms);
    ++saves;
    if (failures > 0) {
      --failures;
      return Error(ErrorKind::Unavailable, "the API server is away");
    }
    const std::lock_guard lock(mutex_);
    records_[record.job] = to_json(record);
    return {};
  }
  Result<void> remove(const JobId& job, std::stop_token) override {
    if (failures > 0) {
      --failures;
      return Error(ErrorKind::Unavailable, "the API server is away");
    }
    const std::lock_guard lock(mutex_);
    records_.erase(job);
    return {};
  }
  std::optional<JobRecord> find(const JobId& job) {
    const std::lock_guard lock(mutex_);
    const auto found = records_.find(job);
    if (found == records_.end()) return std::nullopt;
    return *job_record_from_json(found->second);
  }

 private:
  std::mutex mutex_;
  std::map<JobId, std::string> records_;
};

class FleetTakeoverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!FleetBench::has_agent_program()) GTEST_SKIP() << "needs the program vmferry-agent";
    bench.options.heartbeat_every = 100ms;
    bench.options.lease = 3000ms;
    bench.options.settle = 300ms;
    bench.options.records = &records;
  }
  void start(const std::vector<std::string>& more = {}) {
    bench.allow_agent("agent-1");
    bench.allow_agent("agent-2");
    bench.start_fleet();
    bench.start_agent("agent-1", more);
    ASSERT_TRUE(bench.eventually(10s, [&] { return connected() == 1; }));
  }
  int connected() {
    const std::vector<AgentView> views = bench.fleet().agents();
    return static_cast<int>(
        std::count_if(views.begin(), views.end(), [](const auto& v) { return v.connected; }));
  }
  // Another coordinator: the records, and not one file.
  void take_over() {
    bench.stop_fleet();
    std::filesystem::remove_all(bench.path("coordinator"));
    bench.start_fleet();
  }

  FarRecords records;
  FleetBench bench;
};

TEST_F(FleetTakeoverTest, NothingIsAssignedBeforeItsRecordIsStored) {
  start();
  records.blocked = true;
  bench.make_disk("disk", 4 * kMiB);
  const TransferRequest request = bench.request("disk", 4 * kMiB);
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Assigned, 10s));
  // For longer than the lease: the agent is heard all the same, and has nothing to do.
  std::this_thread::sleep_for(4s);
  EXPECT_EQ(connected(), 1);
  EXPECT_EQ(bench.view(request.job).state, TransferState::Assigned);
  EXPECT_FALSE(std::filesystem::exists(request.target.path));
  records.blocked = false;
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 30s));
  EXPECT_TRUE(bench.same_content(request.source.url, request.target.path));
}

TEST_F(FleetTakeoverTest, RecordsThatCannotBeStoredAreTriedAgain) {
  start();
  records.failures = 3;
  bench.make_disk("disk", 4 * kMiB);
  const TransferRequest request = bench.request("disk", 4 * kMiB);
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 60s));
  ASSERT_TRUE(bench.eventually(20s, [&] {
    const auto kept = records.find(request.job);
    return kept && kept->outcome;
  }));
  records.failures = 2;
  bench.fleet().forget(request.job);
  EXPECT_TRUE(bench.eventually(30s, [&] { return !records.find(request.job); }))
      << "a removal is not given up";
}

TEST_F(FleetTakeoverTest, ASuccessorLearnsTheJournalFromTheAgentAndAnotherAgentGoesOn) {
  start({"--limit", "4M"});
  bench.make_disk("disk", 48 * kMiB);
  const TransferRequest request = bench.request("disk", 48 * kMiB);
  bench.fleet().submit(request);
  const auto moved = [&] { return bench.view(request.job).status.moved_bytes; };
  ASSERT_TRUE(bench.eventually(40s, [&] { return moved() > 12 * kMiB; }));
  take_over();
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Running, 20s));
  EXPECT_EQ(bench.view(request.job).attempt, 1U) << "it never stopped";
  const std::string journal = bench.path("coordinator/jobs/uid%2Fdisk/journal");
  // All that was durable before the takeover, and more: 16 bytes of digest a chunk.
  ASSERT_TRUE(bench.eventually(40s, [&] {
    std::error_code none;
    return std::filesystem::exists(journal, none) &&
           std::filesystem::file_size(journal, none) > 12 * 16 + 200;
  }));
  bench.stop_agent("agent-1", SIGKILL);
  bench.start_agent("agent-2");
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 60s));
  EXPECT_GT(bench.view(request.job).status.resumed_bytes, 8 * kMiB);
  EXPECT_EQ(bench.view(request.job).attempt, 2U);
  EXPECT_TRUE(bench.same_content(request.source.url, request.target.path));
}

// Agent 2 has an old journal of the target, which agent 1 has started over since: only the record
// knows, for the successor has no journal at all.
TEST_F(FleetTakeoverTest, AJournalOfAnOlderEpochIsNotBelievedAfterATakeover) {
  start({"--limit", "4M"});
  bench.make_disk("disk", 24 * kMiB);
  const TransferRequest request = bench.request("disk", 24 * kMiB);
  bench.fleet().submit(request);
  ASSERT_TRUE(
      bench.eventually(40s, [&] { return bench.view(request.job).status.moved_bytes > 8 * kMiB; }));
  ASSERT_TRUE(bench.eventually(20s, [&] {
    const auto kept = records.find(request.job);
    return kept && !kept->epoch.empty();
  }));
  bench.stop_agent("agent-1", SIGKILL);
  // The target has another life now.
  JobRecord record = *records.find(request.job);
  bench.stop_fleet();
  record.writer.reset();
  record.epoch = "another";
  ASSERT_TRUE(records.save(record, {}));
  std::filesystem::remove_all(bench.path("coordinator"));
  bench.start_fleet();
  bench.start_agent("agent-1");
  bench.fleet().submit(request);
  ASSERT_TRUE(bench.wait_for(request.job, TransferState::Succeeded, 60s));
  EXPECT_EQ(bench.view(request.job).status.resumed_bytes, 0U);
  EXPECT_TRUE(bench.same_content(request.source.url, request.target.path));
}

TEST_F(FleetTakeoverTest, WhoMayNotActIsSilentAndTheAgentStopsByItsLease) {
  std::atomic<bool> may_act{true};
  bench.options.may_act = [&] { return may_act.load(); };
  start({"--limit", "2M"});
  bench.make_disk("disk", 40 * kMiB);
  const TransferRequest request = bench.request("disk", 40 * kMiB);
  bench.fleet().submit(request);
  ASSERT_TRUE(
      bench.eventually(40s, [&] { return bench.view(request.job).status.moved_bytes > 4 * kMiB; }));
  ASSERT_FALSE(FleetBench::openers(request.target.path).empty());
  may_act = false;
  EXPECT_TRUE(bench.eventually(20s, [&] {
    return FleetBench::openers(request.target.path).empty();
  })) << "nothing acknowledges its heartbeats, so its lease ends";
  may_act = true;
}

}  // namespace
}  // namespace vmferry
