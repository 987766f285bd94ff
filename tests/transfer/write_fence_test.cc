#include "transfer/write_fence.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/transfer/support/disks.h"
#include "transfer/open_sink.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;

TEST(WriteFenceTest, ClosesAtItsEndAndStaysClosed) {
  const FakeClock clock;
  WriteFence fence(clock, clock.boot() + 10s);
  EXPECT_TRUE(fence.check().ok());
  clock.advance(9s);
  fence.extend_until(clock.boot() + 10s);
  clock.advance(9s);
  EXPECT_TRUE(fence.check().ok());
  clock.advance(1s);
  EXPECT_EQ(fence.check().error().code(), code::kAgentLost);
  fence.extend_until(clock.boot() + 10s);  // the target may have another writer by now
  EXPECT_EQ(fence.check().error().code(), code::kAgentLost);
}

// Every way that a sink changes its target.
void expect_no_change(const SinkOptions& options, std::uint64_t size, const std::string& path) {
  const FakeClock clock;
  WriteFence fence(clock, clock.boot() + 10s);
  SinkOptions fenced = options;
  fenced.fence = &fence;
  Result<std::unique_ptr<DiskSink>> sink = open_sink(fenced);
  ASSERT_TRUE(sink.ok()) << to_string(sink.error());
  const testing::Bytes data = testing::random_bytes(size, 1);
  ASSERT_TRUE((*sink)->write(0, data).ok());
  ASSERT_TRUE((*sink)->flush().ok());
  clock.advance(10s);
  const testing::Bytes other = testing::random_bytes(size, 2);
  EXPECT_EQ((*sink)->write(0, other).error().code(), code::kAgentLost);
  EXPECT_EQ((*sink)->write(100, std::span(other).first(50)).error().code(), code::kAgentLost);
  EXPECT_EQ((*sink)->zero({0, size}, {}).error().code(), code::kAgentLost);
  EXPECT_EQ((*sink)->zero({5, 17}, {}).error().code(), code::kAgentLost);
  (void)(*sink)->finish();
  sink->reset();
  EXPECT_TRUE(testing::read_whole(path, size) == data);
  // Nor is a target started over.
  if (std::filesystem::is_regular_file(path)) {
    EXPECT_FALSE(open_sink(fenced).ok());
  }
  EXPECT_TRUE(testing::read_whole(path, size) == data);
}

TEST(WriteFenceTest, AClosedFenceKeepsAFileAsItIs) {
  const testing::TemporaryDirectory directory;
  const std::uint64_t size = 2 * kChunkBytes + 100;
  const std::string path = directory.path("disk.img");
  for (const bool direct : {true, false}) {
    SCOPED_TRACE(direct);
    expect_no_change({.path = path, .size_bytes = size, .direct_io = direct}, size, path);
  }
}

// Each look at it lets a second pass.
class TickingClock final : public Clock {
 public:
  WallTime wall() const override { return {}; }
  SteadyTime steady() const override { return {}; }
  SteadyTime boot() const override { return SteadyTime(std::chrono::seconds(++looks_)); }
  bool sleep(std::chrono::nanoseconds, std::stop_token) const override { return true; }

 private:
  mutable std::atomic<int> looks_{0};
};

// A target is started over in several calls, and the lease may end between any two of them.
TEST(WriteFenceTest, AFenceThatClosesWhileATargetIsStartedOverLetsNoFurtherCallThrough) {
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path("disk.img");
  const std::string old(12345, 'o');
  const std::uint64_t size = kChunkBytes;
  struct Left {
    std::uint64_t size;
    bool allocated;
  };
  // After the mark, after dropping what was there, after the new size, and all of it.
  const Left left[] = {
      {old.size(), true}, {old.size(), true}, {0, false}, {size, false}, {size, true}};
  for (int calls = 0; calls < static_cast<int>(std::size(left)); ++calls) {
    SCOPED_TRACE(calls);
    ASSERT_TRUE(write_file_atomically(path, old, 0600).ok());
    const TickingClock clock;
    const WriteFence fence(clock, SteadyTime(std::chrono::seconds(calls + 1)));
    const auto sink =
        open_sink({.path = path, .size_bytes = size, .preallocate = true, .fence = &fence});
    EXPECT_EQ(sink.ok(), calls == 4);
    if (!sink) {
      EXPECT_EQ(sink.error().code(), code::kAgentLost) << to_string(sink.error());
    }
    EXPECT_EQ(std::filesystem::file_size(path), left[calls].size);
    EXPECT_EQ(testing::allocated_bytes(path) > 4096, left[calls].allocated);
  }
}

TEST(WriteFenceTest, AClosedFenceKeepsADeviceAsItIs) {
  const std::uint64_t size = 2 * kChunkBytes + 512;
  const auto loop = testing::LoopDevice::create(4 * kChunkBytes);
  if (loop == nullptr) GTEST_SKIP() << "needs a loop device (root)";
  expect_no_change({.path = loop->device(), .size_bytes = size}, size, loop->device());
}

}  // namespace
}  // namespace vmferry
