// What a copy records while it runs, and what it goes on from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "common/catalogue.h"
#include "tests/transfer/support/copy_run.h"
#include "tests/transfer/support/disks.h"
#include "transfer/copy.h"
#include "transfer/sinks/memory.h"
#include "transfer/sources/memory.h"

namespace vmferry {
namespace {

using testing::Bytes;
using testing::Copy;
using ::testing::HasSubstr;
using testing::random_bytes;
using testing::RememberingJournal;

TEST(CopyJournalTest, Ns25AFailedFlushRecordsNothingAndFails) {
  const Bytes content = random_bytes(4 * kChunkBytes, 6);
  MemorySource source(content);
  MemorySink sink(content.size());
  int flushes = 0;
  sink.faults.on_flush = [&]() -> Result<void> {
    // Only the first fails: the kernel reports a lost write once.
    if (++flushes == 1) return Error(ErrorKind::DataLoss, "VMF-DST-IO", "fsync: I/O error");
    return {};
  };
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  copy.options.checkpoint_every = std::chrono::milliseconds(1);
  source.on_read = [](ByteRange, std::stop_token) -> Result<void> {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return {};
  };
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), "VMF-DST-IO");
  EXPECT_TRUE(journal.chunks.empty());
}

// A flush of network storage may take tens of seconds.
TEST(CopyJournalTest, Nr10TheCopyGoesOnWhileAFlushTakesItsTime) {
  const Bytes content = random_bytes(12 * kChunkBytes, 21);
  MemorySource source(content);
  MemorySink sink(content.size());
  std::atomic<bool> all_written_meanwhile{false};
  std::atomic<int> flushes{0};
  sink.faults.on_flush = [&]() -> Result<void> {
    if (++flushes > 1) return {};
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (sink.counts().writes < 12 && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    all_written_meanwhile = sink.counts().writes == 12;
    return {};
  };
  source.on_read = [&](ByteRange range, std::stop_token) -> Result<void> {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (range.offset > 4 * kChunkBytes && flushes == 0 &&
           std::chrono::steady_clock::now() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return {};
  };
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  copy.options.workers = 2;
  copy.options.checkpoint_every = std::chrono::milliseconds(1);
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_TRUE(all_written_meanwhile);
  EXPECT_EQ(sink.durable_content(), content);
}

TEST(CopyJournalTest, TheFirstCheckpointsOfASlowCopyComeSooner) {
  const Bytes content = random_bytes(4 * kChunkBytes, 23);
  MemorySource source(content);
  MemorySink sink(content.size());
  std::atomic<bool> has_flushed{false};
  std::atomic<bool> flushed_in_time{false};
  sink.faults.on_flush = [&]() -> Result<void> {
    has_flushed = true;
    return {};
  };
  source.on_read = [&](ByteRange range, std::stop_token) -> Result<void> {
    if (range.offset != 3 * kChunkBytes) return {};
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!has_flushed && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    flushed_in_time = has_flushed.load();
    return {};
  };
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  copy.options.workers = 1;
  copy.options.verify = VerifyMode::None;
  copy.options.checkpoint_every = std::chrono::seconds(40);
  ASSERT_TRUE(copy.run(source, sink).ok());
  EXPECT_TRUE(flushed_in_time) << "after a fifth of the interval";
}

TEST(CopyJournalTest, Ns24AFullTargetEndsCleanlyWithTheJournalAtWhatIsDurable) {
  const Bytes content = random_bytes(16 * kChunkBytes, 7);
  MemorySource source(content);
  MemorySink sink(content.size());
  std::atomic<int> writes{0};
  sink.faults.on_write = [&](ByteRange) -> Result<void> {
    if (++writes <= 5) return {};
    return Error(ErrorKind::ResourceExhausted, "VMF-DST-FULL", "no space");
  };
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), "VMF-DST-FULL");
  EXPECT_EQ(journal.chunks.size(), 5u);
  const Bytes durable = sink.durable_content();
  for (const DurableChunk& chunk : journal.chunks) {
    EXPECT_EQ(std::memcmp(durable.data() + chunk.index * kChunkBytes,
                          content.data() + chunk.index * kChunkBytes, kChunkBytes),
              0);
  }
}

TEST(CopyJournalTest, TroubleWithTheJournalIsNotTheTargets) {
  for (const Error& trouble : {Error(ErrorKind::ResourceExhausted, "VMF-DST-FULL", "no space left"),
                               Error(ErrorKind::DataLoss, "I/O error")}) {
    SCOPED_TRACE(to_string(trouble));
    MemorySource source(random_bytes(4 * kChunkBytes, 7));
    MemorySink sink(source.size_bytes());
    RememberingJournal journal;
    journal.failure = trouble;
    Copy copy;
    copy.journal = &journal;
    const Result<CopyResult> result = copy.run(source, sink);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind(), ErrorKind::Unavailable);
    EXPECT_EQ(result.error().code(), "VMF-XFER-JOURNAL-IO");
    EXPECT_THAT(result.error().message(), HasSubstr(trouble.message()));
    EXPECT_FALSE(copy.monitor.snapshot().journal_saved);
  }
}

TEST(CopyJournalTest, ResumesWithoutReadingDurableChunksAndTrustsNothingElse) {
  const Bytes content = random_bytes(6 * kChunkBytes + 9, 10);
  MemorySink sink(content.size(), {.initially_zero = false, .fill = std::byte{0xee}});
  RememberingJournal journal;
  std::stop_source stop;
  {
    MemorySource source(content);
    source.on_read = [&](ByteRange range, std::stop_token) -> Result<void> {
      if (range.offset >= 3 * kChunkBytes) return Error(ErrorKind::Unavailable, "gone");
      return {};
    };
    Copy copy;
    copy.options.workers = 1;
    copy.journal = &journal;
    ASSERT_FALSE(copy.run(source, sink).ok());
  }
  ASSERT_EQ(journal.chunks.size(), 3u);
  ASSERT_TRUE(
      sink.write(5 * kChunkBytes, random_bytes(kChunkBytes, 11)).ok());  // torn, not durable
  sink.crash();
  journal.continues = true;
  MemorySource source(content);
  Copy copy;
  copy.journal = &journal;
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_EQ(sink.durable_content(), content);
  EXPECT_EQ(source.read_bytes(), content.size() - 3 * kChunkBytes);
  EXPECT_EQ(result->progress.resumed_bytes, 3 * kChunkBytes);
  EXPECT_EQ(result->progress.moved_bytes, content.size());
  EXPECT_EQ(result->digest, testing::reference_digest(content, HashAlgorithm::Xxh3_128));
  EXPECT_TRUE(journal.complete);
}

TEST(CopyJournalTest, AJournalOfAnotherShapeIsRefused) {
  RememberingJournal journal;
  journal.continues = true;
  journal.chunks = {{9, LeafDigest(16)}};
  MemorySource source{Bytes(kChunkBytes)};
  MemorySink sink(kChunkBytes, {.initially_zero = false});
  Copy copy;
  copy.journal = &journal;
  EXPECT_EQ(copy.run(source, sink).error().code(), "VMF-XFER-JOURNAL-INVALID");
  journal.chunks = {{0, LeafDigest(16)}};
  MemorySink fresh(kChunkBytes);
  EXPECT_EQ(copy.run(source, fresh).error().code(), "VMF-XFER-JOURNAL-INVALID");
}

}  // namespace
}  // namespace vmferry
