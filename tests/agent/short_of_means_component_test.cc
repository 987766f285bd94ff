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

bool become_nobody() { return ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0; }

// As the process's own user: root in a container may not.
bool forbid_threads(pid_t process) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit none{1, 1};
    const bool done = become_nobody() && ::prlimit(process, RLIMIT_NPROC, &none, nullptr) == 0;
    ::_exit(done ? 0 : 1);
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

class ShortOfMeansComponentTest : public MountBench {
 protected:
  void SetUp() override {
    MountBench::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    directory_ = std::filesystem::path(kubelet()).parent_path();
    testing::write_disk(directory_ + "/source.img", kDiskBytes);
    assign_ = testing::one_job(directory_, kDiskBytes);
  }
  std::string directory_;
  protocol::Assign assign_;
};

// A journal of this disk takes 40 KiB and a page of leaves.
TEST_F(ShortOfMeansComponentTest, AFullStateDirectoryIsToldAsWhatPasses) {
  mount_tmpfs(directory_ + "/state", "size=32k");
  OneJobCoordinator coordinator(assign_, 20s);
  const AgentProcess agent(coordinator.address(), directory_, {"--server-key", coordinator.key()});
  ASSERT_TRUE(eventually(60s, [&] { return coordinator.failure().has_value(); }));
  EXPECT_EQ(coordinator.failure()->kind, ErrorKind::Unavailable);
  EXPECT_EQ(coordinator.failure()->code, code::kJournalIo);
  EXPECT_NE(coordinator.failure()->message.find(directory_ + "/state/jobs"), std::string::npos)
      << coordinator.failure()->message;
}

TEST_F(ShortOfMeansComponentTest, AJobWithoutAThreadFailsAndTheOthersGoOn) {
  assign_.limit_bytes_per_second = 6u << 20;
  ASSERT_EQ(::chown(directory_.c_str(), kNobody, kNobody), 0);
  ASSERT_EQ(::chown((directory_ + "/source.img").c_str(), kNobody, kNobody), 0);
  OneJobCoordinator coordinator(assign_, 20s);
  AgentProcess agent(coordinator.address(), directory_, {"--server-key", coordinator.key()},
                     become_nobody);
  const bool begun = eventually(
      60s, [&] { return agent.ended().has_value() || allocated(assign_.target.path) >= 4u << 20; });
  ASSERT_TRUE(begun);
  if (agent.ended() == 127) GTEST_SKIP() << "another user may not run the agent of this tree";
  ASSERT_TRUE(forbid_threads(agent.pid()));
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
