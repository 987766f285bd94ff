#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"

namespace vmferry::cli {

// A program that this process runs and answers for. It gets SIGTERM when the thread that spawned it
// dies, whatever the reason.
class ChildProcess {
 public:
  // stdout and stderr are appended to `log_path`. `argv[0]` is the program's path.
  static Result<ChildProcess> spawn(std::vector<std::string> argv, const std::string& log_path);
  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  ChildProcess& operator=(ChildProcess&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~ChildProcess();  // kills what still runs

  pid_t pid() const { return pid_; }
  // How it ended ("exit code 1", "signal 9"); nothing while it runs.
  std::optional<std::string> ended();
  void signal(int number) const;
  // SIGTERM, then SIGKILL after `patience`; returns when it is gone.
  void stop(std::chrono::milliseconds patience);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
};

}  // namespace vmferry::cli
