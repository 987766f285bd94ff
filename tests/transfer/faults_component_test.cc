// Real servers and file systems that fail at random: a target that equals the source or a clean
// error; never a silent difference, never a hang.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "common/catalogue.h"
#include "tests/transfer/support/copy_run.h"
#include "tests/transfer/support/fault_filesystem.h"
#include "tests/transfer/support/fault_fixture.h"
#include "transfer/journal_file.h"
#include "transfer/resume.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::Bytes;
using testing::copy;
using testing::copy_to;
using testing::Deadline;
using testing::expect_clean;
using testing::FaultFilesystem;
using testing::FaultsComponentTest;
using ::testing::HasSubstr;
using testing::kDeadline;
using testing::kSizes;
using testing::Nbdkit;
using testing::open_nbd;
using testing::rounds;

TEST_F(FaultsComponentTest, NbdServersThatFailAtRandomGiveAnEqualTargetOrACleanError) {
  if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
  int equal = 0;
  int failed = 0;
  for (int round = 0; round < rounds(16); ++round) {
    const Bytes disk = make_disk(kSizes[random_() % std::size(kSizes)]);
    const std::vector<std::string> server_words = random_server();
    std::string trace = std::to_string(disk.size());
    for (const std::string& word : server_words) trace += " " + word;
    SCOPED_TRACE(trace);
    const Deadline deadline(kDeadline, trace);
    const Nbdkit server(workspace_, server_words);
    Result<std::unique_ptr<DiskSource>> source = open_nbd(server.uri());
    const std::string target = workspace_.path("target.img");
    std::filesystem::remove(target);
    const Result<CopyResult> result =
        source ? copy_to(**source, target) : Result<CopyResult>(source.error());
    if (!result) {
      ++failed;
      expect_clean(result.error());
      continue;
    }
    ++equal;
    ASSERT_TRUE(testing::read_whole(target, disk.size()) == disk);
    ASSERT_EQ(result->digest, testing::reference_digest(disk, HashAlgorithm::Xxh3_128));
  }
  std::printf("%d equal, %d clean errors\n", equal, failed);
  EXPECT_GT(equal, 0);
}

TEST_F(FaultsComponentTest, Ns24AFullExt4EndsCleanlyAndEveryRecordedChunkIsThere) {
  const auto small = testing::SmallFilesystem::create("ext4", 24u << 20);
  if (small == nullptr) GTEST_SKIP() << "needs a loop device, mkfs.ext4 and mount (root)";
  const Deadline deadline(kDeadline);
  const Bytes disk = testing::random_bytes(40u << 20, 1);
  MemorySource source(disk);
  const JournalIdentity identity{
      .job = "job", .hash = "xxh3-128", .source = {{"uuid", "1"}}, .target = {}};
  const std::string journal = workspace_.path("journal");
  for (int attempt = 0; attempt < 2; ++attempt) {  // the second goes on, and is as full
    Result<TargetOpen> target = open_target({.path = small->target(), .size_bytes = disk.size()},
                                            identity, journal, std::nullopt, {});
    ASSERT_TRUE(target.ok()) << to_string(target.error());
    EXPECT_FALSE(target->started_over) << target->reason;
    const Result<CopyResult> result = copy(source, *target->sink, target->journal.get());
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind(), ErrorKind::ResourceExhausted) << to_string(result.error());
    EXPECT_EQ(result.error().code(), code::kTargetFull);
  }
  Result<TargetOpen> left = open_target({.path = small->target(), .size_bytes = disk.size()},
                                        identity, journal, std::nullopt, {});
  ASSERT_TRUE(left.ok());
  const Bytes content = testing::read_whole(small->target(), disk.size());
  int recorded = 0;
  for (const DurableChunk& chunk : testing::durable_of(*left->journal)) {
    ++recorded;
    const std::uint64_t offset = chunk.index * kChunkBytes;
    EXPECT_TRUE(std::equal(content.begin() + static_cast<std::ptrdiff_t>(offset),
                           content.begin() + static_cast<std::ptrdiff_t>(offset + kChunkBytes),
                           disk.begin() + static_cast<std::ptrdiff_t>(offset)))
        << chunk.index;
  }
  EXPECT_GT(recorded, 5);
}

class BrokenDiskComponentTest : public FaultsComponentTest {
 protected:
  // Copies to a file system with these faults; nothing when this machine cannot mount one. It is
  // gone when this returns: what the faults refer to need not outlive the test's scope.
  std::optional<Result<CopyResult>> copy_to_broken(FaultFilesystem::Faults faults,
                                                   Journal* journal = nullptr,
                                                   bool direct_io = true) {
    const auto system = FaultFilesystem::create(std::move(faults));
    if (system == nullptr) return std::nullopt;
    const Deadline deadline(kDeadline);
    MemorySource source(disk_);
    Result<CopyResult> result = [&]() -> Result<CopyResult> {
      const std::unique_ptr<DiskSink> sink = TRY(open_sink(
          {.path = system->target(), .size_bytes = disk_.size(), .direct_io = direct_io}));
      return copy(source, *sink, journal);
    }();
    content_ = system->content();
    return result;
  }
  const Bytes disk_ = testing::random_bytes(9 * kChunkBytes + 1000, 4);
  Bytes content_;  // of the target, after the copy
};

#define COPY_OR_SKIP(...)                                                        \
  const std::optional<Result<CopyResult>> outcome = copy_to_broken(__VA_ARGS__); \
  if (!outcome) GTEST_SKIP() << "needs to mount FUSE (root)";                    \
  const Result<CopyResult>& result = *outcome

// Emptied it is not believed either, but only the mark speaks against what others remember.
TEST_F(BrokenDiskComponentTest, AJournalThatCannotBeMarkedIsNoInvalidOne) {
  std::atomic<int> error{0};
  FaultFilesystem::Faults faults;
  faults.on_write = [&](std::uint64_t, std::uint32_t&) { return error.load(); };
  const auto system = FaultFilesystem::create(std::move(faults));
  if (system == nullptr) GTEST_SKIP() << "needs to mount FUSE (root)";
  const Deadline deadline(kDeadline);
  Result<std::unique_ptr<JournalFile>> file = JournalFile::open(system->target());
  ASSERT_TRUE(file.ok()) << to_string(file.error());
  ASSERT_TRUE(
      (*file)
          ->create({.job = "j", .size_bytes = 1, .hash = "xxh3-128", .source = {}, .target = {}})
          .ok());
  error = EIO;
  EXPECT_FALSE((*file)->invalidate().ok());
  error = 0;
}

TEST_F(BrokenDiskComponentTest, ASoundOneTakesTheCopy) {
  COPY_OR_SKIP({});
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_TRUE(result->verified);
  EXPECT_TRUE(content_ == disk_);
}

TEST_F(BrokenDiskComponentTest, ShortWritesAreFinished) {
  std::atomic<int> calls{0};
  FaultFilesystem::Faults faults;
  faults.on_write = [&](std::uint64_t, std::uint32_t& length) {
    if (++calls % 3 != 0 && length > 4096) length = length / 4096 / 3 * 4096 + 4096;
    return 0;
  };
  COPY_OR_SKIP(faults);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_TRUE(content_ == disk_);
  EXPECT_GT(calls, 12);
}

TEST_F(BrokenDiskComponentTest, AWriteErrorEndsTheCopyAndNamesTheOffset) {
  for (const int failing : {EIO, ENOSPC, EDQUOT, ENODEV}) {
    SCOPED_TRACE(failing);
    std::atomic<int> calls{0};
    FaultFilesystem::Faults faults;
    faults.on_write = [&](std::uint64_t, std::uint32_t&) { return ++calls == 5 ? failing : 0; };
    COPY_OR_SKIP(faults);
    ASSERT_FALSE(result.ok());
    const bool full = failing == ENOSPC || failing == EDQUOT;
    EXPECT_EQ(result.error().code(), full ? code::kTargetFull : code::kTargetIo)
        << to_string(result.error());
    EXPECT_THAT(result.error().message(), HasSubstr("offset"));
  }
}

TEST_F(BrokenDiskComponentTest, Ns25AFailedFsyncIsFatalAndNothingIsRecorded) {
  // A journal that counts: record() after a failed flush would be trust in lost data.
  class CountingJournal final : public Journal {
   public:
    Result<void> restore(const EachChunk&) override { return {}; }
    bool resumed() const override { return false; }
    Result<void> record(const std::vector<DurableChunk>& chunks) override {
      recorded += chunks.size();
      return {};
    }
    Result<void> forget(const std::vector<std::uint64_t>&) override { return {}; }
    Result<void> invalidate() override { return {}; }
    Result<void> mark_complete() override {
      ++recorded;
      return {};
    }
    std::size_t recorded = 0;
  } journal;
  std::atomic<int> calls{0};
  FaultFilesystem::Faults faults;
  // Not the first: that one belongs to the opening. The kernel reports a lost page once: later
  // calls succeed.
  faults.on_fsync = [&] { return ++calls == 2 ? EIO : 0; };
  COPY_OR_SKIP(faults, &journal);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), code::kTargetIo) << to_string(result.error());
  EXPECT_EQ(journal.recorded, 0u);
}

TEST_F(BrokenDiskComponentTest, AWriteThatIsLostOnceIsFoundAndRepaired) {
  std::atomic<int> losses{0};
  FaultFilesystem::Faults faults;
  faults.loses_write = [&](std::uint64_t offset) {
    return offset == 3 * kChunkBytes && losses++ == 0;
  };
  COPY_OR_SKIP(faults);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_EQ(losses, 2) << "written again";
  EXPECT_TRUE(content_ == disk_);
}

// The page cache holds what was written: reading back must not be content with that.
TEST_F(BrokenDiskComponentTest, Nr9ALostBufferedWriteIsFoundPastThePageCache) {
  std::atomic<int> losses{0};
  FaultFilesystem::Faults faults;
  faults.loses_write = [&](std::uint64_t offset) {
    return offset == 3 * kChunkBytes && losses++ == 0;
  };
  COPY_OR_SKIP(faults, nullptr, false);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_EQ(losses, 2) << "written again";
  EXPECT_THAT(result->repaired_offsets, ::testing::ElementsAre(3 * kChunkBytes));
  EXPECT_TRUE(content_ == disk_);
}

TEST_F(BrokenDiskComponentTest, AWriteThatIsAlwaysLostIsReportedWithItsOffset) {
  FaultFilesystem::Faults faults;
  faults.loses_write = [](std::uint64_t offset) { return offset == 3 * kChunkBytes; };
  COPY_OR_SKIP(faults);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), code::kVerifyFailed);
  EXPECT_THAT(result.error().message(), HasSubstr(std::to_string(3 * kChunkBytes)));
}

TEST_F(BrokenDiskComponentTest, ATargetThatCannotBeReadBackIsNoSuccess) {
  FaultFilesystem::Faults faults;
  faults.on_read = [](std::uint64_t offset) { return offset >= 2 * kChunkBytes ? EIO : 0; };
  COPY_OR_SKIP(faults);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), code::kTargetIo) << to_string(result.error());
}

// A file system that opens files for direct I/O and then refuses it: what an earlier attempt wrote
// there is read back all the same, and believed.
TEST_F(BrokenDiskComponentTest, Nr8WhereDirectIoIsRefusedLateACopyGoesOn) {
  FaultFilesystem::Faults faults;
  faults.refuses_direct_io = true;
  const auto system = FaultFilesystem::create(faults);
  if (system == nullptr) GTEST_SKIP() << "needs to mount FUSE (root)";
  const Deadline deadline(kDeadline);
  const JournalIdentity identity{
      .job = "job", .hash = "xxh3-128", .source = {{"uuid", "1"}}, .target = {}};
  const auto attempt = [&](MemorySource& source, TargetOpen& target) -> Result<CopyResult> {
    target = TRY(open_target({.path = system->target(), .size_bytes = disk_.size()}, identity,
                             workspace_.path("journal"), std::nullopt, {}));
    return copy(source, *target.sink, target.journal.get());
  };
  {
    MemorySource source(disk_);
    source.on_read = [](ByteRange range, std::stop_token) -> Result<void> {
      if (range.offset < 5 * kChunkBytes) return {};
      return Error(ErrorKind::Unavailable, "the source is gone");
    };
    TargetOpen target;
    EXPECT_EQ(attempt(source, target).error().kind(), ErrorKind::Unavailable);
  }
  MemorySource source(disk_);
  TargetOpen target;
  const Result<CopyResult> result = attempt(source, target);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_FALSE(target.started_over) << target.reason;
  EXPECT_GT(result->progress.resumed_bytes, 0u);
  EXPECT_TRUE(result->verified);
  EXPECT_TRUE(system->content() == disk_);
}

TEST_F(BrokenDiskComponentTest, RandomFaultsOnBothEndsGiveAnEqualTargetOrACleanError) {
  if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
  int equal = 0;
  int failed = 0;
  for (int round = 0; round < rounds(16); ++round) {
    const Bytes disk = make_disk(kSizes[random_() % std::size(kSizes)]);
    const std::vector<std::string> server_words = random_server();
    std::string trace = std::to_string(disk.size());
    for (const std::string& word : server_words) trace += " " + word;
    FaultFilesystem::Faults faults;
    std::atomic<std::uint64_t> calls{0};
    const std::uint64_t fault_at = random_() % 30;
    const int failing = random_() % 2 == 0 ? EIO : ENOSPC;
    switch (random_() % 5) {
      case 0:
        faults.on_write = [&](std::uint64_t, std::uint32_t&) {
          return calls++ == fault_at ? failing : 0;
        };
        break;
      case 1:
        faults.on_write = [&](std::uint64_t, std::uint32_t& length) {
          if (length > 8192 && calls++ % 2 == 0) length = 4096;
          return 0;
        };
        break;
      case 2:
        faults.loses_write = [&](std::uint64_t) { return calls++ == fault_at; };
        break;
      case 3:
        faults.on_fsync = [&] { return calls++ == fault_at % 3 ? EIO : 0; };
        break;
      default:
        break;
    }
    SCOPED_TRACE(trace);
    const Deadline deadline(kDeadline, trace);
    const Nbdkit server(workspace_, server_words);
    const auto system = FaultFilesystem::create(faults);
    if (system == nullptr) GTEST_SKIP() << "needs to mount FUSE (root)";
    Result<std::unique_ptr<DiskSource>> source = open_nbd(server.uri());
    const Result<CopyResult> result =
        source ? copy_to(**source, system->target()) : Result<CopyResult>(source.error());
    if (!result) {
      ++failed;
      expect_clean(result.error());
      continue;
    }
    ++equal;
    ASSERT_TRUE(system->content() == disk);
  }
  std::printf("%d equal, %d clean errors\n", equal, failed);
  EXPECT_GT(equal, 0);  // of sixteen: the odds against it are thousands to one
}

}  // namespace
}  // namespace vmferry
