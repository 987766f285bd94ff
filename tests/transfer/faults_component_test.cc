// Real servers and file systems that fail at random: a target that equals the source or a clean
// error; never a silent difference, never a hang. VMFERRY_FAULT_ROUNDS: how many random copies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "common/catalogue.h"
#include "tests/transfer/support/deadline.h"
#include "tests/transfer/support/disks.h"
#include "tests/transfer/support/fault_filesystem.h"
#include "tests/transfer/support/source_peers.h"
#include "transfer/copy.h"
#include "transfer/open_sink.h"
#include "transfer/resume.h"
#include "transfer/sources/http.h"
#include "transfer/sources/nbd.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::Bytes;
using testing::Deadline;
using testing::FaultFilesystem;
using ::testing::HasSubstr;
using testing::LyingServer;
using testing::Nbdkit;
using testing::Workspace;

// Each copy takes a second or two; ThreadSanitizer on a busy machine, minutes.
#ifdef __SANITIZE_THREAD__
constexpr std::chrono::seconds kDeadline = 600s;
#else
constexpr std::chrono::seconds kDeadline = 100s;
#endif

constexpr std::uint64_t kSizes[] = {0,
                                    1,
                                    511,
                                    512,
                                    4097,
                                    kChunkBytes - 1,
                                    kChunkBytes,
                                    kChunkBytes + 1,
                                    3 * kChunkBytes + 513,
                                    6 * kChunkBytes + 4096};

int rounds(int usual) {
  const char* text = std::getenv("VMFERRY_FAULT_ROUNDS");
  return text != nullptr ? std::max(1, std::atoi(text)) : usual;
}

NbdOptions quick_nbd() {
  NbdOptions options;
  options.connect_deadline = 2s;
  options.watchdog = 3s;
  options.reconnect = {.first = 5ms, .cap = 50ms};
  options.reconnect_limit = 10s;
  options.retry_delays = {1ms, 5ms, 20ms};
  return options;
}

Result<std::unique_ptr<DiskSource>> open_nbd(const std::string& uri) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::Nbd;
  endpoint.url = uri;
  return std::unique_ptr<DiskSource>(TRY(open_nbd_source(endpoint, "", quick_nbd(), Logger(), {})));
}

Result<std::unique_ptr<DiskSource>> open_http(const std::string& url) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::HttpRange;
  endpoint.url = url;
  endpoint.request_bytes = 1u << 20;
  HttpSource::Options options;
  options.patience.backoff = {.first = 1ms, .cap = 4ms};
  options.patience.stall_timeout = 2s;
  return std::unique_ptr<DiskSource>(TRY(HttpSource::open(endpoint, {}, options, Logger(), {})));
}

Result<CopyResult> copy(DiskSource& source, DiskSink& sink, Journal* journal = nullptr) {
  CopyOptions options;
  options.checkpoint_every = 10ms;
  CopyMonitor monitor;
  const SystemClock clock;
  return copy_disk(source, sink, journal, nullptr, options, monitor, clock, Logger(), {});
}

Result<CopyResult> copy_to(DiskSource& source, const std::string& path) {
  const std::unique_ptr<DiskSink> sink =
      TRY(open_sink({.path = path, .size_bytes = source.size_bytes()}));
  return copy(source, *sink);
}

// What a failed copy may say: something that happened, never "our own fault".
void expect_clean(const Error& error) {
  EXPECT_NE(error.kind(), ErrorKind::Internal) << to_string(error);
  EXPECT_NE(error.kind(), ErrorKind::Canceled) << to_string(error);
  EXPECT_FALSE(error.message().empty());
}

class FaultsComponentTest : public ::testing::Test {
 protected:
  // Disk content of which some is zero, in a file for the server.
  Bytes make_disk(std::uint64_t size) {
    Bytes disk = testing::random_disk(size, random_).content;
    image_ = workspace_.write("served.img", disk);
    return disk;
  }
  std::string percent() { return std::to_string(1 + random_() % 30) + "%"; }

  // nbdkit's arguments: filters, plugin, and their parameters, as chance has it.
  std::vector<std::string> random_server() {
    std::vector<std::string> filters;
    std::vector<std::string> parameters;
    const auto add = [&](const char* filter, std::vector<std::string> more) {
      filters.push_back(std::string("--filter=") + filter);
      parameters.insert(parameters.end(), more.begin(), more.end());
    };
    if (random_() % 2 == 0) add("error", {"error-pread=EIO", "error-pread-rate=" + percent()});
    if (random_() % 3 == 0) add("delay", {"delay-read=" + std::to_string(random_() % 20) + "ms"});
    if (random_() % 4 == 0) add("noextents", {});
    if (random_() % 3 == 0) {
      add("blocksize-policy",
          {"blocksize-minimum=" + std::to_string(1u << random_() % 13), "blocksize-preferred=4096",
           "blocksize-maximum=" + std::to_string(65536u << random_() % 5),
           "blocksize-error-policy=error"});
    }
    filters.insert(filters.end(), {"file", image_});
    filters.insert(filters.end(), parameters.begin(), parameters.end());
    return filters;
  }

  std::mt19937_64 random_{std::random_device{}()};
  Workspace workspace_;
  std::string image_;
};

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

TEST_F(FaultsComponentTest, Row31HttpServersThatLieGiveAnEqualTargetOrACleanError) {
  if (!testing::has_program("python3")) GTEST_SKIP() << "needs python3";
  const char* modes[] = {"ok",
                         "head405",
                         "truncate",
                         "shiftedonce",
                         "s500twice",
                         "s503twice",
                         "s400twice",
                         "idleclose",
                         "shifted",
                         "shorter",
                         "grown",
                         "nocontentrange",
                         "garbagerange",
                         "gzip",
                         "wronglength",
                         "toolong",
                         "chunkedlong",
                         "ignorerange",
                         "etag",
                         "headsize",
                         "r416",
                         "s500",
                         "alwaystruncate",
                         "s403",
                         "hang",
                         "ignorerange+truncate",
                         "truncate+s503twice"};
  for (const std::uint64_t size :
       {std::uint64_t{1}, std::uint64_t{4097}, kChunkBytes + 1, 4 * kChunkBytes + 513}) {
    const Workspace workspace;
    const Bytes disk = testing::random_disk(size, random_).content;
    const LyingServer server(workspace, disk);
    for (const char* mode : modes) {
      if (std::string(mode) == "hang" && size != 4097) continue;  // it takes its time
      SCOPED_TRACE(fmt::format("{} {}", mode, size));
      const Deadline deadline(kDeadline, mode);
      Result<std::unique_ptr<DiskSource>> source = open_http(server.file_url(mode));
      const std::string target = workspace.path("target.img");
      std::filesystem::remove(target);
      const Result<CopyResult> result =
          source ? copy_to(**source, target) : Result<CopyResult>(source.error());
      if (!result) {
        expect_clean(result.error());
        EXPECT_NE(std::string(mode), "ok");
        continue;
      }
      ASSERT_TRUE(testing::read_whole(target, disk.size()) == disk);
    }
  }
}

TEST_F(FaultsComponentTest, Row24AFullExt4EndsCleanlyAndEveryRecordedChunkIsThere) {
  const auto small = testing::SmallExt4::create(24u << 20);
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
  for (const DurableChunk& chunk : left->journal->durable()) {
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
                                                   Journal* journal = nullptr) {
    const auto system = FaultFilesystem::create(std::move(faults));
    if (system == nullptr) return std::nullopt;
    const Deadline deadline(kDeadline);
    MemorySource source(disk_);
    Result<CopyResult> result = [&]() -> Result<CopyResult> {
      const std::unique_ptr<DiskSink> sink =
          TRY(open_sink({.path = system->target(), .size_bytes = disk_.size()}));
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

TEST_F(BrokenDiskComponentTest, Row25AFailedFsyncIsFatalAndNothingIsRecorded) {
  // A journal that counts: record() after a failed flush would be trust in lost data.
  class CountingJournal final : public Journal {
   public:
    std::vector<DurableChunk> durable() const override { return {}; }
    bool resumed() const override { return false; }
    Result<void> record(const std::vector<DurableChunk>& chunks) override {
      recorded += chunks.size();
      return {};
    }
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
}

// ---- healed inside the transfer, and counted ----

class HealingComponentTest : public FaultsComponentTest {
 protected:
  void SetUp() override {
    if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
    disk_ = make_disk(24 * kChunkBytes);
    socket_ = workspace_.path("nbd.sock");
    // Slow enough for something to happen in the middle.
    command_ = {"nbdkit", "--foreground", "--readonly",      "--exit-with-parent",
                "--unix", socket_,        "--filter=delay",  "--filter=noextents",
                "file",   image_,         "delay-read=100ms"};
  }
  std::unique_ptr<testing::Peer> start() {
    std::filesystem::remove(socket_);
    auto peer = std::make_unique<testing::Peer>(command_);
    EXPECT_TRUE(testing::wait_for_file(socket_)) << peer->stderr_text();
    return peer;
  }
  // Copies while `trouble` happens; the target must be equal.
  CopyResult copy_through(const std::function<void()>& trouble) {
    const Deadline deadline(kDeadline);
    auto source = open_nbd("nbd+unix:///?socket=" + socket_);
    EXPECT_TRUE(source.ok());
    const std::jthread troublemaker([&] {
      std::this_thread::sleep_for(150ms);
      trouble();
    });
    const std::string target = workspace_.path("target.img");
    const auto sink = open_sink({.path = target, .size_bytes = disk_.size()});
    CopyOptions options;
    options.workers = 4;
    CopyMonitor monitor;
    const SystemClock clock;
    const Result<CopyResult> result =
        copy_disk(**source, **sink, nullptr, nullptr, options, monitor, clock, Logger(), {});
    EXPECT_TRUE(result.ok()) << to_string(result.error());
    EXPECT_TRUE(testing::read_whole(target, disk_.size()) == disk_);
    return result ? *result : CopyResult{};
  }

  Bytes disk_;
  std::string socket_;
  std::vector<std::string> command_;
};

TEST_F(HealingComponentTest, AnNbdServerThatIsRestartedInTheMiddleIsHealedAndCounted) {
  auto server = start();
  const CopyResult result = copy_through([&] {
    server.reset();
    std::this_thread::sleep_for(700ms);
    server = start();
  });
  EXPECT_GE(result.progress.source.reconnects, 1u);
  EXPECT_GE(result.progress.source.retries, 1u);
  EXPECT_FALSE(result.progress.source.last_error.empty());
}

TEST_F(HealingComponentTest, AServerThatFallsSilentIsGivenUpAndReconnected) {
  auto server = start();
  const CopyResult result = copy_through([&] {
    ::kill(server->pid(), SIGSTOP);
    std::this_thread::sleep_for(4s);  // longer than the watchdog of 3 s
    ::kill(server->pid(), SIGCONT);
  });
  EXPECT_GE(result.progress.source.reconnects, 1u);
}

TEST_F(HealingComponentTest, AServerThatIsSlowForAWhileIsWaitedFor) {
  auto server = start();
  const CopyResult result = copy_through([&] {
    ::kill(server->pid(), SIGSTOP);
    std::this_thread::sleep_for(1s);
    ::kill(server->pid(), SIGCONT);
  });
  EXPECT_EQ(result.progress.source.reconnects, 0u);
}

// The copier's own watch is the last resort: it must not end what the source is about to heal.
TEST(HealingTest, TheCopierIsMorePatientThanAnySource) {
  const CopyOptions copier;
  EXPECT_GT(copier.stall_limit, NbdOptions{}.watchdog + NbdOptions{}.reconnect_limit);
  const HttpPatience http;
  EXPECT_GT(copier.stall_limit, http.retries * (http.stall_timeout + http.backoff.cap));
}

}  // namespace
}  // namespace vmferry
