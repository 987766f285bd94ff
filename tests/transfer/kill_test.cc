// Case 26: kill -9 at random points, resume, until the copy ends: the target equals the source.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/transfer/support/disks.h"
#include "transfer/copy.h"
#include "transfer/resume.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kSize = 48 * kChunkBytes + 4097;

// The child's life: one attempt, slow enough to be killed in the middle.
[[noreturn]] void attempt(const testing::RandomDisk& disk, const std::string& path) {
  MemorySource source(disk.content);
  source.allocation = disk.extents;
  source.on_read = [](ByteRange, std::stop_token) -> Result<void> {
    std::this_thread::sleep_for(std::chrono::microseconds(500));
    return {};
  };
  Result<TargetOpen> target =
      open_target({.path = path, .size_bytes = kSize},
                  {.job = "kill", .hash = "xxh3-128", .source = {{"uuid", "1"}}, .target = {}},
                  path + ".journal", std::nullopt, {});
  // A journal killed while it was being made has two torn headers; anything else must continue.
  if (!target || (target->started_over && target->reason.find("both") == std::string::npos)) {
    ::_exit(3);
  }
  CopyOptions options;
  options.checkpoint_every = std::chrono::milliseconds(5);
  options.workers = 3;
  CopyMonitor monitor;
  const SystemClock clock;
  const Result<CopyResult> result = copy_disk(source, *target->sink, target->journal.get(), nullptr,
                                              options, monitor, clock, Logger(), {});
  ::_exit(result ? 0 : 4);
}

int iterations() {
  const char* text = std::getenv("VMFERRY_KILL_LOOPS");
  return text != nullptr ? std::max(1, std::atoi(text)) : 20;
}

TEST(KillTest, Case26KilledAnywhereAndResumedTheTargetEqualsTheSource) {
  std::mt19937_64 random(std::random_device{}());
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path("disk.img");
  int kills = 0;
  int finished = 0;
  const int wanted = iterations();
  while (kills < wanted) {
    const testing::RandomDisk disk = testing::random_disk(kSize, random);
    ::unlink(path.c_str());
    ::unlink((path + ".journal").c_str());
    // Longer and longer lives, so that even a slow disk gets to a checkpoint.
    std::uint64_t most_microseconds = 20'000;
    for (bool done = false; !done; most_microseconds += most_microseconds / 4) {
      const pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) attempt(disk, path);
      std::this_thread::sleep_for(std::chrono::microseconds(random() % most_microseconds));
      ::kill(child, SIGKILL);
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      if (WIFSIGNALED(status)) {
        ++kills;
        continue;
      }
      ASSERT_EQ(WEXITSTATUS(status), 0) << "3: started over without a reason, 4: copy failed";
      done = true;
    }
    ASSERT_TRUE(testing::read_whole(path, kSize) == disk.content);
    ++finished;
  }
  RecordProperty("kills", kills);
  RecordProperty("copies", finished);
}

}  // namespace
}  // namespace vmferry
