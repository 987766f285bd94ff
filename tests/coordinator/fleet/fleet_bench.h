#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/bytes.h"
#include "common/clock.h"
#include "coordinator/fleet/fleet.h"
#include "tests/support/places.h"

namespace vmferry::test {

// A coordinator's Fleet in this process and real vmferry-agent processes, in a directory of their
// own that goes away with it.
class FleetBench {
 public:
  FleetBench() {
    std::string path = ::testing::TempDir() + "vmferry-fleet-XXXXXX";
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    root_ = path;
  }
  ~FleetBench() {
    for (auto& [name, pid] : agents_) stop_agent_process(pid, SIGKILL);
    fleet_.reset();
    std::filesystem::remove_all(root_);
  }

  static std::string agent_program() { return testing::build_dir() + "/vmferry-agent"; }
  static bool has_agent_program() { return ::access(agent_program().c_str(), X_OK) == 0; }

  Fleet::Options options;  // of the next start_fleet(); keys, state and address are filled in
  void start_fleet() {
    Fleet::Options complete = options;
    complete.state_directory = root_ + "/coordinator";
    complete.keys = keys_;
    if (!address_.empty()) complete.bind = address_;
    complete.allowed_agents = allowed_;
    Result<std::unique_ptr<Fleet>> started = Fleet::start(complete, clock_, log_);
    ASSERT_TRUE(started) << to_string(started.error());
    fleet_ = *std::move(started);
    address_ = fleet_->address();
  }
  void stop_fleet() { fleet_.reset(); }
  Fleet& fleet() { return *fleet_; }

  // Makes the agent's key, so that the fleet started after this lets it in.
  void allow_agent(const std::string& name) {
    const Result<CurveKeys> keys = CurveKeys::load_or_create(root_ + "/" + name + ".key");
    ASSERT_TRUE(keys);
    allowed_.insert(keys->public_key);
  }
  // `state`: the agent whose state directory it uses; empty: its own.
  void start_agent(const std::string& name, const std::vector<std::string>& more = {},
                   const std::string& state = "") {
    std::vector<std::string> words = {agent_program(),
                                      "--coordinator",
                                      address_,
                                      "--server-key",
                                      keys_.public_key,
                                      "--key-file",
                                      root_ + "/" + name + ".key",
                                      "--id",
                                      name,
                                      "--node",
                                      "node-" + name,
                                      "--state",
                                      root_ + "/state-" + (state.empty() ? name : state)};
    words.insert(words.end(), more.begin(), more.end());
    const pid_t pid = ::fork();
    if (pid == 0) {
      std::vector<char*> argv;
      for (std::string& word : words) argv.push_back(word.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    agents_[name] = pid;
  }
  // Returns the exit status as waitpid gives it.
  int stop_agent(const std::string& name, int signal_number) {
    const int status = stop_agent_process(agents_.at(name), signal_number);
    agents_.erase(name);
    return status;
  }
  void signal_agent(const std::string& name, int signal_number) {
    ::kill(agents_.at(name), signal_number);
  }
  int wait_for_agent(const std::string& name) {
    int status = 0;
    ::waitpid(agents_.at(name), &status, 0);
    agents_.erase(name);
    return status;
  }

  std::string path(const std::string& name) const { return root_ + "/" + name; }
  // A disk of random bytes with a hole in its middle.
  std::string make_disk(const std::string& name, std::uint64_t size) {
    std::mt19937_64 random(std::hash<std::string>{}(name));
    std::ofstream file(path(name), std::ios::binary);
    std::vector<std::uint64_t> block(kMiB / sizeof(std::uint64_t));
    for (std::uint64_t at = 0; at < size; at += kMiB) {
      if (at / kMiB % 8 == 5) {
        file.seekp(static_cast<std::streamoff>(std::min(size, at + kMiB)));
        continue;
      }
      for (std::uint64_t& word : block) word = random();
      file.write(reinterpret_cast<const char*>(block.data()),
                 static_cast<std::streamsize>(std::min(kMiB, size - at)));
    }
    file.close();
    std::filesystem::resize_file(path(name), size);
    return path(name);
  }
  bool same_content(const std::string& a, const std::string& b) const {
    std::ifstream fa(a, std::ios::binary), fb(b, std::ios::binary);
    return fa && fb &&
           std::equal(std::istreambuf_iterator<char>(fa), {}, std::istreambuf_iterator<char>(fb));
  }

  TransferRequest request(const std::string& name, std::uint64_t size) {
    TransferRequest r;
    r.job = JobId{"uid/" + name};
    r.import_key = "default/vm";
    r.ns = "default";
    r.disk = name;
    r.size_bytes = size;
    r.source.kind = SourceKind::File;
    r.source.url = path(name);
    r.source.size_bytes = size;
    r.target.name = "default/" + name;
    r.target.path = path(name + ".target");
    return r;
  }

  bool eventually(std::chrono::seconds patience, const std::function<bool()>& true_at_last) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < end) {
      if (true_at_last()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  TransferView view(const JobId& job) { return fleet_->transfer(job).value_or(TransferView{}); }
  bool wait_for(const JobId& job, TransferState state, std::chrono::seconds patience) {
    const bool came = eventually(patience, [&] { return view(job).state == state; });
    if (!came) {
      const TransferView v = view(job);
      ADD_FAILURE() << "state " << static_cast<int>(v.state) << ", waits for '" << v.waiting_for
                    << "', error " << (v.error ? to_string(*v.error) : "none") << ", history "
                    << ::testing::PrintToString(v.history);
    }
    return came;
  }
  // Processes that have `file` open, by /proc.
  static std::set<pid_t> openers(const std::string& file) {
    std::set<pid_t> pids;
    std::error_code code;
    for (const auto& process : std::filesystem::directory_iterator("/proc", code)) {
      const std::string pid = process.path().filename();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      std::error_code none;
      for (const auto& fd : std::filesystem::directory_iterator(process.path() / "fd", none)) {
        std::error_code unreadable;
        if (std::filesystem::read_symlink(fd.path(), unreadable) == file)
          pids.insert(std::stoi(pid));
      }
    }
    return pids;
  }

 private:
  static int stop_agent_process(pid_t pid, int signal_number) {
    int status = 0;
    ::kill(pid, signal_number);
    ::waitpid(pid, &status, 0);
    return status;
  }

  std::string root_;
  std::string address_;
  CurveKeys keys_ = CurveKeys::generate();
  std::set<std::string> allowed_;
  SystemClock clock_;
  Logger log_ = std::getenv("VMFERRY_LOG") != nullptr ? make_stderr_logger("fleet") : Logger();
  std::unique_ptr<Fleet> fleet_;
  std::map<std::string, pid_t> agents_;
};

}  // namespace vmferry::test
