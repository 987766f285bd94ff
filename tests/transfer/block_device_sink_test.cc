// What is particular to block devices; the conformance suite of all sinks is in sink_test.cc.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/transfer/support/disks.h"
#include "transfer/copy.h"
#include "transfer/open_sink.h"
#include "transfer/sources/memory.h"

namespace vmferry {
namespace {

using testing::Bytes;
using testing::LoopDevice;

TEST(BlockDeviceSinkTest, Ns20ADeviceThatIsTooSmallIsRefusedBeforeWriting) {
  const auto loop = LoopDevice::create(kChunkBytes);
  if (loop == nullptr) GTEST_SKIP() << "needs a loop device (root)";
  loop->fill(std::byte{0xff}, kChunkBytes);
  const auto sink = open_sink({.path = loop->device(), .size_bytes = kChunkBytes + 512});
  ASSERT_FALSE(sink.ok());
  EXPECT_EQ(sink.error().code(), "VMF-DST-TOO-SMALL");
  EXPECT_EQ(testing::read_whole(loop->device(), kChunkBytes), Bytes(kChunkBytes, std::byte{0xff}));
}

TEST(BlockDeviceSinkTest, Ns21TheTailOfALargeSectorIsPaddedAndTheRestLeftAlone) {
  const auto loop = LoopDevice::create(2 * kChunkBytes, 4096);
  if (loop == nullptr) GTEST_SKIP() << "needs a loop device (root)";
  loop->fill(std::byte{0xff}, 2 * kChunkBytes);
  const std::uint64_t size = kChunkBytes + 512;
  const auto sink = open_sink({.path = loop->device(), .size_bytes = size});
  ASSERT_TRUE(sink.ok()) << to_string(sink.error());
  EXPECT_FALSE((*sink)->initially_zero());
  ASSERT_TRUE((*sink)->write(0, Bytes(size, std::byte{7})).ok());
  ASSERT_TRUE((*sink)->finish().ok());
  const Bytes device = testing::read_whole(loop->device(), 2 * kChunkBytes);
  const std::uint64_t padded = kChunkBytes + 4096;
  for (std::uint64_t i = 0; i < device.size(); ++i) {
    const std::byte expected{static_cast<unsigned char>(i < size ? 7 : i < padded ? 0 : 0xff)};
    ASSERT_EQ(device[i], expected) << i;
  }
}

TEST(BlockDeviceSinkTest, Ns17AReadOnlyDeviceIsRefused) {
  const auto loop = LoopDevice::create(kChunkBytes, 512, LoopDevice::Access::ReadOnly);
  if (loop == nullptr) GTEST_SKIP() << "needs a loop device (root)";
  const auto sink = open_sink({.path = loop->device(), .size_bytes = kChunkBytes});
  ASSERT_FALSE(sink.ok());
  EXPECT_EQ(sink.error().kind(), ErrorKind::PermissionDenied) << to_string(sink.error());
}

// The loop driver passes holes on to the file behind it, and wants whole sectors.
TEST(BlockDeviceSinkTest, Ns22AndNr6ADirtyDeviceIsZeroedToTheByteAndGivesItsSpaceBack) {
  const auto loop = LoopDevice::create(8 * kChunkBytes);
  if (loop == nullptr) GTEST_SKIP() << "needs a loop device (root)";
  loop->fill(std::byte{0xff}, 8 * kChunkBytes);
  const std::uint64_t full = testing::allocated_bytes(loop->backing_file());
  MemorySource source(Bytes(7 * kChunkBytes + 100));
  source.allocation = testing::extents_of("00000000", kChunkBytes, 7 * kChunkBytes + 100);
  const auto sink = open_sink({.path = loop->device(), .size_bytes = source.size_bytes()});
  ASSERT_TRUE(sink.ok()) << to_string(sink.error());
  CopyMonitor monitor;
  const SystemClock clock;
  const auto result = copy_disk(source, **sink, nullptr, nullptr, {}, monitor, clock, Logger(), {});
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_EQ(source.read_bytes(), 0u);
  const Bytes device = testing::read_whole(loop->device(), 8 * kChunkBytes);
  const std::uint64_t end = 7 * kChunkBytes + 512;  // the disk's last sector is padded
  EXPECT_TRUE(std::all_of(device.begin(), device.begin() + static_cast<std::ptrdiff_t>(end),
                          [](std::byte byte) { return byte == std::byte{0}; }));
  EXPECT_TRUE(std::all_of(device.begin() + static_cast<std::ptrdiff_t>(end), device.end(),
                          [](std::byte byte) { return byte == std::byte{0xff}; }));
  EXPECT_LT(testing::allocated_bytes(loop->backing_file()), full - 4 * kChunkBytes);
}

TEST(BlockDeviceSinkTest, Ns38ASecondOpenerIsRefused) {
  const auto loop = LoopDevice::create(kChunkBytes);
  if (loop == nullptr) GTEST_SKIP() << "needs a loop device (root)";
  const auto first = open_sink({.path = loop->device(), .size_bytes = kChunkBytes});
  ASSERT_TRUE(first.ok()) << to_string(first.error());
  const auto second = open_sink({.path = loop->device(), .size_bytes = kChunkBytes});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), "VMF-DST-BUSY");
}

}  // namespace
}  // namespace vmferry
