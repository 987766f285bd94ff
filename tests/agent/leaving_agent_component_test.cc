// A real agent that is asked to end, as a rolling update of the DaemonSet does, and what its probes
// say meanwhile.
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

constexpr std::uint64_t kDiskBytes = 24u << 20;

class LeavingAgentComponentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
    health_ = directory_ + "/health";
    testing::write_disk(directory_ + "/source.img", kDiskBytes);
    assign_ = testing::one_job(directory_, kDiskBytes);
    assign_.limit_bytes_per_second = 4u << 20;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // As the kubelet asks.
  bool is_well(const std::string& more = "") const {
    const std::string command = testing::build_dir() + "/vmferry-agent healthy --health " +
                                health_ + " " + more + " 2>/dev/null";
    return std::system(command.c_str()) == 0;
  }
  bool has_begun() const { return allocated(assign_.target.path) >= 4u << 20; }

  std::string directory_ = ::testing::TempDir() + "vmferry-leaving-XXXXXX";
  std::string health_;
  protocol::Assign assign_;
};

TEST_F(LeavingAgentComponentTest, LetsItsJobEndAndTakesNoOther) {
  OneJobCoordinator coordinator(assign_, 20s);
  AgentProcess agent(coordinator.address(), directory_,
                     {"--server-key", coordinator.key(), "--drain", "300", "--slots", "4"});
  ASSERT_TRUE(eventually(30s, [&] { return has_begun(); }));
  EXPECT_FALSE(coordinator.has_no_slots());
  agent.ask_to_end();
  ASSERT_TRUE(eventually(30s, [&] { return coordinator.has_no_slots(); }));
  protocol::Assign other = assign_;
  other.job = JobId{"other"};
  other.target.path += ".other";
  coordinator.also_assign(other);
  ASSERT_TRUE(eventually(30s, [&] { return coordinator.refusal().has_value(); }));
  EXPECT_EQ(coordinator.refusal(), ErrorKind::Unavailable);
  EXPECT_FALSE(std::filesystem::exists(other.target.path));
  ASSERT_TRUE(eventually(60s, [&] { return agent.ended().has_value(); }));
  EXPECT_EQ(agent.ended(), 0);
  EXPECT_TRUE(coordinator.is_done());
  EXPECT_EQ(coordinator.failure(), std::nullopt);
}

TEST_F(LeavingAgentComponentTest, StopsWhatRunsWhenTheTimeIsOver) {
  assign_.limit_bytes_per_second = 1u << 20;
  OneJobCoordinator coordinator(assign_, 20s);
  AgentProcess agent(coordinator.address(), directory_,
                     {"--server-key", coordinator.key(), "--drain", "0.3"});
  ASSERT_TRUE(eventually(30s, [&] { return allocated(assign_.target.path) > 0; }));
  agent.ask_to_end();
  ASSERT_TRUE(eventually(20s, [&] { return agent.ended().has_value(); }));
  EXPECT_EQ(agent.ended(), 0);
  EXPECT_FALSE(coordinator.is_done());
  ASSERT_TRUE(coordinator.failure().has_value());
  EXPECT_EQ(coordinator.failure()->code, code::kAgentLost);
}

TEST_F(LeavingAgentComponentTest, WaitsForTheCoordinatorsKeyAndIsWellOnceItIsConnected) {
  OneJobCoordinator coordinator(assign_, 20s);
  const std::string key_file = directory_ + "/public-key";
  EXPECT_FALSE(is_well());
  AgentProcess agent(coordinator.address(), directory_,
                     {"--server-key-file", key_file, "--health", health_});
  ASSERT_TRUE(eventually(20s, [&] { return std::filesystem::exists(directory_ + "/agent.key"); }));
  EXPECT_EQ(agent.ended(), std::nullopt);
  EXPECT_FALSE(is_well("--connected"));
  ASSERT_TRUE(write_file_atomically(key_file, coordinator.key() + "\n").ok());
  EXPECT_TRUE(eventually(30s, [&] { return is_well("--connected"); }));
  EXPECT_TRUE(is_well());
  EXPECT_TRUE(coordinator.has_heard());
}

TEST_F(LeavingAgentComponentTest, EndsWhileItWaitsForTheKey) {
  AgentProcess agent("tcp://127.0.0.1:9", directory_,
                     {"--server-key-file", directory_ + "/absent"});
  ASSERT_TRUE(eventually(20s, [&] { return std::filesystem::exists(directory_ + "/agent.key"); }));
  agent.ask_to_end();
  ASSERT_TRUE(eventually(20s, [&] { return agent.ended().has_value(); }));
  EXPECT_EQ(agent.ended(), 0);
}

}  // namespace
}  // namespace vmferry
