// examples/copy_disk.cc, built and run as it stands.
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/places.h"
#include "tests/transfer/support/disks.h"
#include "tests/transfer/support/source_peers.h"

namespace vmferry {
namespace {

TEST(CopyDiskExampleComponentTest, CopiesAndGoesOn) {
  const std::string program = testing::build_dir() + "/examples/copy_disk";
  if (::access(program.c_str(), X_OK) != 0) GTEST_SKIP() << "needs examples/copy_disk";
  const testing::Workspace workspace;
  const testing::Bytes disk = testing::patterned((5u << 20) + 100, 2, 4);
  const std::string source = workspace.write("source.img", disk);
  const std::string target = workspace.path("target.img");
  const std::string journal = workspace.path("journal");
  ASSERT_EQ(testing::run({program, source, target, journal}), 0);
  EXPECT_TRUE(testing::read_whole(target, disk.size()) == disk);
  EXPECT_EQ(testing::run({program, source, target, journal}), 0) << "there is nothing left to do";
  EXPECT_NE(testing::run({program, workspace.path("none"), target, journal}), 0);
  EXPECT_NE(testing::run({program, source}), 0) << "usage";
}

}  // namespace
}  // namespace vmferry
