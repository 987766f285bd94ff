// Buffered writing: that it becomes durable or an error, and that it keeps the page cache small.
#include "transfer/sinks/writeback.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/transfer/support/deadline.h"
#include "tests/transfer/support/disks.h"
#include "tests/transfer/support/fault_filesystem.h"
#include "transfer/aligned_buffer.h"
#include "transfer/open_sink.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::FaultFilesystem;

TEST(WritebackTest, WhatCannotBeSyncedIsAnErrorAndNoEndlessLoop) {
  const testing::Deadline deadline(60s, "sync of a pipe");
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  Writeback writeback(write_end.get());
  writeback.written({0, 4096});  // sync_file_range refuses a pipe as well, which says nothing
  EXPECT_EQ(writeback.sync(), EINVAL);
  EXPECT_EQ(writeback.sync(), EINVAL);
}

TEST(WritebackTest, Ns25AnyFailureOfAFlushIsAnErrorAndStaysOne) {
  for (const bool direct : {true, false}) {
    for (const int failing : {EIO, EINVAL, ESPIPE, ENOSPC}) {
      SCOPED_TRACE(fmt::format("{} direct {}", failing, direct));
      const testing::Deadline deadline(60s, "flush");
      std::atomic<int> calls{0};
      FaultFilesystem::Faults faults;
      // The first belongs to the opening; later ones succeed, as the kernel reports an error once.
      faults.on_fsync = [&] { return ++calls == 2 ? failing : 0; };
      const auto system = FaultFilesystem::create(faults);
      if (system == nullptr) GTEST_SKIP() << "needs to mount FUSE (root)";
      const auto sink =
          open_sink({.path = system->target(), .size_bytes = kChunkBytes, .direct_io = direct});
      ASSERT_TRUE(sink.ok()) << to_string(sink.error());
      ASSERT_TRUE((*sink)->write(0, testing::Bytes(kChunkBytes, std::byte{1})).ok());
      const bool full = failing == ENOSPC;
      for (int i = 0; i < 2; ++i) {
        const Result<void> flushed = (*sink)->flush();
        ASSERT_FALSE(flushed.ok());
        EXPECT_EQ(flushed.error().code(), full ? code::kTargetFull : code::kTargetIo)
            << to_string(flushed.error());
      }
      EXPECT_FALSE((*sink)->finish().ok());
    }
  }
}

// The beginning of a file, to see how much of it is in the page cache. Made before the file is
// written, because FUSE drops all pages when a file is opened.
class CachedBytes {
 public:
  CachedBytes(const std::string& path, std::uint64_t bytes) : pages_(bytes / 4096) {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    mapped_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    EXPECT_NE(mapped_, MAP_FAILED);
  }
  ~CachedBytes() { ::munmap(mapped_, pages_.size() * 4096); }
  CachedBytes(const CachedBytes&) = delete;
  CachedBytes& operator=(const CachedBytes&) = delete;

  std::uint64_t count() {
    EXPECT_EQ(::mincore(mapped_, pages_.size() * 4096, pages_.data()), 0);
    return 4096 * static_cast<std::uint64_t>(std::ranges::count_if(
                      pages_, [](unsigned char page) { return (page & 1) != 0; }));
  }

 private:
  std::vector<unsigned char> pages_;
  void* mapped_ = nullptr;
};

// Whether direct I/O was never asked for, or was refused only when it was tried.
TEST(WritebackTest, Nr8WhatIsWrittenThroughThePageCacheLeavesIt) {
  constexpr std::uint64_t kSize = 272u << 20;  // more than the 256 MiB that may stay
  constexpr std::uint64_t kOldest = 8u << 20;
  for (const bool direct : {false, true}) {
    SCOPED_TRACE(direct);
    FaultFilesystem::Faults faults;
    faults.refuses_direct_io = true;
    faults.loses_write = [](std::uint64_t) { return true; };  // spares the time
    const auto system = FaultFilesystem::create(faults);
    if (system == nullptr) GTEST_SKIP() << "needs to mount FUSE (root)";
    const auto sink =
        open_sink({.path = system->target(), .size_bytes = kSize, .direct_io = direct});
    ASSERT_TRUE(sink.ok()) << to_string(sink.error());
    CachedBytes oldest(system->target(), kOldest);
    const AlignedBuffer buffer(kChunkBytes);
    std::ranges::fill(buffer.span(), std::byte{1});
    ASSERT_TRUE((*sink)->write(0, buffer.span()).ok());
    EXPECT_EQ(oldest.count(), kChunkBytes) << "it went through the page cache";
    for (std::uint64_t at = kChunkBytes; at < kSize; at += kChunkBytes) {
      ASSERT_TRUE((*sink)->write(at, buffer.span()).ok());
    }
    std::uint64_t left = kOldest;
    for (const auto give_up = std::chrono::steady_clock::now() + 30s;
         left != 0 && std::chrono::steady_clock::now() < give_up;) {
      std::this_thread::sleep_for(5ms);
      left = oldest.count();
    }
    EXPECT_EQ(left, 0u);
  }
}

}  // namespace
}  // namespace vmferry
