// A real agent whose own machine is short of something: that is no fault of the disk it copies, nor
// of its other jobs.
#include <sys/resource.h>

#include "common/catalogue.h"
#include "tests/agent/mount_bench.h"
#include "tests/agent/support/one_job.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::AgentProcess;
using testing::allocated;
using testing::eventually;
using testing::OneJobCoordinator;

constexpr std::uint64_t kDiskBytes = 24u << 20;
constexpr uid_t kNobody = 65531;  // limits do not hold for root

class ShortOfMeansComponentTest : public MountBench {
 protected:
  void SetUp() override {
    MountBench::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    testing::write_disk(top_ + "/source.img", kDiskBytes);
    assign_ = testing::one_job(top_, kDiskBytes);
  }
  protocol::Assign assign_;
};

// A journal of this disk takes 40 KiB and a page of leaves.
TEST_F(ShortOfMeansComponentTest, AFullStateDirectoryIsToldAsWhatPasses) {
  mount_tmpfs(top_ + "/state", "size=32k");
  OneJobCoordinator coordinator(assign_, 20s);
  const AgentProcess agent(coordinator.address(), top_, {"--server-key", coordinator.key()});
  ASSERT_TRUE(eventually(60s, [&] { return coordinator.failure().has_value(); }));
  EXPECT_EQ(coordinator.failure()->kind, ErrorKind::Unavailable);
  EXPECT_EQ(coordinator.failure()->code, code::kJournalIo);
  EXPECT_NE(coordinator.failure()->message.find(top_ + "/state/jobs"), std::string::npos)
      << coordinator.failure()->message;
}

TEST_F(ShortOfMeansComponentTest, AJobWithoutAThreadFailsAndTheOthersGoOn) {
  assign_.limit_bytes_per_second = 6u << 20;
  ASSERT_EQ(::chown(top_.c_str(), kNobody, kNobody), 0);
  ASSERT_EQ(::chown((top_ + "/source.img").c_str(), kNobody, kNobody), 0);
  OneJobCoordinator coordinator(assign_, 20s);
  AgentProcess agent(coordinator.address(), top_, {"--server-key", coordinator.key()},
                     [] { return ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0; });
  const bool begun = eventually(
      60s, [&] { return agent.ended().has_value() || allocated(assign_.target.path) >= 4u << 20; });
  ASSERT_TRUE(begun);
  if (agent.ended() == 127) GTEST_SKIP() << "another user may not run the agent of this tree";
  const rlimit none{1, 1};
  ASSERT_EQ(::prlimit(agent.pid(), RLIMIT_NPROC, &none, nullptr), 0);
  protocol::Assign other = assign_;
  other.job = JobId{"other"};
  other.target.path += ".other";
  coordinator.also_assign(other);
  ASSERT_TRUE(eventually(60s, [&] { return coordinator.failure().has_value(); }));
  EXPECT_EQ(coordinator.failure()->kind, ErrorKind::Unavailable);
  EXPECT_NE(coordinator.failure()->message.find("cannot start the job"), std::string::npos)
      << coordinator.failure()->message;
  EXPECT_TRUE(eventually(60s, [&] { return coordinator.is_done(); }));
  EXPECT_EQ(agent.ended(), std::nullopt);
}

}  // namespace
}  // namespace vmferry
