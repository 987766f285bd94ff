// A real agent that is frozen in the middle of a copy and wakes up when its lease is over: whatever
// was written to the target meanwhile stays.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/guarded.h"
#include "tests/support/places.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kDiskBytes = 96u << 20;
constexpr std::chrono::milliseconds kLease = 1000ms;

// As much of a coordinator as one job needs.
class OneJobCoordinator {
 public:
  explicit OneJobCoordinator(protocol::Assign assign) : assign_(std::move(assign)) {
    Result<std::unique_ptr<CoordinatorChannel>> channel =
        CoordinatorChannel::bind({.keys = keys_, .allowed = std::nullopt});
    EXPECT_TRUE(channel.ok());
    channel_ = *std::move(channel);
    thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
  }

  const std::string& address() const { return channel_->address(); }
  const std::string& key() const { return keys_.public_key; }
  std::optional<protocol::WireError> failure() { return *failure_.lock(); }
  bool is_done() const { return done_; }

 private:
  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const auto messages = channel_->receive(50ms, {});
      if (!messages) continue;
      for (const Received& received : *messages) answer(received);
    }
  }
  void answer(const Received& received) {
    protocol::Message reply;
    if (std::holds_alternative<protocol::Hello>(received.message)) {
      protocol::Welcome welcome;
      welcome.coordinator = "one";
      welcome.heartbeat_every = 100ms;
      welcome.lease = kLease;
      reply = welcome;
    } else if (const auto* beat = std::get_if<protocol::Heartbeat>(&received.message)) {
      EXPECT_TRUE(
          channel_->send(received.peer, protocol::HeartbeatAck{"one", beat->sequence}).ok());
      if (accepted_) return;
      reply = assign_;
    } else if (std::holds_alternative<protocol::Accepted>(received.message)) {
      accepted_ = true;
      return;
    } else if (const auto* journal = std::get_if<protocol::JournalUpdate>(&received.message)) {
      reply = protocol::JournalAck{journal->job, journal->attempt, journal->sequence, false};
    } else if (const auto* failed = std::get_if<protocol::Failed>(&received.message)) {
      *failure_.lock() = failed->error;
      return;
    } else {
      done_ = done_ || std::holds_alternative<protocol::Done>(received.message);
      return;
    }
    (void)channel_->send(received.peer, reply);  // lost messages come again
  }

  const protocol::Assign assign_;
  const CurveKeys keys_ = CurveKeys::generate();
  std::unique_ptr<CoordinatorChannel> channel_;
  bool accepted_ = false;
  Guarded<std::optional<protocol::WireError>> failure_;
  std::atomic<bool> done_{false};
  std::jthread thread_;
};

class AgentProcess {
 public:
  AgentProcess(const OneJobCoordinator& coordinator, const std::string& directory) {
    std::vector<std::string> words = {testing::build_dir() + "/vmferry-agent",
                                      "--coordinator",
                                      coordinator.address(),
                                      "--server-key",
                                      coordinator.key(),
                                      "--key-file",
                                      directory + "/agent.key",
                                      "--id",
                                      "a",
                                      "--state",
                                      directory + "/state"};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~AgentProcess() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  // Returns when every thread stands still: a system call that was begun ends first.
  void freeze() const {
    ::kill(pid_, SIGSTOP);
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!stands_still() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(10ms);
    }
    ASSERT_TRUE(stands_still());
  }
  void thaw() const { ::kill(pid_, SIGCONT); }

 private:
  bool stands_still() const {
    for (const auto& task :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid_))) {
      std::ifstream file(task.path() / "stat");
      std::string stat;
      std::getline(file, stat);
      const std::size_t name_end = stat.rfind(')');
      if (name_end == std::string::npos || stat.substr(name_end + 2, 1) != "T") return false;
    }
    return true;
  }
  pid_t pid_ = -1;
};

std::uint64_t allocated(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 ? static_cast<std::uint64_t>(file.st_blocks) * 512 : 0;
}

bool eventually(std::chrono::seconds patience, const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

TEST(FrozenAgentComponentTest, StartsNoWriteWhenItWakesUpAfterItsLease) {
  std::string directory = ::testing::TempDir() + "vmferry-frozen-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string target = directory + "/target.img";
  {
    std::vector<std::uint64_t> words(kDiskBytes / 8);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = i * 0x9e3779b97f4a7c15u + 1;
    std::ofstream file(directory + "/source.img", std::ios::binary);
    file.write(reinterpret_cast<const char*>(words.data()), kDiskBytes);
  }
  protocol::Assign assign;
  assign.job = JobId{"frozen"};
  assign.attempt = 1;
  assign.source.kind = SourceKind::File;
  assign.source.url = directory + "/source.img";
  assign.source.size_bytes = kDiskBytes;
  assign.target.name = "target";
  assign.target.path = target;
  assign.workers = 16;
  // While it is frozen the bucket fills up: all workers go on at once when it wakes.
  assign.limit_bytes_per_second = 24u << 20;

  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    std::filesystem::remove(target);
    std::filesystem::remove_all(directory + "/state");
    OneJobCoordinator coordinator(assign);
    const AgentProcess agent(coordinator, directory);
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
