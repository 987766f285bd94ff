// One conformance suite for every sink, then what is particular to files and devices. NS-18, NR-7:
// the FUSE file system knows neither holes, nor zero ranges, nor preallocation; NS-30, NR-8: tmpfs
// refuses direct I/O on older kernels.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "common/fd.h"
#include "tests/transfer/support/disks.h"
#include "tests/transfer/support/fault_filesystem.h"
#include "transfer/aligned_buffer.h"
#include "transfer/open_sink.h"
#include "transfer/sinks/memory.h"
#include "transfer/sinks/zero_ladder.h"

namespace vmferry {
namespace {

using testing::Bytes;
using ::testing::HasSubstr;
using testing::LoopDevice;

constexpr std::uint64_t kOddSize = 3 * kChunkBytes + 513 * 512 + 100;

struct Target {
  std::string name;
  std::uint64_t size_bytes = kOddSize;
  bool preallocate = false;
  bool direct_io = true;
};

class SinkConformanceTest : public ::testing::TestWithParam<Target> {
 protected:
  // Opens the sink, or skips when this machine cannot have it.
  std::unique_ptr<DiskSink> open() {
    const Target& target = GetParam();
    SinkOptions options{.path = directory.path("disk.img"),
                        .size_bytes = target.size_bytes,
                        .preallocate = target.preallocate,
                        .direct_io = target.direct_io};
    if (target.name == "Memory") return std::make_unique<MemorySink>(target.size_bytes);
    if (target.name.starts_with("Block")) {
      const unsigned sector = target.name == "BlockDevice4096" ? 4096 : 512;
      loop = LoopDevice::create(8 * kChunkBytes, sector);
      if (loop == nullptr) return nullptr;
      loop->fill(std::byte{0xff}, 8 * kChunkBytes);
      options.path = loop->device();
    }
    if (target.name.find("Fuse") != std::string::npos) {
      testing::FaultFilesystem::Faults faults;
      faults.refuses_direct_io = target.name.ends_with("RefusesDirectIo");
      fuse = testing::FaultFilesystem::create(std::move(faults));
      if (fuse == nullptr) return nullptr;
      options.path = fuse->target();
    }
    if (target.name.starts_with("FileOnExt4") || target.name.starts_with("FileOnXfs")) {
      const bool xfs = target.name.starts_with("FileOnXfs");
      filesystem = testing::SmallFilesystem::create(xfs ? "xfs" : "ext4", (xfs ? 320u : 32u) << 20);
      if (filesystem == nullptr) return nullptr;
      options.path = filesystem->target();
    }
    if (target.name.find("Tmpfs") != std::string::npos) {
      tmpfs = testing::SmallTmpfs::create(16 * kChunkBytes);
      if (tmpfs == nullptr) return nullptr;
      options.path = tmpfs->path();
    }
    Result<std::unique_ptr<DiskSink>> sink = open_sink(options);
    EXPECT_TRUE(sink.ok()) << to_string(sink.error());
    return sink ? *std::move(sink) : nullptr;
  }
  static Bytes read_all(DiskSink& sink) {
    Bytes content(sink.size_bytes());
    EXPECT_TRUE(sink.flush().ok());
    EXPECT_TRUE(sink.read_back(0, content).ok());
    return content;
  }

  testing::TemporaryDirectory directory;
  std::unique_ptr<LoopDevice> loop;
  std::unique_ptr<testing::FaultFilesystem> fuse;
  std::unique_ptr<testing::SmallTmpfs> tmpfs;
  std::unique_ptr<testing::SmallFilesystem> filesystem;
};

#define OPEN_OR_SKIP()                           \
  const std::unique_ptr<DiskSink> sink = open(); \
  if (sink == nullptr) GTEST_SKIP() << "needs a loop device, mkfs, or to mount (root)"

TEST_P(SinkConformanceTest, RandomWritesAndZeroesReadBack) {
  OPEN_OR_SKIP();
  std::mt19937_64 random(99);
  const std::uint64_t size = sink->size_bytes();
  Bytes expected(size);
  if (!sink->initially_zero()) {
    ASSERT_TRUE(sink->zero({0, size}, {}).ok());
  }
  const AlignedBuffer buffer(2 * kChunkBytes);
  for (int round = 0; round < 120; ++round) {
    std::uint64_t offset = random() % size;
    std::uint64_t length = 1 + random() % std::min(size - offset, kChunkBytes);
    if (random() % 2 == 0) {  // as the engine does: aligned, the last one short
      offset = offset / 65536 * 65536;
      length = std::min<std::uint64_t>(size - offset, 65536 * (1 + random() % 16));
    }
    if (random() % 3 == 0) {
      std::memset(expected.data() + offset, 0, length);
      ASSERT_TRUE(sink->zero({offset, length}, {}).ok());
      continue;
    }
    const Bytes data = testing::random_bytes(length, random());
    const std::span<std::byte> from = buffer.span().subspan(random() % 4 == 0 ? 1 : 0, length);
    std::memcpy(from.data(), data.data(), length);
    std::memcpy(expected.data() + offset, data.data(), length);
    ASSERT_TRUE(sink->write(offset, from).ok());
  }
  EXPECT_TRUE(read_all(*sink) == expected);
  ASSERT_TRUE(sink->finish().ok());
  for (int round = 0; round < 50; ++round) {  // any range can be read back
    const std::uint64_t offset = random() % size;
    Bytes part(1 + random() % std::min<std::uint64_t>(size - offset, 20'000));
    ASSERT_TRUE(sink->read_back(offset, part).ok());
    EXPECT_EQ(std::memcmp(part.data(), expected.data() + offset, part.size()), 0);
  }
}

TEST_P(SinkConformanceTest, KnownZeroRangesAreSortedWithinAndZero) {
  OPEN_OR_SKIP();
  const Bytes data(kChunkBytes, std::byte{1});
  ASSERT_TRUE(sink->write(kChunkBytes, data).ok());
  ASSERT_TRUE(sink->flush().ok());
  const ByteRange asked{4096, sink->size_bytes() - 4096};
  const auto ranges = sink->known_zero_ranges(asked);
  ASSERT_TRUE(ranges.ok());
  std::uint64_t at = asked.offset;
  for (const ByteRange& range : *ranges) {
    EXPECT_GE(range.offset, at);
    EXPECT_LE(range.end(), asked.end());
    at = range.end();
    Bytes content(range.length, std::byte{1});
    ASSERT_TRUE(sink->read_back(range.offset, content).ok());
    EXPECT_TRUE(content == Bytes(range.length)) << range.offset;
  }
}

TEST_P(SinkConformanceTest, RefusesWhatIsBeyondItsEnd) {
  OPEN_OR_SKIP();
  const Bytes two(2);
  EXPECT_EQ(sink->write(sink->size_bytes() - 1, two).error().kind(), ErrorKind::InvalidArgument);
  EXPECT_EQ(sink->zero({sink->size_bytes(), 1}, {}).error().kind(), ErrorKind::InvalidArgument);
  Bytes into(2);
  EXPECT_FALSE(sink->read_back(sink->size_bytes() - 1, into).ok());
}

TEST_P(SinkConformanceTest, ParallelWritersOfNeighbouringChunks) {
  OPEN_OR_SKIP();
  const Bytes content = testing::random_bytes(sink->size_bytes(), 5);
  {
    std::vector<std::jthread> writers;
    for (std::uint64_t first = 0; first < 4; ++first) {
      writers.emplace_back([&, first] {
        const AlignedBuffer buffer(kChunkBytes);
        const std::uint64_t offset = first * kChunkBytes;
        const std::uint64_t length = std::min(kChunkBytes, content.size() - offset);
        std::memcpy(buffer.span().data(), content.data() + offset, length);
        EXPECT_TRUE(sink->write(offset, buffer.span().first(length)).ok());
      });
    }
  }
  EXPECT_TRUE(read_all(*sink) == content);
}

INSTANTIATE_TEST_SUITE_P(
    Sinks, SinkConformanceTest,
    ::testing::Values(Target{"Memory"}, Target{"File"}, Target{"FilePreallocated", kOddSize, true},
                      Target{"FileBuffered", kOddSize, false, false}, Target{"FileOnFuse"},
                      Target{"FileOnFusePreallocated", kOddSize, true},
                      Target{"FileOnFuseBuffered", kOddSize, false, false},
                      Target{"FileOnFuseThatRefusesDirectIo"}, Target{"FileOnTmpfs"},
                      Target{"FileOnExt4"}, Target{"FileOnExt4Preallocated", kOddSize, true},
                      Target{"FileOnXfs"}, Target{"FileOnXfsPreallocated", kOddSize, true},
                      Target{"BlockDevice"}, Target{"BlockDeviceBuffered", kOddSize, false, false},
                      Target{"BlockDevice4096", 3 * kChunkBytes + 512 * 3}),
    [](const auto& parameter) { return parameter.param.name; });

class FileSinkTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<DiskSink>> open(std::uint64_t size, bool resume = false) {
    return open_sink({.path = path, .size_bytes = size, .resume = resume});
  }
  void fill_file(std::uint64_t size) const {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(write_fully(fd.get(), 0, Bytes(size, std::byte{0xff})).ok());
  }
  testing::TemporaryDirectory directory;
  std::string path = directory.path("disk.img");
};

TEST_F(FileSinkTest, Ns17And19FreshSmallerAndLargerFilesGetTheExactSizeAndNoOldData) {
  for (const std::uint64_t size : {0ull, 512ull, 513ull * 512, (1ull << 20) + 512}) {
    for (const std::uint64_t old : {0ull, 100ull, 3ull << 20}) {
      SCOPED_TRACE(fmt::format("{} over {}", size, old));
      ::unlink(path.c_str());
      if (old != 0) fill_file(old);
      const auto sink = open(size);
      ASSERT_TRUE(sink.ok()) << to_string(sink.error());
      EXPECT_TRUE((*sink)->initially_zero());
      ASSERT_TRUE((*sink)->finish().ok());
      EXPECT_EQ(std::filesystem::file_size(path), size);
      EXPECT_TRUE(testing::read_whole(path, size) == Bytes(size));
      EXPECT_EQ(testing::allocated_bytes(path) / 65536, 0u);  // sparse
    }
  }
}

TEST_F(FileSinkTest, Ns17AReadOnlyTargetIsRefused) {
  const auto tmpfs = testing::SmallTmpfs::create(4 << 20);
  if (tmpfs == nullptr) GTEST_SKIP() << "needs to mount a tmpfs (root)";
  const std::string image = tmpfs->path() + "/disk.img";
  ASSERT_TRUE(write_file_atomically(image, std::string(4096, 'x'), 0600).ok());
  ASSERT_TRUE(tmpfs->make_read_only());
  for (const bool resume : {false, true}) {
    const auto sink = open_sink({.path = tmpfs->path(), .size_bytes = 4096, .resume = resume});
    ASSERT_FALSE(sink.ok());
    EXPECT_EQ(sink.error().kind(), ErrorKind::PermissionDenied) << to_string(sink.error());
  }
  EXPECT_EQ(*read_file(image), std::string(4096, 'x'));
}

TEST_F(FileSinkTest, Ns18AndNr7WithoutHolesAndZeroRangesZerosAreWritten) {
  const auto fuse = testing::FaultFilesystem::create({});
  if (fuse == nullptr) GTEST_SKIP() << "needs to mount FUSE (root)";
  for (const bool thick : {false, true}) {
    const auto sink = open_sink(
        {.path = fuse->target(), .size_bytes = 3 * kChunkBytes + 5, .preallocate = thick});
    ASSERT_TRUE(sink.ok()) << to_string(sink.error());
    ASSERT_TRUE((*sink)->write(0, Bytes(3 * kChunkBytes + 5, std::byte{1})).ok());
    ASSERT_TRUE((*sink)->zero({1000, 2 * kChunkBytes}, {}).ok());
    ASSERT_TRUE((*sink)->finish().ok());
    const Bytes content = fuse->content();
    for (std::uint64_t i = 0; i < content.size(); ++i) {
      const bool zero = i >= 1000 && i < 1000 + 2 * kChunkBytes;
      ASSERT_EQ(content[i], std::byte(zero ? 0 : 1)) << i;
    }
  }
}

TEST_F(FileSinkTest, Ns30AndNr8WhereDirectIoIsRefusedBufferedWritesDo) {
  const auto tmpfs = testing::SmallTmpfs::create(8 << 20);
  if (tmpfs == nullptr) GTEST_SKIP() << "needs to mount a tmpfs (root)";
  const Bytes content = testing::random_bytes(3 * kChunkBytes + 77, 8);
  for (const bool direct : {true, false}) {
    const auto sink =
        open_sink({.path = tmpfs->path(), .size_bytes = content.size(), .direct_io = direct});
    ASSERT_TRUE(sink.ok()) << to_string(sink.error());
    ASSERT_TRUE((*sink)->write(0, content).ok());
    ASSERT_TRUE((*sink)->flush().ok());
    Bytes back(content.size());
    ASSERT_TRUE((*sink)->read_back(0, back).ok());
    EXPECT_TRUE(back == content);
    ASSERT_TRUE((*sink)->finish().ok());
  }
}

TEST_F(FileSinkTest, ResumeKeepsContentAndKnowsNothingToBeZero) {
  EXPECT_EQ(open(4096, true).error().kind(), ErrorKind::NotFound);
  fill_file(4096);
  EXPECT_EQ(open(8192, true).error().kind(), ErrorKind::DataLoss);
  const auto sink = open(4096, true);
  ASSERT_TRUE(sink.ok());
  EXPECT_FALSE((*sink)->initially_zero());
  EXPECT_EQ(testing::read_whole(path, 4096), Bytes(4096, std::byte{0xff}));
}

TEST_F(FileSinkTest, PunchesHolesIntoWhatWasWritten) {
  const auto sink = open(8 * kChunkBytes);
  ASSERT_TRUE(sink.ok());
  ASSERT_TRUE((*sink)->write(0, Bytes(8 * kChunkBytes, std::byte{1})).ok());
  ASSERT_TRUE((*sink)->zero({0, 8 * kChunkBytes}, {}).ok());
  ASSERT_TRUE((*sink)->finish().ok());
  EXPECT_LT(testing::allocated_bytes(path), kChunkBytes);
}

TEST_F(FileSinkTest, IdentityChangesWhenTheFileIsStartedOver) {
  const auto first = (*open(4096))->identity();
  EXPECT_EQ((*open(4096, true))->identity(), first);
  EXPECT_NE((*open(4096))->identity(), first);
}

TEST_F(FileSinkTest, Ns38ASecondOpenerIsRefused) {
  const auto first = open(4096);
  for (const bool resume : {false, true}) {
    const auto second = open(4096, resume);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code(), "VMF-DST-BUSY");
    EXPECT_EQ(second.error().kind(), ErrorKind::Unavailable);
  }
}

TEST_F(FileSinkTest, ADirectoryMeansTheDiskImageWithinIt) {
  ASSERT_TRUE(open_sink({.path = directory.path() + "/", .size_bytes = 4096}).ok());
  EXPECT_EQ(std::filesystem::file_size(path), 4096u);
}

TEST_F(FileSinkTest, LinksAndOtherThingsAreRefused) {
  std::filesystem::create_symlink("/etc/passwd", path);
  EXPECT_EQ(open(4096).error().code(), "VMF-DST-UNSAFE");
  EXPECT_EQ(open_sink({.path = directory.path(), .size_bytes = 1}).error().code(),
            "VMF-DST-UNSAFE");
  std::filesystem::create_directory_symlink("/tmp", directory.path("link"));
  for (const char* link : {"link", "link/"}) {
    EXPECT_EQ(open_sink({.path = directory.path(link), .size_bytes = 1}).error().code(),
              "VMF-DST-UNSAFE");
  }
  ASSERT_EQ(::mkfifo(directory.path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(open_sink({.path = directory.path("fifo"), .size_bytes = 1}).error().code(),
            "VMF-DST-UNSAFE");
  EXPECT_EQ(open_sink({.path = "/dev/null", .size_bytes = 1}).error().code(), "VMF-DST-UNSAFE");
}

TEST_F(FileSinkTest, AnOwnDescriptorOfADirectoryIsFollowed) {
  const UniqueFd fd(::open(directory.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(
      open_sink({.path = fmt::format("/proc/self/fd/{}", fd.get()), .size_bytes = 4096}).ok());
  EXPECT_EQ(std::filesystem::file_size(path), 4096u);
}

TEST_F(FileSinkTest, Ns24AFullFileSystemNamesNeededAndAvailable) {
  const auto small = testing::SmallTmpfs::create(4 << 20);
  if (small == nullptr) GTEST_SKIP() << "needs to mount a tmpfs (root)";
  const SinkOptions options{.path = small->path(), .size_bytes = 16 << 20};
  SinkOptions thick = options;
  thick.preallocate = true;
  SinkOptions known = options;
  known.data_bytes = 8 << 20;
  for (const SinkOptions& refused : {thick, known}) {
    const auto sink = open_sink(refused);
    ASSERT_FALSE(sink.ok());
    EXPECT_EQ(sink.error().code(), "VMF-DST-FULL");
    EXPECT_EQ(sink.error().kind(), ErrorKind::ResourceExhausted);
  }
  const auto sink = open_sink(options);
  ASSERT_TRUE(sink.ok()) << to_string(sink.error());
  const Bytes data(kChunkBytes, std::byte{1});
  Result<void> written;
  for (std::uint64_t i = 0; i < 16 && written; ++i) written = (*sink)->write(i * kChunkBytes, data);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), "VMF-DST-FULL");
  EXPECT_THAT(written.error().message(), HasSubstr("needed"));
  EXPECT_THAT(written.error().message(), HasSubstr("available"));
}

TEST(FileSinkFinishTest, AFileThatWasRemovedMeanwhileIsNoSuccess) {
  const testing::TemporaryDirectory directory;
  const auto sink = open_sink({.path = directory.path("disk.img"), .size_bytes = kChunkBytes});
  ASSERT_TRUE(sink.ok()) << to_string(sink.error());
  ASSERT_TRUE((*sink)->write(0, Bytes(kChunkBytes, std::byte{7})).ok());
  ASSERT_EQ(::unlink(directory.path("disk.img").c_str()), 0);
  const auto finished = (*sink)->finish();
  ASSERT_FALSE(finished.ok());
  EXPECT_THAT(finished.error().message(), HasSubstr("was removed while it was written"));
}

TEST(ZeroLadderTest, Ns18UnsupportedStepsAreLeftForGood) {
  int first = 0;
  int second = 0;
  int written = 0;
  ZeroLadder ladder(
      {{"a", 100, [&](ByteRange) { return ++first, EOPNOTSUPP; }},
       {"b", 10,
        [&](ByteRange range) {
          EXPECT_LE(range.length, 10u);
          return ++second > 3 ? EINVAL : 0;
        }}},
      [&](ByteRange range) -> Result<void> {
        written += static_cast<int>(range.length);
        return {};
      },
      [](int, std::string_view, ByteRange) { return Error(ErrorKind::Internal, "x"); });
  ASSERT_TRUE(ladder.zero({0, 50}, {}).ok());
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 4);
  EXPECT_EQ(written, 20);  // three of ten went by b
  EXPECT_EQ(ladder.step_name(), "write");
  ASSERT_TRUE(ladder.zero({0, 5}, {}).ok());
  EXPECT_EQ(written, 25);
  EXPECT_EQ(first + second, 5);
}

TEST(ZeroLadderTest, OtherErrorsEndItAndAStopIsSeenBetweenCalls) {
  std::stop_source stop;
  ZeroLadder ladder(
      {{"a", 10,
        [&](ByteRange range) {
          if (range.offset == 20) stop.request_stop();
          return range.offset == 90 ? EIO : 0;
        }}},
      [](ByteRange) -> Result<void> { return {}; },
      [](int failed, std::string_view step, ByteRange) {
        return make_error(ErrorKind::DataLoss, "{} {}", step, failed == EIO);
      });
  EXPECT_EQ(ladder.zero({50, 50}, {}).error().message(), "a true");
  EXPECT_EQ(ladder.zero({0, 90}, stop.get_token()).error().kind(), ErrorKind::Canceled);
}

}  // namespace
}  // namespace vmferry
