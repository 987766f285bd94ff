#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "common/fd.h"
#include "common/result.h"
#include "common/secret.h"
#include "transfer/sources/stderr_tail.h"

namespace vmferry {

// A running program, started and waited for by a thread of its own: the kernel's "die with your
// parent" means the starting thread, so that thread must live as long as the child.
class ChildProcess {
 public:
  struct Options {
    std::vector<std::string> command;
    // Written into a pipe that the child has as descriptor `secret_fd`; not given when empty.
    SecretString secret;
    int secret_fd = 3;
  };

  // NotFound when there is no such program, else errors of the system; Unavailable for shortages
  // that may pass. Lines of stderr go to `tail`, which outlives the child.
  static Result<std::unique_ptr<ChildProcess>> start(Options options, StderrTail& tail);
  // Kills at once, if terminate() was not called before.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  bool running() const;
  // How it ended: its exit code, 128 and the signal that killed it, or nothing while it runs.
  std::optional<int> exit_status() const;
  pid_t pid() const { return pid_; }
  // SIGTERM, and SIGKILL when that was not enough after `grace`; returns when the child is gone.
  void terminate(std::chrono::milliseconds grace);

 private:
  explicit ChildProcess(Options options) : options_(std::move(options)) {}
  struct Spawned {
    UniqueFd errors;  // the reading end of its stderr
    UniqueFd child;   // pidfd
  };
  void supervise(StderrTail& tail);
  Result<Spawned> spawn();
  void end_start(std::optional<Error> failed);
  void wait_until_exited();
  void send_signal(int number) const;

  Options options_;
  pid_t pid_ = -1;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false;
  bool exited_ = false;
  int exit_status_ = 0;
  std::optional<Error> failed_;
  std::jthread supervisor_;
};

}  // namespace vmferry
