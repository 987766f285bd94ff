// Random disks, sizes and faults on both ends: an identical target or a clean error, and a resume
// that ends with an identical target.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>

#include "tests/transfer/support/disks.h"
#include "transfer/copy.h"
#include "transfer/resume.h"
#include "transfer/sinks/memory.h"
#include "transfer/sources/memory.h"

namespace vmferry {
namespace {

// ThreadSanitizer sees each byte of the disks: a twentieth of the speed.
#ifdef __SANITIZE_THREAD__
constexpr int kRounds = 40;
#else
constexpr int kRounds = 300;
#endif

constexpr std::uint64_t kSizes[] = {0,
                                    1,
                                    511,
                                    512,
                                    4096,
                                    4097,
                                    kChunkBytes - 1,
                                    kChunkBytes,
                                    kChunkBytes + 1,
                                    3 * kChunkBytes + 513,
                                    9 * kChunkBytes + 7};

struct Ends {
  explicit Ends(const testing::RandomDisk& disk, std::mt19937_64& random) : source(disk.content) {
    source.allocation = disk.extents;
    source.extents_per_answer = 1 + random() % 5;
    source.hints_given.workers = static_cast<int>(1 + random() % 4);
    source.hints_given.request_bytes = random() % 3 == 0 ? 4 * kChunkBytes : kChunkBytes;
  }
  Result<CopyResult> copy(DiskSink& sink, Journal* journal) {
    CopyOptions options;
    options.checkpoint_every = std::chrono::milliseconds(1);
    options.verify = verify;
    CopyMonitor monitor;
    const SystemClock clock;
    return copy_disk(source, sink, journal, nullptr, options, monitor, clock, Logger(),
                     stop.get_token());
  }
  MemorySource source;
  std::stop_source stop;
  VerifyMode verify = VerifyMode::ReadBack;
};

// What goes wrong in a copy, at one call of those that it makes.
enum class Trouble { None, Read, Extents, Write, Zero, Flush, ReadBack, Stop, kCount };

TEST(CopyPropertyTest, EqualTargetOrCleanErrorInMemory) {
  std::mt19937_64 random(20'260'101);
  std::array<int, static_cast<std::size_t>(Trouble::kCount)> failed{};
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t size = kSizes[random() % std::size(kSizes)];
    const testing::RandomDisk disk = testing::random_disk(size, random);
    Ends ends(disk, random);
    const auto trouble = static_cast<Trouble>(random() % failed.size());
    // A target that is zero is never made so.
    MemorySink::Options options{.initially_zero = trouble != Trouble::Zero && random() % 2 == 0};
    if (!options.initially_zero) options.fill = std::byte{0xa5};
    MemorySink sink(size, options);
    if (random() % 2 == 0) ends.verify = VerifyMode::ReadBackAfter;
    SCOPED_TRACE(fmt::format("round {}, trouble {}", round, static_cast<int>(trouble)));
    // Zeros are few and long.
    const std::uint64_t within = trouble == Trouble::Zero ? 3 : 12;
    std::atomic<std::int64_t> calls{static_cast<std::int64_t>(random() % within)};
    const auto fault = [&]() -> Result<void> {
      if (--calls != 0) return {};
      return Error(ErrorKind::DataLoss, "VMF-DST-IO", "a fault");
    };
    switch (trouble) {
      case Trouble::Read:
        ends.source.on_read = [&](ByteRange, std::stop_token) { return fault(); };
        break;
      case Trouble::Extents:
        ends.source.on_extents = [&](ByteRange, std::stop_token) { return fault(); };
        break;
      case Trouble::Write:
        sink.faults.on_write = [&](ByteRange) { return fault(); };
        break;
      case Trouble::Zero:
        sink.faults.on_zero = [&](ByteRange, std::stop_token) { return fault(); };
        break;
      case Trouble::Flush:
        sink.faults.on_flush = [&] { return fault(); };
        break;
      case Trouble::ReadBack:
        sink.faults.on_read_back = [&](ByteRange) { return fault(); };
        break;
      case Trouble::Stop: {  // between any two calls
        const auto stop = [&]() -> Result<void> {
          if (--calls == 0) ends.stop.request_stop();
          return {};
        };
        ends.source.on_read = [stop](ByteRange, std::stop_token) { return stop(); };
        ends.source.on_extents = ends.source.on_read;
        sink.faults.on_write = [stop](ByteRange) { return stop(); };
        sink.faults.on_flush = stop;
        sink.faults.on_read_back = sink.faults.on_write;
        break;
      }
      case Trouble::None:
      case Trouble::kCount:
        break;
    }
    const Result<CopyResult> result = ends.copy(sink, nullptr);
    if (!result) {
      ++failed[static_cast<std::size_t>(trouble)];
      ASSERT_EQ(result.error().kind(),
                trouble == Trouble::Stop ? ErrorKind::Canceled : ErrorKind::DataLoss)
          << to_string(result.error());
      continue;
    }
    ASSERT_TRUE(sink.durable_content() == disk.content);
    ASSERT_EQ(result->digest, testing::reference_digest(disk.content, HashAlgorithm::Xxh3_128));
    ASSERT_EQ(result->progress.moved_bytes, result->progress.to_move_bytes);
    ASSERT_EQ(result->progress.verified_bytes, size);
  }
  EXPECT_EQ(failed[0], 0) << "without any trouble";
  if (kRounds < 300) return;
  for (std::size_t i = 1; i < failed.size(); ++i) EXPECT_GT(failed[i], 0) << "trouble " << i;
}

TEST(CopyPropertyTest, InterruptedAnywhereAndResumedTheFileEqualsTheSource) {
  std::mt19937_64 random(7'070'707);
  const testing::TemporaryDirectory directory;
  for (int round = 0; round < 25; ++round) {
    SCOPED_TRACE(round);
    const std::uint64_t size = kSizes[random() % std::size(kSizes)];
    const testing::RandomDisk disk = testing::random_disk(size, random);
    const std::string path = directory.path("disk-" + std::to_string(round));
    const JournalIdentity identity{
        .job = "job", .hash = "xxh3-128", .source = {{"uuid", "1"}}, .target = {}};
    for (int attempt = 0;; ++attempt) {
      ASSERT_LT(attempt, 100);
      Ends ends(disk, random);
      // Reading back would mend what the journal wrongly called durable.
      if (round % 2 == 0) ends.verify = VerifyMode::None;
      std::atomic<std::int64_t> calls{static_cast<std::int64_t>(2 + random() % 8)};
      const bool stops = random() % 2 == 0;
      ends.source.on_read = [&](ByteRange, std::stop_token) -> Result<void> {
        if (--calls > 0 || attempt >= 20) return {};
        if (!stops) return Error(ErrorKind::Unavailable, "read fault");
        ends.stop.request_stop();
        return {};
      };
      Result<TargetOpen> target = open_target({.path = path, .size_bytes = size}, identity,
                                              path + ".journal", std::nullopt, {});
      ASSERT_TRUE(target.ok()) << to_string(target.error());
      ASSERT_FALSE(target->started_over) << target->reason;
      const Result<CopyResult> result = ends.copy(*target->sink, target->journal.get());
      if (!result) continue;
      ASSERT_TRUE(result->repaired_offsets.empty());
      ASSERT_EQ(result->digest, testing::reference_digest(disk.content, HashAlgorithm::Xxh3_128));
      break;
    }
    ASSERT_TRUE(testing::read_whole(path, size) == disk.content);
  }
}

}  // namespace
}  // namespace vmferry
