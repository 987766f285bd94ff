#include "transfer/copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <new>
#include <thread>

#include "tests/transfer/support/copy_run.h"
#include "tests/transfer/support/disks.h"
#include "transfer/open_sink.h"
#include "transfer/sinks/memory.h"
#include "transfer/sinks/zero_ladder.h"
#include "transfer/sources/memory.h"

namespace vmferry {
namespace {

using testing::Bytes;
using testing::Copy;
using testing::extents_of;
using ::testing::HasSubstr;
using testing::random_bytes;
using testing::RememberingJournal;

// Blocks a source's reads until they are stopped.
Result<void> never(ByteRange /*range*/, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait(lock, stop, [] { return false; });
  return Error(ErrorKind::Canceled, "read stopped");
}

TEST(CopyTest, MakesTheTargetEqualAndTellsTheDigest) {
  const Bytes content = random_bytes(5 * kChunkBytes + 777, 1);
  for (const HashAlgorithm hash : {HashAlgorithm::Xxh3_128, HashAlgorithm::Sha256}) {
    MemorySource source(content);
    MemorySink sink(content.size());
    Copy copy;
    copy.options.hash = hash;
    const Result<CopyResult> result = copy.run(source, sink);
    ASSERT_TRUE(result.ok()) << to_string(result.error());
    EXPECT_EQ(sink.durable_content(), content);
    EXPECT_EQ(result->digest, testing::reference_digest(content, hash));
    EXPECT_TRUE(result->verified);
    EXPECT_EQ(result->progress.phase, CopyPhase::Done);
    EXPECT_EQ(result->progress.moved_bytes, content.size());
    EXPECT_EQ(result->progress.verified_bytes, content.size());
  }
}

// What a server says of its size is a claim.
TEST(CopyTest, ASizeThatNoDiskHasIsRefusedBeforeMemoryIsTaken) {
  const std::uint64_t size = 1ull << 62;
  MemorySource source(size, [](std::uint64_t, std::span<std::byte>) { FAIL() << "was read"; });
  const auto sink = make_null_sink(size);
  const Result<CopyResult> result = Copy().run(source, *sink);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind(), ErrorKind::InvalidArgument);
  EXPECT_THAT(result.error().message(), HasSubstr("1 PiB"));
}

TEST(CopyTest, NothingThrows) {
  class Throwing final : public DiskSource {
   public:
    std::uint64_t size_bytes() const override { return kChunkBytes; }
    SourceHints hints() const override { throw std::bad_alloc(); }
    std::vector<std::pair<std::string, std::string>> identity() const override { return {}; }
    Result<std::vector<Extent>> extents(ByteRange, std::stop_token) override {
      return std::vector<Extent>{};
    }
    Result<void> read(std::uint64_t, std::span<std::byte>, std::stop_token) override { return {}; }
  } source;
  MemorySink sink(kChunkBytes);
  const Result<CopyResult> result = Copy().run(source, sink);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind(), ErrorKind::Unavailable) << "memory may be there the next time";
}

TEST(CopyTest, AnEmptyDiskSucceeds) {
  MemorySource source(Bytes{});
  MemorySink sink(0);
  Copy copy;
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_TRUE(result->progress.to_move_final);
}

TEST(CopyTest, RefusesEndsOfDifferentSize) {
  MemorySource source(Bytes(10));
  MemorySink sink(11);
  EXPECT_EQ(Copy().run(source, sink).error().kind(), ErrorKind::InvalidArgument);
}

TEST(CopyTest, Ns34AllZeroTenTebibytesTakeNoReads) {
  const std::uint64_t size = 10ull << 40;
  MemorySource source(size, [](std::uint64_t, std::span<std::byte>) { FAIL() << "was read"; });
  source.allocation = {{{0, size}, Allocation::Zero}};
  const testing::TemporaryDirectory directory;
  const auto sink = open_sink({.path = directory.path("disk.img"), .size_bytes = size});
  ASSERT_TRUE(sink.ok()) << to_string(sink.error());
  Copy copy;
  const auto begin = std::chrono::steady_clock::now();
  const Result<CopyResult> result = copy.run(source, **sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
  EXPECT_TRUE(result->verified);
  EXPECT_EQ(result->progress.zero_bytes, size);
  EXPECT_EQ(result->progress.to_move_bytes, 0u);
}

TEST(CopyTest, Ns35AlternatingPagesTakeFewerThanTwoWritesAChunk) {
  Bytes content(8 * kChunkBytes);
  std::string picture;
  for (std::size_t page = 0; page < content.size() / 4096; ++page) {
    picture += page % 2 == 0 ? 'D' : '0';
    if (page % 2 == 0) std::memset(content.data() + page * 4096, 0x5a, 4096);
  }
  MemorySource source(content);
  source.allocation = extents_of(picture, 4096);
  MemorySink sink(content.size());
  Copy copy;
  ASSERT_TRUE(copy.run(source, sink).ok());
  EXPECT_EQ(sink.content(), content);
  EXPECT_LT(sink.counts().writes, 2u * 8u);
}

TEST(CopyTest, Ns37GapsBetweenExtentsShowZerosAndNoStaleBytes) {
  // The source's bytes under zero extents are noise: they must never be seen.
  const std::string picture =
      "D00D0000000000DD"
      "DDDDDDDDDDDDDDDD"
      "0D0D0D0000000000";
  const std::uint64_t unit = kChunkBytes / 16;
  Bytes content = random_bytes(picture.size() * unit, 2);
  MemorySource source(content);
  source.allocation = extents_of(picture, unit);
  for (std::size_t i = 0; i < picture.size(); ++i) {
    if (picture[i] == '0') std::memset(content.data() + i * unit, 0, unit);
  }
  for (const bool zero : {true, false}) {
    MemorySink sink(content.size(), {.initially_zero = zero, .fill = std::byte(zero ? 0 : 0xff)});
    Copy copy;
    copy.options.workers = 1;
    const Result<CopyResult> result = copy.run(source, sink);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(sink.content(), content);
    EXPECT_EQ(result->digest, testing::reference_digest(content, HashAlgorithm::Xxh3_128));
    EXPECT_EQ(result->progress.moved_bytes, result->progress.to_move_bytes);
    EXPECT_EQ(result->progress.moved_bytes + result->progress.zero_bytes, content.size());
  }
}

TEST(CopyTest, Ns22SparseSourceOnADirtyTargetReadsBackZero) {
  Bytes content(6 * kChunkBytes + 100);
  std::memset(content.data() + kChunkBytes, 1, kChunkBytes);
  MemorySource source(content);
  source.allocation = extents_of("0D00000", kChunkBytes, content.size());
  MemorySink sink(content.size(), {.initially_zero = false, .fill = std::byte{0xff}});
  ASSERT_TRUE(Copy().run(source, sink).ok());
  EXPECT_EQ(sink.content(), content);
}

TEST(CopyTest, ZerosThatTheServerCallsDataAreNotWritten) {
  Bytes content(4 * kChunkBytes);
  content[3 * kChunkBytes + 5] = std::byte{1};
  MemorySource source(content);
  MemorySink sink(content.size());
  const Result<CopyResult> result = Copy().run(source, sink);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(sink.counts().written_bytes, 64u << 10);
  EXPECT_EQ(result->progress.zero_bytes, content.size() - (64u << 10));
  EXPECT_EQ(sink.content(), content);
}

TEST(CopyTest, Ns13BuffersAreOneAWorkerHoweverSlowTheTarget) {
  const std::uint64_t size = 64 * kChunkBytes;
  MemorySource source(random_bytes(size, 4));
  std::atomic<int> reading{0};
  std::atomic<int> most{0};
  source.on_read = [&](ByteRange, std::stop_token) -> Result<void> {
    int now = ++reading;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    return {};
  };
  MemorySink sink(size);
  sink.faults.on_write = [&](ByteRange) -> Result<void> {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    --reading;
    return {};
  };
  Copy copy;
  copy.options.workers = 3;
  ASSERT_TRUE(copy.run(source, sink).ok());
  EXPECT_LE(most, 3);
}

TEST(CopyTest, Ns16AFailedReadIsNeverWritten) {
  const Bytes content = random_bytes(8 * kChunkBytes, 5);
  MemorySource source(content);
  source.on_read = [](ByteRange range, std::stop_token) -> Result<void> {
    if (range.offset < 3 * kChunkBytes) return {};
    return Error(ErrorKind::DataLoss, "VMF-XFER-SOURCE-READ", "bad sector");
  };
  MemorySink sink(content.size());
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  copy.options.workers = 1;  // of several, another may meet a later offset first
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), "VMF-XFER-SOURCE-READ");
  EXPECT_THAT(result.error().message(), HasSubstr("offset 3145728"));
  const Bytes target = sink.content();
  EXPECT_TRUE(std::all_of(target.begin() + 3 * kChunkBytes, target.end(),
                          [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_FALSE(journal.complete);
}

TEST(CopyTest, Ns40ProgressIsMonotonicAndEndsAtAllBytes) {
  const Bytes content = random_bytes(200 * kChunkBytes, 8);
  MemorySource source(content);
  source.on_read = [](ByteRange, std::stop_token) -> Result<void> {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return {};
  };
  MemorySink sink(content.size());
  Copy copy;
  std::atomic<bool> over{false};
  std::jthread reader([&] {
    CopyProgress last;
    while (!over) {
      const CopyProgress now = copy.monitor.snapshot();
      EXPECT_GE(now.moved_bytes, last.moved_bytes);
      EXPECT_LE(now.moved_bytes, now.to_move_bytes);
      EXPECT_GE(now.phase, last.phase);
      last = now;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  ASSERT_TRUE(copy.run(source, sink).ok());
  over = true;
  reader.join();
  const CopyProgress last = copy.monitor.snapshot();
  EXPECT_EQ(last.moved_bytes, content.size());
  EXPECT_EQ(last.to_move_bytes, content.size());
  EXPECT_EQ(last.verified_bytes, content.size());
  EXPECT_EQ(last.phase, CopyPhase::Done);
}

TEST(CopyTest, CancelReturnsWithinTwoSecondsWithTheJournalSaved) {
  const Bytes content = random_bytes(8 * kChunkBytes, 9);
  MemorySource source(content);
  source.on_read = [](ByteRange range, std::stop_token stop) -> Result<void> {
    if (range.offset < 4 * kChunkBytes) return {};
    return never(range, stop);
  };
  MemorySink sink(content.size());
  RememberingJournal journal;
  Copy copy;
  copy.journal = &journal;
  std::stop_source stop;
  std::jthread canceller([&] {
    while (sink.counts().writes < 4) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    stop.request_stop();
  });
  const auto begin = std::chrono::steady_clock::now();
  const Result<CopyResult> result = copy.run(source, sink, stop.get_token());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind(), ErrorKind::Canceled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_EQ(journal.chunks.size(), 4u);
  EXPECT_TRUE(copy.monitor.snapshot().journal_saved);
}

TEST(CopyTest, AStopWhoseJournalCannotBeSavedIsNotToldAsSaved) {
  MemorySource source(random_bytes(4 * kChunkBytes, 9));
  RememberingJournal journal;
  journal.failure = Error(ErrorKind::ResourceExhausted, "no space left");
  std::stop_source stop;
  source.on_read = [&](ByteRange range, std::stop_token token) -> Result<void> {
    if (range.offset < 3 * kChunkBytes) return {};
    stop.request_stop();
    return never(range, token);
  };
  MemorySink sink(source.size_bytes());
  Copy copy;
  copy.journal = &journal;
  copy.options.workers = 1;
  copy.options.checkpoint_every = std::chrono::hours(1);
  const Result<CopyResult> result = copy.run(source, sink, stop.get_token());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind(), ErrorKind::Canceled);
  EXPECT_EQ(journal.records, 1);
  EXPECT_FALSE(copy.monitor.snapshot().journal_saved);
}

// A device that zeroes slowly, a step at a time, as the ladder of every sink does.
class SlowlyZeroed final : public DiskSink {
 public:
  explicit SlowlyZeroed(std::uint64_t size) : size_(size) {}
  std::uint64_t size_bytes() const override { return size_; }
  std::uint64_t alignment() const override { return 1; }
  bool initially_zero() const override { return false; }
  std::vector<std::pair<std::string, std::string>> identity() const override { return {}; }
  Result<void> write(std::uint64_t, std::span<const std::byte>) override { return {}; }
  Result<void> zero(ByteRange range, std::stop_token stop) override {
    ladder_started = true;
    return ladder_.zero(range, std::move(stop));
  }
  Result<void> flush() override { return {}; }
  Result<void> read_back(std::uint64_t, std::span<std::byte>) override { return {}; }
  Result<std::vector<ByteRange>> known_zero_ranges(ByteRange) override {
    return std::vector<ByteRange>{};
  }
  Result<void> finish() override { return {}; }
  std::atomic<bool> ladder_started{false};

 private:
  const std::uint64_t size_;
  ZeroLadder ladder_{
      {},
      [](ByteRange) -> Result<void> {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        return {};
      },
      [](int, std::string_view, ByteRange) { return Error(ErrorKind::Internal, ""); },
      nullptr};
};

TEST(CopyTest, Ns39CancelDuringALargeZeroReturnsSoon) {
  const std::uint64_t size = 1ull << 40;  // 87 minutes
  MemorySource source(size, [](std::uint64_t, std::span<std::byte>) {});
  source.allocation = {{{0, size}, Allocation::Zero}};
  SlowlyZeroed sink(size);
  std::stop_source stop;
  std::chrono::steady_clock::time_point stopped;
  std::jthread canceller([&] {
    while (!sink.ladder_started) std::this_thread::yield();
    stopped = std::chrono::steady_clock::now();
    stop.request_stop();
  });
  const Result<CopyResult> result = Copy().run(source, sink, stop.get_token());
  canceller.join();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind(), ErrorKind::Canceled);
  EXPECT_LT(std::chrono::steady_clock::now() - stopped, std::chrono::seconds(2));
}

TEST(CopyTest, Ns11ASourceThatFallsSilentIsStalled) {
  MemorySource source(Bytes(4 * kChunkBytes, std::byte{1}));
  source.on_read = never;
  source.counted.last_error = "connection reset";
  MemorySink sink(source.size_bytes());
  Copy copy;
  copy.options.stall_limit = std::chrono::seconds(1);
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), "VMF-XFER-STALLED");
  EXPECT_EQ(result.error().kind(), ErrorKind::Unavailable);
  EXPECT_THAT(result.error().message(), HasSubstr("connection reset"));
}

TEST(CopyTest, WaitingForBandwidthIsNoStall) {
  MemorySource source(Bytes(2 * kChunkBytes, std::byte{1}));
  MemorySink sink(source.size_bytes());
  Copy copy;
  Throttle throttle(copy.clock, kChunkBytes * 8 / 10);  // 2.5 s for both
  copy.throttle = &throttle;
  copy.options.stall_limit = std::chrono::seconds(1);
  const Result<CopyResult> result = copy.run(source, sink);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
}

TEST(CopyTest, LongRequestsAreSplitIntoChunks) {
  const Bytes content = random_bytes(37 * kChunkBytes + 5, 15);
  MemorySource source(content);
  source.hints_given.request_bytes = 8 * kChunkBytes;
  MemorySink sink(content.size());
  const Result<CopyResult> result = Copy().run(source, sink);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(source.read_calls(), 5u);
  EXPECT_EQ(sink.content(), content);
  EXPECT_EQ(result->digest, testing::reference_digest(content, HashAlgorithm::Xxh3_128));
}

// What is asked for at once comes at the line's rate, whatever the limit.
TEST(CopyTest, UnderALimitRequestsAreAQuarterOfASecondAtMost) {
  struct Case {
    std::uint64_t rate;
    std::uint64_t longest;
  };
  for (const Case& c : {Case{kChunkBytes, kChunkBytes}, Case{64 * kChunkBytes, 4 * kChunkBytes},
                        Case{1000 * kChunkBytes, 8 * kChunkBytes}}) {
    SCOPED_TRACE(c.rate);
    MemorySource source(random_bytes(64 * kChunkBytes, 15));
    source.hints_given.request_bytes = 8 * kChunkBytes;
    std::atomic<std::uint64_t> longest{0};
    source.on_read = [&](ByteRange range, std::stop_token) -> Result<void> {
      std::uint64_t seen = longest;
      while (range.length > seen && !longest.compare_exchange_weak(seen, range.length)) {
      }
      return {};
    };
    MemorySink sink(source.size_bytes());
    const FakeClock time;
    Throttle agent(time, c.rate);
    Throttle throttle(time, 0, &agent);
    Copy copy;
    copy.throttle = &throttle;
    copy.options.workers = 4;
    ASSERT_TRUE(copy.run(source, sink).ok());
    EXPECT_EQ(longest, c.longest);
  }
}

TEST(CopyTest, ASequentialSourceIsReadInOrderByOneWorker) {
  const Bytes content = random_bytes(20 * kChunkBytes, 16);
  MemorySource source(content);
  source.hints_given.sequential = true;
  std::uint64_t next = 0;
  source.on_read = [&](ByteRange range, std::stop_token) -> Result<void> {
    EXPECT_EQ(range.offset, next);
    next = range.end();
    return {};
  };
  MemorySink sink(content.size());
  ASSERT_TRUE(Copy().run(source, sink).ok());
}

TEST(CopyTest, ExtentsThatMakeNoSenseAreRefused) {
  for (const auto& [name, lie] : {std::pair<const char*, Extent>{"gap", {{5, 5}, Allocation::Data}},
                                  {"nothing", {{0, 0}, Allocation::Data}},
                                  {"beyond the end", {{0, 2 * kChunkBytes}, Allocation::Zero}}}) {
    SCOPED_TRACE(name);
    class Liar final : public DiskSource {
     public:
      explicit Liar(Extent lie) : lie_(lie) {}
      std::uint64_t size_bytes() const override { return kChunkBytes; }
      SourceHints hints() const override { return {}; }
      std::vector<std::pair<std::string, std::string>> identity() const override { return {}; }
      Result<std::vector<Extent>> extents(ByteRange, std::stop_token) override {
        return std::vector<Extent>{lie_};
      }
      Result<void> read(std::uint64_t, std::span<std::byte>, std::stop_token) override {
        return {};
      }

     private:
      Extent lie_;
    } source(lie);
    MemorySink sink(kChunkBytes);
    const Result<CopyResult> result = Copy().run(source, sink);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind(), ErrorKind::DataLoss);
  }
}

TEST(CopyTest, TheNullSinkTakesEverything) {
  const Bytes content = random_bytes(3 * kChunkBytes, 17);
  MemorySource source(content);
  const auto sink = make_null_sink(content.size());
  Copy copy;
  copy.options.verify = VerifyMode::None;
  const Result<CopyResult> result = copy.run(source, *sink);
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->verified);
  EXPECT_EQ(result->digest, testing::reference_digest(content, HashAlgorithm::Xxh3_128));
}

}  // namespace
}  // namespace vmferry
