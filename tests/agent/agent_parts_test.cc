#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "agent/job_failure.h"
#include "agent/job_store.h"
#include "agent/journal_outbox.h"
#include "agent/lease.h"
#include "agent/rate_meter.h"
#include "agent/renewal.h"
#include "common/catalogue.h"
#include "common/file_name.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
const SteadyTime kStart{std::chrono::hours(1)};

TEST(LeaseTest, RunsFromTheSendingOfTheAcknowledgedHeartbeat) {
  Lease lease;
  lease.set_duration(5s);
  EXPECT_FALSE(lease.valid(kStart));
  lease.sent(1, kStart);
  lease.sent(2, kStart + 1s);
  EXPECT_FALSE(lease.valid(kStart + 1s)) << "nothing is acknowledged yet";
  lease.acknowledged(1);
  EXPECT_TRUE(lease.valid(kStart + 4900ms));
  EXPECT_FALSE(lease.valid(kStart + 5s));
}

TEST(LeaseTest, ALateOrRepeatedAcknowledgementDoesNotStretchIt) {
  Lease lease;
  lease.set_duration(5s);
  lease.sent(1, kStart);
  lease.sent(2, kStart + 1s);
  lease.acknowledged(2);
  lease.acknowledged(1);
  lease.acknowledged(2);
  lease.acknowledged(99);
  EXPECT_EQ(lease.end(), kStart + 6s);
}

TEST(RateMeterTest, ConvergesToASteadyRateAndFallsToZeroInAStall) {
  RateMeter meter;
  std::uint64_t bytes = 0;
  SteadyTime now = kStart;
  for (int i = 0; i < 40; ++i) meter.update(bytes += 50, now += 500ms);
  EXPECT_NEAR(meter.rate(), 100, 1);
  for (int i = 0; i < 40; ++i) meter.update(bytes, now += 500ms);
  EXPECT_EQ(meter.rate(), 0);
}

TEST(RateMeterTest, ACounterThatFallsStartsAnew) {
  RateMeter meter;
  meter.update(1000, kStart);
  meter.update(2000, kStart + 1s);
  EXPECT_EQ(meter.update(0, kStart + 2s), 0);
}

TEST(JobFailureTest, WhatAStopEndedSaysNothingOfTheDiskAndWhatWasFoundOutStays) {
  const Error stopped(ErrorKind::Canceled, "copy stopped");
  const Error fenced(ErrorKind::Unavailable, code::kAgentLost, "the lease is over");
  const Error lost(ErrorKind::Unavailable, code::kSourceUnreachable, "no route to host");
  const Error changed(ErrorKind::DataLoss, code::kSourceChanged, "other content");
  const Error full(ErrorKind::ResourceExhausted, code::kTargetFull, "no space left");
  for (const StopReason reason : {StopReason::LeaseLost, StopReason::AgentStops}) {
    for (const Error& error : {stopped, fenced, lost}) {
      const Error told = failure_to_tell(reason, error);
      EXPECT_EQ(told.kind(), ErrorKind::Unavailable) << to_string(error);
      EXPECT_EQ(told.code(), code::kAgentLost) << to_string(error);
    }
    for (const Error& error : {changed, full}) EXPECT_EQ(failure_to_tell(reason, error), error);
  }
  for (const Error& error : {stopped, fenced, lost, changed, full}) {
    EXPECT_EQ(failure_to_tell(StopReason::None, error), error);
  }
}

std::vector<DurableChunk> chunks(std::size_t count) {
  std::vector<DurableChunk> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = {2 * i, LeafDigest(32, std::byte{7})};
  return all;
}

TEST(JournalOutboxTest, TellsTheEpochFirstAndSaysAgainUntilAcknowledged) {
  JournalOutbox outbox(JobId{"j"}, 3);
  outbox.opened("epoch", "identity", true);
  outbox.add(chunks(5));
  const auto first = outbox.due(kStart);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_TRUE(first[0].reset);
  EXPECT_TRUE(decode_chunks(first[0].chunks, 100)->empty());
  EXPECT_FALSE(first[1].reset);
  EXPECT_EQ(first[1].epoch, "epoch");
  EXPECT_EQ(first[1].attempt, 3u);
  EXPECT_EQ(*decode_chunks(first[1].chunks, 100), chunks(5));
  EXPECT_TRUE(outbox.due(kStart + 1s).empty());
  outbox.acknowledged(first[0].sequence);
  EXPECT_EQ(outbox.due(kStart + 2s), std::vector{first[1]});
  outbox.acknowledged(first[1].sequence);
  outbox.acknowledged(first[1].sequence);
  EXPECT_TRUE(outbox.empty());
}

TEST(JournalOutboxTest, CutsLongListsAndSendsAFewAtATime) {
  JournalOutbox outbox(JobId{"j"}, 1);
  outbox.opened("e", "i", false);
  outbox.add(chunks(400'000));
  std::size_t parts = 0;
  std::size_t count = 0;
  for (SteadyTime now = kStart; !outbox.empty(); now += 1s) {
    const auto due = outbox.due(now);
    ASSERT_LE(due.size(), 4u);
    for (const protocol::JournalUpdate& update : due) {
      ASSERT_LE(update.chunks.size(), protocol::kMaxJournalPartBytes);
      count += decode_chunks(update.chunks, 1'000'000)->size();
      ++parts;
      outbox.acknowledged(update.sequence);
    }
  }
  EXPECT_EQ(count, 400'000u);
  EXPECT_EQ(parts, 9u);
}

TEST(RenewalTest, TheAnswerToTheQuestionIsReturned) {
  std::atomic<int> wakes{0};
  Renewal renewal([&] { ++wakes; });
  std::jthread coordinator([&] {
    while (!renewal.pending()) std::this_thread::sleep_for(1ms);
    protocol::Renewed wrong{JobId{"j"}, 1, 99, DiskEndpoint{}, {}};
    renewal.answer(wrong);
    protocol::Renewed right{JobId{"j"}, 1, renewal.pending()->sequence, DiskEndpoint{}, {}};
    right.source->url = "fresh";
    renewal.answer(right);
  });
  const Result<DiskEndpoint> endpoint =
      renewal.ask(Error(ErrorKind::PermissionDenied, "expired"), 5s, {});
  ASSERT_TRUE(endpoint);
  EXPECT_EQ(endpoint->url, "fresh");
  EXPECT_EQ(wakes, 1);
  EXPECT_FALSE(renewal.pending());
}

TEST(RenewalTest, EndsWithoutAnAnswer) {
  Renewal renewal([] {});
  const Error why(ErrorKind::PermissionDenied, "expired");
  EXPECT_EQ(renewal.ask(why, 10ms, {}).error().kind(), ErrorKind::DeadlineExceeded);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(renewal.ask(why, 10s, stop.get_token()).error().kind(), ErrorKind::Canceled);
}

class JobStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "vmferry-agent-XXXXXX";
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    directory = path;
  }
  void TearDown() override { std::filesystem::remove_all(directory); }
  std::string directory;
};

TEST_F(JobStoreTest, ASecondAgentIsRefusedWhileTheFirstLives) {
  {
    const Result<JobStore> first = JobStore::open(directory);
    ASSERT_TRUE(first);
    const Result<JobStore> second = JobStore::open(directory);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::Unavailable);
  }
  EXPECT_TRUE(JobStore::open(directory));
}

TEST_F(JobStoreTest, KeepsJournalsEmptiesScratchAndPrunesWhatIsOld) {
  const JobId job{"uid/disk"};
  std::string journal;
  {
    const Result<JobStore> store = JobStore::open(directory);
    ASSERT_TRUE(store);
    journal = *store->prepare(job);
    ASSERT_TRUE(write_file_atomically(journal, "x"));
    ASSERT_TRUE(write_file_atomically(store->paths().scratch() + "/password", "x"));
  }
  const Result<JobStore> store = JobStore::open(directory);
  ASSERT_TRUE(store);
  EXPECT_TRUE(std::filesystem::is_empty(store->paths().scratch()));
  EXPECT_EQ(*store->prune(std::chrono::hours(1)), 0);
  EXPECT_TRUE(std::filesystem::exists(journal));
  std::filesystem::last_write_time(journal, std::filesystem::file_time_type::clock::now() - 2h);
  EXPECT_EQ(*store->prune(std::chrono::hours(1)), 1);
  EXPECT_FALSE(std::filesystem::exists(journal));
  EXPECT_TRUE(store->remove(job)) << "removing nothing is fine";
}

TEST(SafeFileNameTest, IsOneHarmlessNameForEachName) {
  struct Case {
    const char* name;
    std::string expected;
  };
  const Case cases[] = {
      {"", "%"},        {"plain-1_a.b", "plain-1_a.b"}, {"uid/disk", "uid%2Fdisk"}, {"..", "%2E."},
      {"%2F", "%252F"}, {"\xc3\xa4", "%C3%A4"}};
  for (const Case& c : cases) EXPECT_EQ(safe_file_name(c.name), c.expected);
  const std::string a(1000, 'a');
  EXPECT_EQ(safe_file_name(a).size(), 200u);
  EXPECT_NE(safe_file_name(a), safe_file_name(a + "a"));
}

}  // namespace
}  // namespace vmferry
