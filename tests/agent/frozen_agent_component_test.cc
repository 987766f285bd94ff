// A real agent that is frozen in the middle of a copy and wakes up when its lease is over: whatever
// was written to the target meanwhile stays.
#include "common/bytes.h"
#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/agent/support/one_job.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::AgentProcess;
using testing::allocated;
using testing::eventually;
using testing::OneJobCoordinator;

constexpr std::uint64_t kDiskBytes = 96u << 20;
constexpr std::chrono::milliseconds kLease = 1000ms;

TEST(FrozenAgentComponentTest, StartsNoWriteWhenItWakesUpAfterItsLease) {
  std::string directory = ::testing::TempDir() + "vmferry-frozen-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string target = directory + "/target.img";
  testing::write_disk(directory + "/source.img", kDiskBytes);
  protocol::Assign assign = testing::one_job(directory, kDiskBytes);
  assign.workers = 16;
  // While it is frozen the bucket fills up: all workers go on at once when it wakes.
  assign.limit_bytes_per_second = 24u << 20;

  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    std::filesystem::remove(target);
    std::filesystem::remove_all(directory + "/state");
    OneJobCoordinator coordinator(assign, kLease);
    const AgentProcess agent(coordinator.address(), directory, {"--server-key", coordinator.key()});
    ASSERT_TRUE(eventually(20s, [&] { return allocated(target) >= 8u << 20; }));
    agent.freeze();
    std::this_thread::sleep_for(kLease + 300ms);

    const std::vector<std::byte> other(kMiB, std::byte{0xee});
    {
      const UniqueFd fd(::open(target.c_str(), O_WRONLY | O_CLOEXEC));
      for (std::uint64_t at = 0; at < kDiskBytes; at += kMiB) {
        ASSERT_TRUE(write_fully(fd.get(), at, other).ok());
      }
      ASSERT_EQ(::fsync(fd.get()), 0);
    }
    agent.thaw();
    ASSERT_TRUE(eventually(10s, [&] { return coordinator.failure().has_value(); }));
    EXPECT_EQ(coordinator.failure()->code, code::kAgentLost);
    EXPECT_FALSE(coordinator.is_done());
    const UniqueFd fd(::open(target.c_str(), O_RDONLY | O_CLOEXEC));
    int overwritten = 0;
    for (std::uint64_t at = 0; at < kDiskBytes; at += kMiB) {
      std::vector<std::byte> chunk(kMiB);
      ASSERT_TRUE(read_fully(fd.get(), at, chunk).ok());
      overwritten += chunk == other ? 0 : 1;
    }
    EXPECT_EQ(overwritten, 0) << "chunks written after the lease";
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace vmferry
