#include "agent/health.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "common/fd.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
const SteadyTime kStart{std::chrono::hours(30)};

class HealthTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  ErrorKind trouble(SteadyTime now, bool connected = false) const {
    const Result<void> well = check_health(path_, connected, now);
    return well ? ErrorKind::Canceled : well.error().kind();
  }
  void put(const std::string& text) const { ASSERT_TRUE(write_file_atomically(path_, text).ok()); }

  const std::string path_ =
      ::testing::TempDir() + "vmferry-health-" + std::to_string(::getpid()) + ".txt";
};

TEST_F(HealthTest, AnAgentIsWellWhileItSaysSo) {
  EXPECT_EQ(trouble(kStart), ErrorKind::NotFound);
  HealthFile file(path_);
  ASSERT_TRUE(file.tell(false, kStart).ok());
  EXPECT_TRUE(check_health(path_, false, kStart + 10s).ok());
  EXPECT_EQ(trouble(kStart + 21s), ErrorKind::Unavailable);
}

TEST_F(HealthTest, OneWithoutACoordinatorIsAliveAndNotReady) {
  HealthFile file(path_);
  ASSERT_TRUE(file.tell(false, kStart).ok());
  EXPECT_TRUE(check_health(path_, false, kStart).ok());
  EXPECT_EQ(trouble(kStart, true), ErrorKind::Unavailable);
  ASSERT_TRUE(file.tell(true, kStart + 1ms).ok()) << "a change is told at once";
  EXPECT_TRUE(check_health(path_, true, kStart + 1ms).ok());
}

TEST_F(HealthTest, TellsOnceASecond) {
  HealthFile file(path_);
  ASSERT_TRUE(file.tell(true, kStart).ok());
  ASSERT_TRUE(file.tell(true, kStart + 900ms).ok());
  EXPECT_EQ(*read_file(path_), "connected 108000000\n");
  ASSERT_TRUE(file.tell(true, kStart + 1100ms).ok());
  EXPECT_EQ(*read_file(path_), "connected 108001100\n");
}

TEST_F(HealthTest, AFileOfSomebodyElseIsNoGoodNews) {
  for (const char* text : {"", "connected", "connected \n", "connected 12x\n", "well 108000000\n",
                           "connected 99999999999999999999\n"}) {
    SCOPED_TRACE(text);
    put(text);
    EXPECT_EQ(trouble(kStart), ErrorKind::Internal);
  }
}

TEST_F(HealthTest, WithoutAPathNothingIsWritten) {
  HealthFile file("");
  EXPECT_TRUE(file.tell(true, kStart).ok());
}

}  // namespace
}  // namespace vmferry
