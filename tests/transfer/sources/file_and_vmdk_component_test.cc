// The local file source, the VMDK stream over HTTP, and open_source's own check.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/transfer/support/copy_run.h"
#include "tests/transfer/support/deadline.h"
#include "tests/transfer/support/endless_server.h"
#include "tests/transfer/support/source_peers.h"
#include "tests/transfer/support/vmdk_stream_builder.h"
#include "transfer/open_sink.h"
#include "transfer/open_source.h"
#include "transfer/sinks/memory.h"
#include "transfer/sources/file.h"
#include "transfer/sources/vmdk.h"

namespace vmferry {
namespace {

using testing::Bytes;
using testing::LyingServer;
using testing::patterned;
using testing::read_all;
using testing::Workspace;

TEST(FileSourceTest, ReadsEverySizeAndKnowsHoles) {
  const Workspace workspace;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{511}, std::size_t{4097},
        (std::size_t{1} << 20) - 1, (std::size_t{1} << 20) + 1}) {
    const Bytes disk = patterned(size);
    auto source = FileSource::open(workspace.write("disk.img", disk), {});
    ASSERT_TRUE(source.ok()) << source.error().message();
    EXPECT_TRUE(*read_all(**source) == disk) << size;
  }
  const std::string path = workspace.path("sparse.img");
  const UniqueFd fd(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_EQ(::ftruncate(fd.get(), 8 << 20), 0);
  ASSERT_TRUE(write_fully(fd.get(), 2 << 20, patterned(1 << 20)).ok());
  auto source = FileSource::open(path, {});
  ASSERT_TRUE(source.ok());
  const auto extents = testing::all_extents(**source);
  EXPECT_EQ(*extents, (std::vector<Extent>{{{0, 2u << 20}, Allocation::Zero},
                                           {{2u << 20, 1u << 20}, Allocation::Data},
                                           {{3u << 20, 5u << 20}, Allocation::Zero}}));
}

TEST(FileSourceTest, RefusesWhatIsNoDiskAndReadsBeyondTheEnd) {
  const Workspace workspace;
  EXPECT_EQ(FileSource::open(workspace.path("none"), {}).error().code(), code::kDiskMissing);
  EXPECT_EQ(FileSource::open(workspace.path(""), {}).error().kind(), ErrorKind::InvalidArgument);
  auto source = FileSource::open(workspace.write("a", patterned(100)), {});
  Bytes piece(101);
  EXPECT_EQ((*source)->read(0, piece, {}).error().kind(), ErrorKind::DataLoss);
}

TEST(FileSourceTest, WhatIsBeingWrittenIsNoSourceAndASourceNoTarget) {
  const Workspace workspace;
  const std::string path = workspace.write("disk.img", patterned(4096));
  {
    const auto source = FileSource::open(path, {});
    ASSERT_TRUE(source.ok());
    EXPECT_TRUE(FileSource::open(path, {}).ok()) << "many may read";
    EXPECT_EQ(open_sink({.path = path, .size_bytes = 4096}).error().code(), code::kTargetBusy);
  }
  EXPECT_EQ(*read_file(path),
            std::string(reinterpret_cast<const char*>(patterned(4096).data()), 4096));
  const auto sink = open_sink({.path = path, .size_bytes = 4096});
  ASSERT_TRUE(sink.ok());
  EXPECT_EQ(FileSource::open(path, {}).error().code(), code::kTargetBusy);
}

// Others than us heed no lock.
class ChangingFileTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kSize = 4u << 20;

  // Last changed an hour ago: a clock that ticks slowly does not hide what comes now.
  std::string make_file(const Bytes& content) {
    const std::string path = workspace_.write("disk.img", content);
    const timespec times[2] = {{::time(nullptr) - 3600, 0}, {::time(nullptr) - 3600, 0}};
    EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
    return path;
  }
  static void expect_changed(const Result<void>& result) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind(), ErrorKind::DataLoss);
    EXPECT_EQ(result.error().code(), code::kSourceChanged) << to_string(result.error());
  }
  Workspace workspace_;
};

TEST_F(ChangingFileTest, WhatWasCutOffIsNotZero) {
  const std::string path = make_file(patterned(kSize));
  const auto source = FileSource::open(path, {});
  ASSERT_TRUE(source.ok());
  EXPECT_TRUE((*source)->check_unchanged().ok());
  ASSERT_EQ(::truncate(path.c_str(), kSize / 2), 0);
  const auto extents = (*source)->extents({kSize / 2, kSize / 2}, {});
  expect_changed(extents ? Result<void>() : Result<void>(extents.error()));
  Bytes piece(kSize / 2);
  expect_changed((*source)->read(kSize / 2, piece, {}));
  expect_changed((*source)->check_unchanged());
}

TEST_F(ChangingFileTest, ACopyOfIsNoCopy) {
  struct Case {
    const char* name;
    void (*change)(const std::string& path);
  };
  const Case cases[] = {
      {"nothing happens", [](const std::string&) {}},
      {"written in place",
       [](const std::string& path) {
         const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
         EXPECT_TRUE(write_fully(fd.get(), 0, patterned(512, 9)).ok());
       }},
      {"cut off", [](const std::string& path) { EXPECT_EQ(::truncate(path.c_str(), 100), 0); }},
      {"grown", [](const std::string& path) { EXPECT_EQ(::truncate(path.c_str(), 2 * kSize), 0); }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const bool changes = &c != &cases[0];
    const Bytes content = patterned(kSize);
    const std::string path = make_file(content);
    DiskEndpoint endpoint;
    endpoint.kind = SourceKind::File;
    endpoint.url = path;
    SourceEnvironment environment;
    environment.fingerprint = true;
    const auto source = open_source(endpoint, environment, {});
    ASSERT_TRUE(source.ok());
    MemorySink sink(kSize);
    std::atomic<bool> done{false};
    sink.faults.on_write = [&](ByteRange) -> Result<void> {
      if (!done.exchange(true)) c.change(path);
      return {};
    };
    testing::RememberingJournal journal;
    testing::Copy copy;
    copy.journal = &journal;
    const Result<CopyResult> result = copy.run(**source, sink);
    EXPECT_EQ(result.ok(), !changes);
    EXPECT_EQ(journal.complete, !changes);
    if (changes) {
      expect_changed(result ? Result<void>() : Result<void>(result.error()));
    } else {
      EXPECT_EQ(sink.content(), content);
    }
  }
}

TEST(FileSourceTest, UrlsNameLocalPathsOnly) {
  EXPECT_EQ(*path_of_file_url("file:///a%20b/c"), "/a b/c");
  EXPECT_EQ(*path_of_file_url("file:/a"), "/a");
  EXPECT_EQ(*path_of_file_url("dir/disk.img"), "dir/disk.img");
  EXPECT_FALSE(path_of_file_url("file://host/a").ok());
}

TEST(OpenSourceTest, DiskOfAnotherSizeIsRefused) {
  const Workspace workspace;
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::File;
  endpoint.url = workspace.write("disk.img", patterned(4096));
  endpoint.size_bytes = 8192;
  const auto source = open_source(endpoint, {}, {});
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().code(), code::kSourceChanged);
  endpoint.size_bytes = 4096;
  EXPECT_TRUE(open_source(endpoint, {}, {}).ok());
}

class VmdkStreamSourceComponentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_program("python3")) GTEST_SKIP() << "needs python3";
  }
  Result<Bytes> read_stream(const Bytes& stream) {
    const Workspace workspace;
    const LyingServer server(workspace, stream);
    DiskEndpoint endpoint;
    endpoint.kind = SourceKind::VmdkStream;
    endpoint.url = server.file_url("ok");
    auto source = TRY(VmdkStreamSource::open(endpoint, {}, Logger(), {}));
    EXPECT_TRUE(source->hints().sequential);
    return read_all(*source, 1);
  }
};

TEST_F(VmdkStreamSourceComponentTest, ReadsTheWholeDiskInOrder) {
  const Bytes disk = patterned((7u << 20) + 512, 9, 3);
  auto read = read_stream(testing::make_vmdk_stream(disk, {.tables = true}));
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_TRUE(*read == disk);
}

TEST_F(VmdkStreamSourceComponentTest, Vsrc39And42BrokenStreamsFail) {
  const Bytes disk = patterned(2u << 20);
  EXPECT_EQ(read_stream(testing::make_vmdk_stream(disk, {.end_marker = false})).error().kind(),
            ErrorKind::DataLoss);
  EXPECT_EQ(read_stream(testing::make_vmdk_stream(disk, {.break_deflate = true})).error().kind(),
            ErrorKind::DataLoss);
  EXPECT_EQ(read_stream(patterned(4096)).error().kind(), ErrorKind::DataLoss);
  EXPECT_FALSE(read_stream({}).ok());
}

// The stream says its own end. Nothing that a server does beyond it is waited for or taken.
TEST(VmdkStreamSourceTest, ServersThatNeverEndDoNotHoldTheCopyUp) {
  const Bytes disk = patterned(2u << 20, 9, 3);
  Bytes table(512);
  table[12] = std::byte{1};  // an empty one: a marker, and nothing behind it
  struct Case {
    const char* name;
    Bytes stream;
    Bytes rest;
    bool is_whole;
  };
  const Case cases[] = {
      {"padding without end", testing::make_vmdk_stream(disk), Bytes(64u << 10), true},
      {"a connection that stays open", testing::make_vmdk_stream(disk), {}, true},
      {"metadata without end", testing::make_vmdk_stream(disk, {.end_marker = false}), table,
       false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const testing::Deadline deadline(std::chrono::seconds(60), c.name);
    const testing::EndlessServer server(c.stream, c.rest);
    DiskEndpoint endpoint;
    endpoint.kind = SourceKind::VmdkStream;
    endpoint.url = server.url();
    const auto source = VmdkStreamSource::open(endpoint, {}, Logger(), {});
    ASSERT_TRUE(source.ok()) << to_string(source.error());
    const Result<Bytes> read = read_all(**source, 1);
    EXPECT_EQ(read.ok(), c.is_whole);
    if (read) {
      EXPECT_TRUE(*read == disk);
    } else {
      EXPECT_EQ(read.error().kind(), ErrorKind::DataLoss) << to_string(read.error());
    }
  }
}

// A copy that goes on has no use for them. A damaged one tells that they are not inflated.
TEST(VmdkStreamSourceTest, GrainsBeforeTheFirstReadAreOfNoInterest) {
  const Bytes disk = patterned(4u << 20);
  const testing::EndlessServer server(testing::make_vmdk_stream(disk, {.break_deflate = true}), {});
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::VmdkStream;
  endpoint.url = server.url();
  for (const std::size_t from : {std::size_t{0}, (std::size_t{1} << 20) + 512}) {
    const auto source = VmdkStreamSource::open(endpoint, {}, Logger(), {});
    ASSERT_TRUE(source.ok()) << to_string(source.error());
    Bytes rest(disk.size() - from);
    const Result<void> read = (*source)->read(from, rest, {});
    EXPECT_EQ(read.ok(), from != 0);
    if (read) {
      EXPECT_TRUE(std::ranges::equal(rest, std::span(disk).subspan(from)));
    }
  }
}

TEST_F(VmdkStreamSourceComponentTest, ReadsWhatQemuImgWrites) {
  if (!testing::has_program("qemu-img")) GTEST_SKIP() << "needs qemu-img";
  const Workspace workspace;
  const Bytes disk = patterned(5u << 20, 4, 3);
  const std::string raw = workspace.write("disk.raw", disk);
  const std::string vmdk = workspace.path("disk.vmdk");
  ASSERT_EQ(testing::run({"qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o",
                          "subformat=streamOptimized", raw, vmdk}),
            0);
  const std::string text = *read_file(vmdk);
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  auto read = read_stream(Bytes(first, first + text.size()));
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_TRUE(*read == disk);
}

}  // namespace
}  // namespace vmferry
