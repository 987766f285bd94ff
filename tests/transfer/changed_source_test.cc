// A source whose server comes back with another state in the middle of a copy: what was copied is
// believed by nobody any more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "tests/transfer/support/copy_run.h"
#include "tests/transfer/support/disks.h"
#include "transfer/digest.h"
#include "transfer/resume.h"
#include "transfer/sinks/memory.h"
#include "transfer/sources/fingerprint.h"
#include "transfer/sources/memory.h"

namespace vmferry {
namespace {

using testing::Bytes;
using testing::Copy;
using ::testing::HasSubstr;
using testing::random_bytes;
using testing::RememberingJournal;

constexpr std::uint64_t kSize = 32 * kChunkBytes;
constexpr std::uint64_t kChanged = 3 * kChunkBytes;  // a byte that no content sample covers

// Its server is restarted with the new state when the chunk at `restart_at` is read.
class RestartedSource final : public DiskSource {
 public:
  RestartedSource(const Bytes& before, const Bytes& after, std::uint64_t restart_at)
      : before_(before), after_(after), restart_at_(restart_at) {}

  std::uint64_t size_bytes() const override { return kSize; }
  SourceHints hints() const override { return {.workers = 1}; }
  std::vector<std::pair<std::string, std::string>> identity() const override {
    return {{"uri", "nbd://server/disk"}};
  }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token) override {
    return std::vector<Extent>{{range, Allocation::Data}};
  }
  Result<void> read(std::uint64_t offset, std::span<std::byte> into, std::stop_token) override {
    if (offset == restart_at_ && into.size() == kChunkBytes) restarts_ = 1;
    const Bytes& disk = restarts_ == 0 ? before_ : after_;
    std::copy_n(disk.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return {};
  }
  SourceCounters counters() const override {
    SourceCounters counters;
    counters.reconnects = restarts_;
    return counters;
  }

 private:
  const Bytes& before_;
  const Bytes& after_;
  const std::uint64_t restart_at_;
  std::atomic<std::uint64_t> restarts_{0};
};

class ChangedSourceTest : public ::testing::Test {
 protected:
  ChangedSourceTest() { after_[kChanged] ^= std::byte{1}; }

  std::unique_ptr<DiskSource> source(const Bytes& before, std::uint64_t restart_at) const {
    auto source = with_fingerprint(std::make_unique<RestartedSource>(before, after_, restart_at),
                                   Doubt::Reconnects, {});
    EXPECT_TRUE(source.ok());
    return *std::move(source);
  }
  Result<TargetOpen> open(const DiskSource& from,
                          const std::optional<ResumeState>& coordinator = std::nullopt,
                          ChangedSource changed = ChangedSource::StartOver) {
    return open_target({.path = directory_.path("disk.img"), .size_bytes = kSize},
                       {.job = "job",
                        .size_bytes = kSize,
                        .hash = "xxh3-128",
                        .source = from.identity(),
                        .target = {}},
                       directory_.path("journal"), coordinator,
                       [this](const std::vector<DurableChunk>& chunks) {
                         told_.insert(told_.end(), chunks.begin(), chunks.end());
                       },
                       {.changed = changed, .will_verify = true});
  }
  // Copies until the server comes back with another state; what a coordinator knows then.
  ResumeState first_run() {
    const auto from = source(before_, 9 * kChunkBytes);
    Result<TargetOpen> target = open(*from);
    EXPECT_TRUE(target.ok());
    Copy copy;
    copy.journal = target->journal.get();
    // Some of it is recorded before the change is noticed.
    EXPECT_TRUE(from->identity() == source(after_, kSize)->identity()) << "the samples miss it";
    copy.options.checkpoint_every = std::chrono::milliseconds(1);
    const Result<CopyResult> result = copy.run(*from, *target->sink);
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), "VMF-SRC-CHANGED") << to_string(result.error());
    EXPECT_EQ(copy.monitor.snapshot().durable_bytes, 0u);
    return {target->epoch, target->identity, told_};
  }
  void expect_started_over(const std::optional<ResumeState>& coordinator, ChangedSource changed) {
    const auto from = source(after_, kSize);
    const Result<TargetOpen> target = open(*from, coordinator, changed);
    ASSERT_TRUE(target.ok()) << to_string(target.error());
    EXPECT_TRUE(target->started_over);
    EXPECT_THAT(target->reason, HasSubstr("the source changed while"));
    EXPECT_FALSE(target->journal->resumed());
    Copy copy;
    copy.journal = target->journal.get();
    const Result<CopyResult> result = copy.run(*from, *target->sink);
    ASSERT_TRUE(result.ok()) << to_string(result.error());
    EXPECT_EQ(result->progress.resumed_bytes, 0u);
    EXPECT_TRUE(testing::read_whole(directory_.path("disk.img"), kSize) == after_);
  }

  const Bytes before_ = random_bytes(kSize, 31);
  Bytes after_ = before_;
  testing::TemporaryDirectory directory_;
  std::vector<DurableChunk> told_;
};

TEST_F(ChangedSourceTest, WhatWasCopiedBeforeIsNotBelievedByTheNextRun) {
  for (const ChangedSource changed : {ChangedSource::StartOver, ChangedSource::Refuse}) {
    std::filesystem::remove(directory_.path("disk.img"));
    std::filesystem::remove(directory_.path("journal"));
    first_run();
    expect_started_over(std::nullopt, changed);
  }
}

TEST_F(ChangedSourceTest, NeitherIsWhatTheCoordinatorRemembers) {
  ResumeState coordinator = first_run();
  // All that was read of the old state, whether or not a checkpoint was in time for it.
  Result<LeafHasher> hasher = LeafHasher::make(HashAlgorithm::Xxh3_128);
  coordinator.chunks.clear();
  for (std::uint64_t index = 0; index < 8; ++index) {
    DurableChunk chunk{index, LeafDigest(16)};
    ASSERT_TRUE(
        hasher->hash(std::span(before_).subspan(index * kChunkBytes, kChunkBytes), chunk.digest)
            .ok());
    coordinator.chunks.push_back(std::move(chunk));
  }
  expect_started_over(coordinator, ChangedSource::StartOver);
}

// An agent that starts the target over is killed before it has told.
TEST_F(ChangedSourceTest, TheMarkLastsUntilTheTargetIsStartedOver) {
  const ResumeState coordinator = first_run();
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto from = source(after_, kSize);
    const Result<TargetOpen> target = open(*from, coordinator);
    ASSERT_TRUE(target.ok()) << to_string(target.error());
    EXPECT_TRUE(target->started_over);
    EXPECT_NE(target->epoch, coordinator.epoch);
  }
}

TEST_F(ChangedSourceTest, ItIsToldThoughTheCopyWasStoppedBefore) {
  const auto from = source(before_, 9 * kChunkBytes);
  MemorySink sink(kSize);
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  copy.options.checkpoint_every = std::chrono::hours(1);
  std::stop_source stop;
  sink.faults.on_write = [&](ByteRange range) -> Result<void> {
    if (range.offset < 8 * kChunkBytes) return {};
    stop.request_stop();
    return Error(ErrorKind::DataLoss, "VMF-SRC-CHANGED", "as one of several workers may find");
  };
  const Result<CopyResult> result = copy.run(*from, sink, stop.get_token());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), "VMF-SRC-CHANGED") << to_string(result.error());
  EXPECT_EQ(journal.records, 0) << "a crash before the mark must not leave them";
  EXPECT_TRUE(journal.invalid);
  EXPECT_TRUE(journal.chunks.empty());
  EXPECT_FALSE(copy.monitor.snapshot().journal_saved);
}

TEST_F(ChangedSourceTest, AJournalThatCannotBeMarkedIsToldOf) {
  const auto from = source(before_, 9 * kChunkBytes);
  MemorySink sink(kSize);
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  copy.options.checkpoint_every = std::chrono::hours(1);
  journal.failure = Error(ErrorKind::DataLoss, "I/O error");
  const Result<CopyResult> result = copy.run(*from, sink);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), "VMF-SRC-CHANGED");
  EXPECT_THAT(result.error().message(), HasSubstr("remove it"));
}

}  // namespace
}  // namespace vmferry
