// An HTTP server that lies in every way, and what heals it: a target that equals the source or a
// clean error; never a silent difference, never a hang.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/transfer/support/fault_fixture.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::Bytes;
using testing::copy_to;
using testing::Deadline;
using testing::expect_clean;
using testing::FaultsComponentTest;
using testing::kDeadline;
using testing::kSizes;
using testing::LyingServer;
using testing::open_http;
using testing::open_image;
using testing::open_nbd;
using testing::Workspace;

// Each lie of tests/support/lying_http_server.py, and what heals it, at each size.
class LyingServerComponentTest : public FaultsComponentTest {
 protected:
  void SetUp() override {
    if (!testing::has_program("python3")) GTEST_SKIP() << "needs python3";
  }
  void expect_equal_or_clean(const std::vector<const char*>& modes, bool image) {
    // Of the ordinary sizes one each time, with VMFERRY_FAULT_ROUNDS all of them.
    std::vector<std::uint64_t> sizes{0, 1, 4097, kChunkBytes + 1};
    sizes.push_back(kSizes[random_() % std::size(kSizes)]);
    if (std::getenv("VMFERRY_FAULT_ROUNDS") != nullptr) {
      sizes.assign(std::begin(kSizes), std::end(kSizes));
    }
    for (const std::uint64_t size : sizes) {
      const Workspace workspace;
      const Bytes disk = testing::random_disk(size, random_).content;
      const LyingServer server(workspace, disk);
      const std::string target = workspace.path("target.img");
      for (const char* mode : modes) {
        if (std::string(mode) == "hang" && size != 4097) continue;  // it takes its time
        SCOPED_TRACE(fmt::format("{} {}", mode, size));
        const Deadline deadline(kDeadline, mode);
        Result<std::unique_ptr<DiskSource>> source =
            image ? open_image(server.image_url(mode), size) : open_http(server.file_url(mode));
        std::filesystem::remove(target);
        const Result<CopyResult> result =
            source ? copy_to(**source, target) : Result<CopyResult>(source.error());
        if (!result) {
          expect_clean(result.error());
          EXPECT_NE(std::string(mode), "ok") << to_string(result.error());
          continue;
        }
        ASSERT_TRUE(testing::read_whole(target, disk.size()) == disk);
        ASSERT_EQ(result->digest, testing::reference_digest(disk, HashAlgorithm::Xxh3_128));
      }
    }
  }
};

TEST_F(LyingServerComponentTest, Ns31AndNr11FilesGiveAnEqualTargetOrACleanError) {
  expect_equal_or_clean({"ok",
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
                         "tworanges",
                         "twolengths",
                         "cut100k",
                         "chunkedlong",
                         "ignorerange",
                         "etag",
                         "noetag",
                         "weaketag",
                         "remodified",
                         "headsize",
                         "r416",
                         "s500",
                         "alwaystruncate",
                         "s403",
                         "hang",
                         "closeshort",
                         "closewhole",
                         "ignorerange+truncate",
                         "ignorerange+grown",
                         "ignorerange+head405",
                         "ignorerange+anonymous+truncate",
                         "endlessbyte",
                         "truncate+s503twice"},
                        false);
}

TEST_F(LyingServerComponentTest, Ns31ImagesGiveAnEqualTargetOrACleanError) {
  expect_equal_or_clean({"ok",          "options500",     "options405",
                         "options204",  "optionstext",    "nomaxreaders",
                         "readers2",    "nohole",         "gap",
                         "overlap",     "shortend",       "truncate",
                         "shiftedonce", "s500twice",      "s400twice",
                         "idleclose",   "shifted",        "shorter",
                         "grown",       "nocontentrange", "garbagerange",
                         "gzip",        "wronglength",    "toolong",
                         "tworanges",   "twolengths",     "cut100k",
                         "chunkedlong", "ignorerange",    "r416",
                         "s500",        "alwaystruncate", "s403",
                         "hang",        "closeshort",     "closewhole",
                         "expired",     "losechecksum",   "gap+truncate+s503twice"},
                        true);
}

}  // namespace
}  // namespace vmferry
