#include "coordinator/kube/rest/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include "common/fd.h"

extern char** environ;

namespace vmferry::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A child that is dead, at the latest, when this is.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  // Its wait status once it has ended.
  std::optional<int> ended() {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

std::vector<std::string> environment_of(const ProgramCall& call) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    const bool replaced = std::ranges::any_of(
        call.environment, [&](const auto& added) { return added.first == name; });
    if (!replaced) all.push_back(text);
  }
  for (const auto& [name, value] : call.environment) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

Result<pid_t> spawn(const ProgramCall& call, int stdout_fd) {
  std::vector<std::string> words{call.program};
  words.insert(words.end(), call.arguments.begin(), call.arguments.end());
  std::vector<std::string> variables = environment_of(call);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDOUT_FILENO);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, call.program.c_str(), &actions, nullptr,
                                  pointers(words).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return errno_error(failed, "cannot be run");
  return pid;
}

}  // namespace

Result<std::string> run_program(const ProgramCall& call, std::stop_token stop) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  const UniqueFd output(ends[0]);
  std::optional<UniqueFd> input(ends[1]);
  Child child(TRY(spawn(call, input->get())));
  input.reset();

  const auto until = steady_clock::now() + call.limit;
  std::string text;
  bool open = true;
  // Takes what is there within `wait_ms`; whether anything was.
  const auto take = [&](int wait_ms) {
    pollfd waiting{open ? output.get() : -1, POLLIN, 0};
    if (poll(&waiting, 1, wait_ms) <= 0) return false;
    std::array<char, 16384> buffer{};
    const ssize_t got = read(output.get(), buffer.data(), buffer.size());
    if (got > 0) text.append(buffer.data(), static_cast<std::size_t>(got));
    open = got > 0 || (got < 0 && errno == EINTR);
    return open;
  };
  while (true) {
    if (stop.stop_requested()) return make_error(ErrorKind::Canceled, "stopped");
    if (steady_clock::now() > until) {
      return make_error(ErrorKind::DeadlineExceeded, "did not end within {} s",
                        call.limit.count() / 1000);
    }
    if (text.size() > call.max_output_bytes) {
      return make_error(ErrorKind::ResourceExhausted, "printed more than {} bytes",
                        call.max_output_bytes);
    }
    // Short waits: neither a stop nor the child's end wakes a poll of its output.
    if (take(open ? 50 : 5)) continue;
    // Its children may keep the pipe open: its own end counts, with what it wrote before.
    if (const std::optional<int> status = child.ended()) {
      while (text.size() <= call.max_output_bytes && take(0)) {
      }
      if (WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return text;
      return make_error(ErrorKind::Unavailable, "ended with {} {}",
                        WIFEXITED(*status) ? "status" : "signal",
                        WIFEXITED(*status) ? WEXITSTATUS(*status) : WTERMSIG(*status));
    }
  }
}

}  // namespace vmferry::kube
