// Random disks, sizes and faults on both ends: an identical target or a clean error, and a resume
// that ends with an identical target.
#include <gtest/gtest.h>

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
    return copy_disk(source, sink, journal, nullptr, options, monitor, clock, Logger(), {});
  }
  MemorySource source;
  VerifyMode verify = VerifyMode::ReadBack;
};

TEST(CopyPropertyTest, EqualTargetOrCleanErrorInMemory) {
  std::mt19937_64 random(20'260'101);
  int failed = 0;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    const std::uint64_t size = kSizes[random() % std::size(kSizes)];
    const testing::RandomDisk disk = testing::random_disk(size, random);
    Ends ends(disk, random);
    MemorySink::Options options{.initially_zero = random() % 2 == 0};
    if (!options.initially_zero) options.fill = std::byte{0xa5};
    MemorySink sink(size, options);
    std::atomic<std::int64_t> calls{static_cast<std::int64_t>(random() % 40)};
    const auto fault = [&calls] { return --calls == 0; };
    switch (random() % 4) {
      case 0:
        ends.source.on_read = [&](ByteRange, std::stop_token) -> Result<void> {
          if (fault()) return Error(ErrorKind::Unavailable, "read fault");
          return {};
        };
        break;
      case 1:
        sink.faults.on_write = [&](ByteRange) -> Result<void> {
          if (fault()) return Error(ErrorKind::DataLoss, "VMF-DST-IO", "write fault");
          return {};
        };
        break;
      case 2:
        sink.faults.on_flush = [&]() -> Result<void> {
          if (fault()) return Error(ErrorKind::DataLoss, "VMF-DST-IO", "flush fault");
          return {};
        };
        break;
      default:
        break;
    }
    const Result<CopyResult> result = ends.copy(sink, nullptr);
    if (!result) {
      ++failed;
      continue;
    }
    ASSERT_TRUE(sink.durable_content() == disk.content);
    ASSERT_EQ(result->digest, testing::reference_digest(disk.content, HashAlgorithm::Xxh3_128));
    ASSERT_EQ(result->progress.moved_bytes, result->progress.to_move_bytes);
    ASSERT_EQ(result->progress.verified_bytes, size);
  }
  EXPECT_GT(failed, kRounds / 30);  // the faults do happen
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
      ends.source.on_read = [&](ByteRange, std::stop_token) -> Result<void> {
        if (--calls <= 0 && attempt < 20) return Error(ErrorKind::Unavailable, "read fault");
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
