#include "transfer/sources/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>

#include "common/thread.h"

extern char** environ;

namespace vmferry {
namespace {

constexpr int kFirstFreeFd = 10;  // above every descriptor that the child is given

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

// Both ends above the child's own numbers, so that dup2 never meets its own source (which would
// keep close-on-exec).
Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error(errno, "make a pipe");
  const UniqueFd low_read(ends[0]);
  const UniqueFd low_write(ends[1]);
  Pipe result{UniqueFd(::fcntl(ends[0], F_DUPFD_CLOEXEC, kFirstFreeFd)),
              UniqueFd(::fcntl(ends[1], F_DUPFD_CLOEXEC, kFirstFreeFd))};
  if (!result.read || !result.write) return errno_error(errno, "make a pipe");
  return result;
}

// All that is there now; false at the end of the stream.
bool take_output(int fd, StderrTail& tail) {
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count > 0) {
      tail.add({buffer.data(), static_cast<std::size_t>(count)});
    } else if (count == 0 || errno != EINTR) {
      return count < 0 && errno == EAGAIN;
    }
  }
}

// Until the child has closed its stderr, or has ended: what it started may hold that open.
void pass_on_output(int errors, int child, StderrTail& tail) {
  pollfd fds[] = {{errors, POLLIN, 0}, {child, POLLIN, 0}};
  while (::poll(fds, 2, -1) >= 0 || errno == EINTR) {
    if ((fds[0].revents & (POLLIN | POLLHUP)) != 0 && !take_output(errors, tail)) return;
    if (fds[1].revents != 0) {
      take_output(errors, tail);
      return;
    }
  }
}

class SpawnActions {
 public:
  SpawnActions() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnActions() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  void redirect(int from, int to) { posix_spawn_file_actions_adddup2(&actions_, from, to); }
  void open(int fd, const char* path, int flags) {
    posix_spawn_file_actions_addopen(&actions_, fd, path, flags, 0);
  }
  // A child starts with no signal blocked or ignored, whatever the calling thread has.
  void reset_signals() {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

}  // namespace

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(Options options, StderrTail& tail) {
  std::unique_ptr<ChildProcess> child(new ChildProcess(std::move(options)));
  child->supervisor_ =
      TRY(start_thread([raw = child.get(), &tail](std::stop_token) { raw->supervise(tail); },
                       [raw = child.get()](Error error) { raw->end_start(std::move(error)); }));
  std::optional<Error> failed;
  {
    std::unique_lock lock(child->mutex_);
    child->changed_.wait(lock, [&] { return child->started_ || child->failed_; });
    failed = child->failed_;
  }
  if (failed) return *std::move(failed);
  return child;
}

ChildProcess::~ChildProcess() { terminate(std::chrono::milliseconds(0)); }

bool ChildProcess::running() const {
  const std::lock_guard lock(mutex_);
  return started_ && !exited_;
}

std::optional<int> ChildProcess::exit_status() const {
  const std::lock_guard lock(mutex_);
  if (!exited_) return std::nullopt;
  return exit_status_;
}

Result<ChildProcess::Spawned> ChildProcess::spawn() {
  Pipe errors = TRY(make_pipe());
  Pipe secret;
  SpawnActions actions;
  actions.reset_signals();
  actions.open(STDIN_FILENO, "/dev/null", O_RDONLY);
  actions.open(STDOUT_FILENO, "/dev/null", O_WRONLY);
  actions.redirect(errors.write.get(), STDERR_FILENO);
  if (!options_.secret.empty()) {
    secret = TRY(make_pipe());
    actions.redirect(secret.read.get(), options_.secret_fd);
    // A pipe holds 64 KiB, a password much less: this cannot block.
    const std::string text = options_.secret.reveal() + "\n";
    if (::write(secret.write.get(), text.data(), text.size()) !=
        static_cast<ssize_t>(text.size())) {
      return errno_error(errno, "hand over a password");
    }
  }
  std::vector<char*> arguments;
  for (std::string& word : options_.command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, arguments.front(), actions.actions(), actions.attributes(),
                                   arguments.data(), environ);
  if (error == ENOENT) {
    return make_error(ErrorKind::NotFound, "the program '{}' is not installed",
                      options_.command.front());
  }
  if (error != 0) return errno_error(error, "start '" + options_.command.front() + "'");
  Spawned result{std::move(errors.read),
                 UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
  // A kernel without pidfd is done without; a shortage is not.
  const Error shortage = errno_error(errno, "watch '" + options_.command.front() + "'");
  if (!result.child && shortage.kind() == ErrorKind::Unavailable) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return shortage;
  }
  ::fcntl(result.errors.get(), F_SETFL, O_NONBLOCK);
  const std::lock_guard lock(mutex_);
  pid_ = pid;
  return result;
}

void ChildProcess::end_start(std::optional<Error> failed) {
  const std::lock_guard lock(mutex_);
  started_ = !failed;
  failed_ = std::move(failed);
  changed_.notify_all();
}

void ChildProcess::supervise(StderrTail& tail) {
  Result<Spawned> spawned = spawn();
  if (!spawned) return end_start(spawned.error());
  end_start(std::nullopt);
  try {
    pass_on_output(spawned->errors.get(), spawned->child.get(), tail);
  } catch (const std::exception&) {
    spawned->errors.reset();  // no memory for its words: it must not wait until somebody reads them
  }
  wait_until_exited();
}

void ChildProcess::wait_until_exited() {
  // Not reaped before exited_ is set: until then the number cannot belong to another process.
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 &&
         errno == EINTR) {
  }
  const std::lock_guard lock(mutex_);
  exited_ = true;
  exit_status_ = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
  ::waitpid(pid_, nullptr, 0);
  changed_.notify_all();
}

void ChildProcess::send_signal(int number) const {
  const std::lock_guard lock(mutex_);
  if (started_ && !exited_) ::kill(pid_, number);
}

void ChildProcess::terminate(std::chrono::milliseconds grace) {
  if (grace.count() > 0) {
    send_signal(SIGTERM);
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, grace, [&] { return exited_ || !started_; });
  }
  send_signal(SIGKILL);
  if (supervisor_.joinable()) supervisor_.join();
}

}  // namespace vmferry
