#include "cli/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "common/fd.h"

namespace vmferry::cli {
namespace {

// Runs in the new process: only calls that are safe after fork() in a threaded program.
[[noreturn]] void become(char* const* argv, int log_fd, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);  // it died before we asked to be told
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::setpgid(0, 0);  // a Ctrl-C on the terminal is for the supervisor, which stops us in order
  ::dup2(log_fd, STDOUT_FILENO);
  ::dup2(log_fd, STDERR_FILENO);
  ::execv(argv[0], argv);
  ::_exit(127);
}

}  // namespace

Result<ChildProcess> ChildProcess::spawn(std::vector<std::string> argv,
                                         const std::string& log_path) {
  if (::access(argv.front().c_str(), X_OK) != 0) {
    return errno_error(errno, fmt::format("cannot run '{}'", argv.front()));
  }
  const UniqueFd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return errno_error(errno, fmt::format("cannot open '{}'", log_path));
  std::vector<char*> pointers;
  for (std::string& argument : argv) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error(errno, fmt::format("cannot start '{}'", argv.front()));
  if (pid == 0) become(pointers.data(), log.get(), parent);
  return ChildProcess(pid);
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) stop(std::chrono::milliseconds(0));
}

std::optional<std::string> ChildProcess::ended() {
  if (pid_ <= 0) return "not started";
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

void ChildProcess::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

void ChildProcess::stop(std::chrono::milliseconds patience) {
  signal(SIGTERM);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (pid_ > 0 && !ended()) {
    if (std::chrono::steady_clock::now() >= deadline) signal(SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace vmferry::cli
