// The target is read back and compared, behind the copy or after it; what differs is told and
// mended.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "tests/transfer/support/copy_run.h"
#include "tests/transfer/support/disks.h"
#include "transfer/sinks/memory.h"
#include "transfer/sources/memory.h"

namespace vmferry {
namespace {

using testing::Bytes;
using ::testing::Contains;
using testing::Copy;
using testing::extents_of;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::random_bytes;
using testing::RememberingJournal;

// ThreadSanitizer sees each byte of the disks.
#ifdef __SANITIZE_THREAD__
constexpr int kFlips = 10;
#else
constexpr int kFlips = 60;
#endif

// A target that an earlier attempt wrote: nothing is known to be zero, and its zeros stay as they
// are.
class ResumedSink final : public DiskSink {
 public:
  explicit ResumedSink(MemorySink& sink) : sink_(sink) {}
  std::uint64_t size_bytes() const override { return sink_.size_bytes(); }
  std::uint64_t alignment() const override { return 1; }
  bool initially_zero() const override { return false; }
  std::vector<std::pair<std::string, std::string>> identity() const override { return {}; }
  Result<void> write(std::uint64_t at, std::span<const std::byte> from) override {
    return sink_.write(at, from);
  }
  Result<void> zero(ByteRange, std::stop_token) override { return {}; }
  Result<void> flush() override { return sink_.flush(); }
  Result<void> read_back(std::uint64_t at, std::span<std::byte> into) override {
    return sink_.read_back(at, into);
  }
  Result<std::vector<ByteRange>> known_zero_ranges(ByteRange) override {
    return std::vector<ByteRange>{};
  }
  Result<void> finish() override { return flush(); }

 private:
  MemorySink& sink_;
};

TEST(VerifyTest, TheJournalCanAnswerWhileNothingButVerifyingGoesOn) {
  MemorySource source(random_bytes(2 * kChunkBytes, 3));
  RememberingJournal journal;
  MemorySink sink(2 * kChunkBytes);
  sink.faults.on_read_back = [&journal](ByteRange) -> Result<void> {
    for (int waited = 0; journal.catch_ups < 3 && waited < 6000; ++waited) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return {};
  };
  Copy copy;
  copy.journal = &journal;
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_GE(journal.catch_ups, 3);
  EXPECT_TRUE(result->verified);
}

TEST(VerifyTest, AFlippedBitIsFoundAndRepairedOnce) {
  const Bytes content = random_bytes(4 * kChunkBytes, 12);
  MemorySource source(content);
  MemorySink sink(content.size());
  std::once_flag flipped;
  sink.faults.on_read_back = [&](ByteRange) -> Result<void> {
    std::call_once(flipped,
                   [&] { sink.flip_bit(2 * kChunkBytes + 12345); });  // before anybody's first look
    return {};
  };
  const Result<CopyResult> result = Copy().run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_EQ(sink.durable_content(), content);
  EXPECT_EQ(result->repaired_offsets, std::vector<std::uint64_t>{2 * kChunkBytes + 12345});
}

// Whatever bit it is, in data, in zeros or in the odd end; read back behind the copy or after it.
TEST(VerifyTest, AnyFlippedBitIsFoundAndItsOffsetTold) {
  std::mt19937_64 random(std::random_device{}());
  for (int round = 0; round < kFlips; ++round) {
    const testing::RandomDisk disk = testing::random_disk(1 + random() % (5 * kChunkBytes), random);
    MemorySource source(disk.content);
    source.allocation = disk.extents;
    MemorySink sink(disk.content.size());
    const std::uint64_t offset = random() % disk.content.size();
    SCOPED_TRACE(fmt::format("{} of {}", offset, disk.content.size()));
    // A reader may be ahead of the flip; the second attempt, which resumes, is not.
    RememberingJournal journal;
    Copy copy;
    copy.journal = &journal;
    if (round % 2 == 0) copy.options.verify = VerifyMode::ReadBackAfter;
    ASSERT_TRUE(copy.run(source, sink).ok());
    sink.flip_bit(offset);
    journal.continues = true;
    ResumedSink resumed(sink);
    const Result<CopyResult> result = copy.run(source, resumed);
    ASSERT_TRUE(result.ok()) << to_string(result.error());
    EXPECT_EQ(result->repaired_offsets, std::vector<std::uint64_t>{offset});
    EXPECT_TRUE(sink.durable_content() == disk.content);
  }
}

// At 1 MiB/s: four seconds for the copy, and one for the chunk that is copied again.
TEST(VerifyTest, ARepairHeedsTheLimit) {
  MemorySource source(random_bytes(4 * kChunkBytes, 22));
  MemorySink sink(4 * kChunkBytes);
  std::once_flag flipped;
  sink.faults.on_read_back = [&](ByteRange) -> Result<void> {
    std::call_once(flipped, [&] { sink.flip_bit(12345); });  // before anybody's first look
    return {};
  };
  const FakeClock time;
  Throttle throttle(time, kChunkBytes);
  Copy copy;
  copy.throttle = &throttle;
  copy.options.verify = VerifyMode::ReadBackAfter;
  const SteadyTime start = time.steady();
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_EQ(result->repaired_offsets.size(), 1u);
  EXPECT_NEAR(Seconds(time.steady() - start).count(), 5.0, 0.5);
}

TEST(VerifyTest, ABitThatFlipsAgainAndAgainIsReportedWithItsOffset) {
  const Bytes content = random_bytes(4 * kChunkBytes, 13);
  MemorySource source(content);
  MemorySink sink(content.size());
  sink.faults.on_flush = [&]() -> Result<void> { return {}; };
  sink.faults.on_read_back = [&](ByteRange range) -> Result<void> {
    const std::uint64_t rotten = 2 * kChunkBytes + 99;
    if (range.offset == 2 * kChunkBytes && sink.content()[rotten] == content[rotten]) {
      sink.flip_bit(rotten);
    }
    return {};
  };
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind(), ErrorKind::DataLoss);
  EXPECT_EQ(result.error().code(), "VMF-XFER-VERIFY-FAILED");
  EXPECT_THAT(result.error().message(), HasSubstr(std::to_string(2 * kChunkBytes + 99)));
  // A later attempt that does not verify must not take it for copied.
  EXPECT_EQ(journal.chunks.size(), 3u);
  EXPECT_THAT(journal.chunks, Not(Contains(Field(&DurableChunk::index, 2u))));
}

TEST(VerifyTest, ASourceThatGivesOtherBytesForARepairHasChangedAndNothingIsBelieved) {
  const Bytes content = random_bytes(4 * kChunkBytes, 14);
  MemorySource source(content);
  MemorySink sink(content.size());
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  std::once_flag flipped;
  sink.faults.on_read_back = [&](ByteRange) -> Result<void> {
    std::call_once(flipped,
                   [&] { sink.flip_bit(2 * kChunkBytes + 12345); });  // before anybody's first look
    return {};
  };
  Bytes other = content;
  other[2 * kChunkBytes + 5] ^= std::byte{1};
  MemorySource later(other);
  ASSERT_TRUE(copy.run(source, sink).ok());  // repaired: the source is the same
  sink.flip_bit(2 * kChunkBytes + 12345);
  journal.continues = true;
  ResumedSink resumed(sink);
  const Result<CopyResult> result = copy.run(later, resumed);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), "VMF-SRC-CHANGED") << to_string(result.error());
  EXPECT_TRUE(journal.invalid);
  EXPECT_TRUE(journal.chunks.empty()) << "whichever other chunk is of which state nobody knows";
}

TEST(VerifyTest, AChunkThatDiffersIsForgottenAlsoWhenTheCopyFails) {
  const Bytes content = random_bytes(8 * kChunkBytes, 16);
  MemorySource source(content);
  MemorySink sink(content.size());
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  copy.options.checkpoint_every = std::chrono::milliseconds(10);
  std::atomic<bool> compared{false};
  sink.faults.on_read_back = [&](ByteRange range) -> Result<void> {
    if (range.offset == 0) {
      sink.flip_bit(77);
      compared = true;
    }
    return {};
  };
  source.on_read = [&](ByteRange range, std::stop_token stop) -> Result<void> {
    if (range.offset != 7 * kChunkBytes) return {};
    while (!compared && !stop.stop_requested()) std::this_thread::yield();
    return Error(ErrorKind::Unavailable, "the source is gone");
  };
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind(), ErrorKind::Unavailable);
  EXPECT_FALSE(journal.chunks.empty());
  EXPECT_THAT(journal.chunks, Not(Contains(Field(&DurableChunk::index, 0u))));
}

// The last chunk is held back until the first ones were read back.
TEST(VerifyTest, WhatIsFlushedIsReadBackBehindTheCopyAndRepairedAtItsEnd) {
  const Bytes content = random_bytes(8 * kChunkBytes + 77, 15);
  MemorySource source(content);
  MemorySink sink(content.size());
  std::atomic<std::uint64_t> read_back{0};
  source.on_read = [&](ByteRange range, std::stop_token) -> Result<void> {
    if (range.offset != 8 * kChunkBytes) return {};
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (read_back == 0 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    return {};
  };
  sink.faults.on_read_back = [&](ByteRange range) -> Result<void> {
    if (range.offset == 2 * kChunkBytes && read_back == 0) sink.flip_bit(2 * kChunkBytes + 5);
    if (sink.durable_content()[range.offset] != content[range.offset]) {
      return Error(ErrorKind::Internal, "read back before it was flushed");
    }
    read_back += range.length;
    return {};
  };
  Copy copy;
  copy.options.workers = 1;
  copy.options.verify_flush_bytes = 3 * kChunkBytes;
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_TRUE(result->verified);
  EXPECT_EQ(result->progress.verified_bytes, content.size());
  EXPECT_GE(read_back, 3 * kChunkBytes);
  EXPECT_EQ(sink.durable_content(), content);
}

TEST(VerifyTest, ReadBackAfterTheCopyTouchesNothingBefore) {
  const Bytes content = random_bytes(4 * kChunkBytes, 16);
  MemorySource source(content);
  MemorySink sink(content.size());
  std::atomic<bool> early{false};
  sink.faults.on_read_back = [&](ByteRange) -> Result<void> {
    if (source.read_bytes() != content.size()) early = true;
    return {};
  };
  Copy copy;
  copy.options.verify = VerifyMode::ReadBackAfter;
  copy.options.verify_flush_bytes = 1;
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_TRUE(result->verified);
  EXPECT_FALSE(early);
}

TEST(VerifyTest, ComparesTheServersDigest) {
  const Bytes content = random_bytes(2 * kChunkBytes + 1, 14);
  const std::string right =
      testing::reference_digest(content, HashAlgorithm::Sha256).substr(std::strlen("sha256:"));
  struct Case {
    const char* name;
    std::optional<SourceDigest> digest;
    bool ok;
    bool matched;
  };
  for (const Case& c :
       {Case{"equal", SourceDigest{"sha256", right}, true, true},
        Case{"different", SourceDigest{"sha256", std::string(64, '0')}, false, false},
        Case{"not offered", std::nullopt, true, false}}) {
    SCOPED_TRACE(c.name);
    MemorySource source(content);
    source.digest = c.digest;
    MemorySink sink(content.size());
    Copy copy;
    copy.options.compare_source_digest = true;
    const Result<CopyResult> result = copy.run(source, sink);
    ASSERT_EQ(result.ok(), c.ok);
    if (result) {
      EXPECT_EQ(result->source_digest_matched, c.matched);
    } else {
      EXPECT_EQ(result.error().code(), "VMF-XFER-VERIFY-FAILED");
    }
  }
}

TEST(VerifyTest, Ns23ATargetThatLiesAboutBeingZeroIsCaughtByTheReadBack) {
  Bytes content(2 * kChunkBytes);
  MemorySource source(content);
  source.allocation = extents_of("00");
  MemorySink sink(content.size(),
                  {.initially_zero = true, .fill = std::byte{0xff}, .knows_zeroes = false});
  const Result<CopyResult> result = Copy().run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());  // repaired from the source
  EXPECT_EQ(sink.content(), content);
}

}  // namespace
}  // namespace vmferry
