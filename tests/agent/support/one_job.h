#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/channel.h"
#include "common/guarded.h"
#include "tests/support/places.h"

// A real vmferry-agent as a child process, and as much of a coordinator as one job of it needs.
namespace vmferry::testing {

using namespace std::chrono_literals;

// As much of a coordinator as one job needs.
class OneJobCoordinator {
 public:
  OneJobCoordinator(protocol::Assign assign, std::chrono::milliseconds lease)
      : assign_(std::move(assign)), lease_(lease) {
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
  bool has_heard() const { return heard_; }        // a heartbeat
  bool has_no_slots() const { return no_slots_; }  // says the last one
  std::optional<ErrorKind> refusal() { return *refusal_.lock(); }
  // A second assignment, of another job, until it is answered.
  void also_assign(protocol::Assign assign) { *second_.lock() = std::move(assign); }

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
      welcome.lease = lease_;
      reply = welcome;
    } else if (const auto* beat = std::get_if<protocol::Heartbeat>(&received.message)) {
      // An agent that ends may be gone by now; any other one says it again.
      (void)channel_->send(received.peer, protocol::HeartbeatAck{"one", beat->sequence});
      heard_ = true;
      no_slots_ = beat->free_slots == 0;
      if (auto second = second_.lock(); *second) {
        (void)channel_->send(received.peer, **second);
      }
      if (accepted_) return;
      reply = assign_;
    } else if (std::holds_alternative<protocol::Accepted>(received.message)) {
      accepted_ = true;
      return;
    } else if (const auto* journal = std::get_if<protocol::JournalUpdate>(&received.message)) {
      protocol::JournalAck acknowledged;
      acknowledged.job = journal->job;
      acknowledged.attempt = journal->attempt;
      acknowledged.sequence = journal->sequence;
      reply = acknowledged;
    } else if (const auto* refused = std::get_if<protocol::Refused>(&received.message)) {
      *refusal_.lock() = refused->error.kind;
      return;
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
  const std::chrono::milliseconds lease_;
  const CurveKeys keys_ = CurveKeys::generate();
  std::unique_ptr<CoordinatorChannel> channel_;
  bool accepted_ = false;
  Guarded<std::optional<protocol::WireError>> failure_;
  Guarded<std::optional<protocol::Assign>> second_;
  Guarded<std::optional<ErrorKind>> refusal_;
  std::atomic<bool> heard_{false};
  std::atomic<bool> no_slots_{false};
  std::atomic<bool> done_{false};
  std::jthread thread_;
};

class AgentProcess {
 public:
  // Its files are in `directory`; `more` are further arguments, --server-key among them. `prepare`
  // runs in the child before the program; false: it is not started, and ends with 127.
  AgentProcess(const std::string& coordinator, const std::string& directory,
               const std::vector<std::string>& more, const std::function<bool()>& prepare = {}) {
    std::vector<std::string> words = {build_dir() + "/vmferry-agent",
                                      "--coordinator",
                                      coordinator,
                                      "--id",
                                      "a",
                                      "--key-file",
                                      directory + "/agent.key",
                                      "--state",
                                      directory + "/state"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      if (!prepare || prepare()) ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~AgentProcess() {
    if (pid_ <= 0) return;
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
  pid_t pid() const { return pid_; }
  void ask_to_end() const { ::kill(pid_, SIGTERM); }
  // Its exit code once it has ended; nothing while it runs. -1: a signal ended it.
  std::optional<int> ended() {
    if (ended_ || pid_ <= 0) return ended_;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    pid_ = -1;
    ended_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ended_;
  }

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
  std::optional<int> ended_;
};

inline std::uint64_t allocated(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 ? static_cast<std::uint64_t>(file.st_blocks) * 512 : 0;
}

inline bool eventually(std::chrono::seconds patience, const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

// A file without zeros and without two equal blocks.
inline void write_disk(const std::string& path, std::uint64_t bytes) {
  std::vector<std::uint64_t> words(bytes / 8);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = i * 0x9e3779b97f4a7c15u + 1;
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(bytes));
}

// SOURCE to TARGET, both in `directory`.
inline protocol::Assign one_job(const std::string& directory, std::uint64_t bytes) {
  protocol::Assign assign;
  assign.job = JobId{"one"};
  assign.attempt = 1;
  assign.source.kind = SourceKind::File;
  assign.source.url = directory + "/source.img";
  assign.source.size_bytes = bytes;
  assign.target.name = "target";
  assign.target.path = directory + "/target.img";
  return assign;
}

}  // namespace vmferry::testing
