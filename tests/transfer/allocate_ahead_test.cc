#include "transfer/sinks/allocate_ahead.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <thread>
#include <vector>

#include "common/fd.h"
#include "tests/transfer/support/disks.h"
#include "transfer/aligned_buffer.h"
#include "transfer/chunks.h"
#include "transfer/open_sink.h"

namespace vmferry {
namespace {

using testing::Bytes;
constexpr std::uint64_t kWindow = AllocateAhead::kWindowBytes;
constexpr std::uint64_t kSize = 3 * kWindow + 12345;

// By memcmp: a loop over hundreds of megabytes takes minutes under ThreadSanitizer.
bool all_are(const Bytes& bytes, std::uint64_t from, std::uint64_t to, std::byte value) {
  return bytes[from] == value &&
         std::memcmp(bytes.data() + from, bytes.data() + from + 1, to - from - 1) == 0;
}

class AllocateAheadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(fd);
    ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(kSize)), 0);
    if (::fallocate(fd.get(), 0, 0, 4096) != 0) GTEST_SKIP() << "no fallocate here";
    ASSERT_EQ(::ftruncate(fd.get(), 0), 0);
    ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(kSize)), 0);
  }
  std::uint64_t allocated() const { return testing::allocated_bytes(path); }

  testing::TemporaryDirectory directory;
  std::string path = directory.path("disk.img");
  UniqueFd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
};

TEST_F(AllocateAheadTest, AllocatesAWindowOnceTheOneBeforeItIsMostlyWritten) {
  AllocateAhead ahead(fd.get(), kSize);
  ahead.before_write({0, kWindow / 2});
  ahead.before_write({kWindow, kChunkBytes});
  EXPECT_EQ(allocated(), 0u);
  ahead.before_write({kWindow / 2, kWindow / 4});
  ahead.before_write({kWindow + kChunkBytes, kChunkBytes});
  EXPECT_GE(allocated(), kWindow);
  EXPECT_LT(allocated(), kWindow + kChunkBytes);
  EXPECT_EQ(std::filesystem::file_size(path), kSize);
}

TEST_F(AllocateAheadTest, GivesBackWhatWasNotWrittenAndKeepsWhatWas) {
  const Bytes data(kChunkBytes + 100, std::byte{7});
  {
    AllocateAhead ahead(fd.get(), kSize);
    ahead.before_write({0, kWindow});
    ahead.before_write({kWindow + 5 * kChunkBytes, data.size()});
    ASSERT_TRUE(write_fully(fd.get(), kWindow + 5 * kChunkBytes, data).ok());
    EXPECT_GE(allocated(), kWindow);
    EXPECT_TRUE(ahead.give_back());
    EXPECT_TRUE(ahead.give_back());
  }
  EXPECT_LE(allocated(), 2 * kChunkBytes);
  const Bytes whole = testing::read_whole(path, kSize);
  EXPECT_EQ(std::memcmp(data.data(), whole.data() + kWindow + 5 * kChunkBytes, data.size()), 0);
}

TEST_F(AllocateAheadTest, ScatteredDataStaysSparse) {
  AllocateAhead ahead(fd.get(), kSize);
  for (std::uint64_t at = 0; at + kChunkBytes <= kSize; at += 2 * kChunkBytes) {
    ahead.before_write({at, kChunkBytes});
  }
  EXPECT_EQ(allocated(), 0u);
}

TEST_F(AllocateAheadTest, TheShortLastWindowIsAllocatedToTheEndOfTheFileOnly) {
  AllocateAhead ahead(fd.get(), kSize);
  ahead.before_write({2 * kWindow, kWindow});
  ahead.before_write({3 * kWindow, 12345});
  EXPECT_GE(allocated(), 12345u);
  EXPECT_LT(allocated(), kChunkBytes);
  EXPECT_EQ(std::filesystem::file_size(path), kSize);
}

TEST_F(AllocateAheadTest, NothingIsAllocatedOrGivenBackOnceTheFenceIsClosed) {
  const FakeClock clock;
  const WriteFence fence(clock, clock.boot() + std::chrono::seconds(10));
  AllocateAhead ahead(fd.get(), kSize, &fence);
  ahead.before_write({0, kWindow});
  ahead.before_write({kWindow, kWindow - kChunkBytes});
  const std::uint64_t before = allocated();
  EXPECT_GE(before, kWindow);
  clock.advance(std::chrono::seconds(10));
  ahead.before_write({2 * kWindow, kChunkBytes});
  EXPECT_EQ(allocated(), before);
  ahead.before_write({3 * kWindow, 12345});
  EXPECT_FALSE(ahead.give_back());
  EXPECT_EQ(allocated(), before);
}

// Windows full of data and nearly empty ones in turns, on a file system which has room for the data
// and not for whole windows. Where the room ends is once within a full window, so that a write is
// the first to meet it, and once where a window is to be allocated.
TEST_F(AllocateAheadTest, DataThatFitsIsWrittenWhateverWasAllocatedAheadOfIt) {
  struct Case {
    std::uint64_t mebibytes;
    std::string_view windows;
  };
  for (const Case& c : {Case{352, "D-D-"}, Case{224, "D-"}}) {
    SCOPED_TRACE(c.mebibytes);
    const auto small = testing::SmallFilesystem::create("ext4", c.mebibytes << 20);
    if (small == nullptr) GTEST_SKIP() << "needs a loop device, mkfs.ext4 and mount (root)";
    std::vector<std::uint64_t> writes;
    constexpr std::uint64_t kWrite = 8 * kChunkBytes;
    for (std::uint64_t window = 0; window < c.windows.size(); ++window) {
      const std::uint64_t begin = window * kWindow;
      // Of a nearly empty one the end: what a failed allocation leaves is at the beginning.
      std::uint64_t at = c.windows[window] == 'D' ? begin : begin + kWindow - kWrite;
      for (; at < begin + kWindow; at += kWrite) writes.push_back(at);
    }
    const auto sink =
        open_sink({.path = small->target(), .size_bytes = c.windows.size() * kWindow});
    ASSERT_TRUE(sink.ok()) << to_string(sink.error());
    std::atomic<std::size_t> next{0};
    {
      std::vector<std::jthread> writers;
      for (int i = 0; i < 4; ++i) {
        writers.emplace_back([&] {
          const AlignedBuffer buffer(kWrite);
          for (std::size_t at = next++; at < writes.size(); at = next++) {
            std::ranges::fill(buffer.span(), std::byte(1 + at));
            const Result<void> written = (*sink)->write(writes[at], buffer.span());
            EXPECT_TRUE(written.ok()) << writes[at] << ": " << to_string(written.error());
          }
        });
      }
    }
    ASSERT_TRUE((*sink)->finish().ok());
    EXPECT_LE(testing::allocated_bytes(small->target()), writes.size() * kWrite + kChunkBytes);
    const AlignedBuffer buffer(kWrite);
    for (std::size_t i = 0; i < writes.size(); ++i) {
      ASSERT_TRUE((*sink)->read_back(writes[i], buffer.span()).ok());
      EXPECT_EQ(buffer.span()[0], std::byte(1 + i));
      EXPECT_EQ(std::memcmp(buffer.span().data(), buffer.span().data() + 1, kWrite - 1), 0) << i;
    }
  }
}

TEST_F(AllocateAheadTest, AFinishedSinkHasNoMoreSpaceThanData) {
  const auto sink = open_sink({.path = directory.path("sink.img"), .size_bytes = kSize});
  ASSERT_TRUE(sink.ok()) << to_string(sink.error());
  const AlignedBuffer buffer(8 * kChunkBytes);
  std::ranges::fill(buffer.span(), std::byte{9});
  for (std::uint64_t at = 0; at < kWindow + 8 * kChunkBytes; at += buffer.span().size()) {
    ASSERT_TRUE((*sink)->write(at, buffer.span()).ok());
  }
  ASSERT_TRUE((*sink)->finish().ok());
  EXPECT_LE(testing::allocated_bytes(directory.path("sink.img")), kWindow + 9 * kChunkBytes);
  const Bytes whole = testing::read_whole(directory.path("sink.img"), kSize);
  EXPECT_TRUE(all_are(whole, 0, kWindow + 8 * kChunkBytes, std::byte{9}));
  EXPECT_TRUE(all_are(whole, kWindow + 8 * kChunkBytes, kSize, std::byte{0}));
}

}  // namespace
}  // namespace vmferry
