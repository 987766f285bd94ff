#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "common/result.h"
#include "transfer/sources/child_process.h"
#include "transfer/sources/private_directory.h"
#include "transfer/sources/stderr_tail.h"

namespace vmferry::cli {

// An NBD server that is our child, on a Unix socket in a directory of its own. Ended when
// destroyed.
class ServerChild {
 public:
  // Returns when the socket is there. Errors: NotFound (no such program), Unavailable (it ended or
  // did not listen within 30 s; with the last lines of its stderr), Canceled.
  static Result<std::unique_ptr<ServerChild>> start(const std::vector<std::string>& command,
                                                    std::stop_token stop);
  ~ServerChild();
  ServerChild(const ServerChild&) = delete;
  ServerChild& operator=(const ServerChild&) = delete;

  // Requested when `outer` is, and when the server has gone: its socket will not come back.
  std::stop_token stop_when_gone(std::stop_token outer);
  // Once it has gone: how, with its last words.
  std::optional<Error> gone() const;

  std::string url() const { return "nbd+unix:///?socket=" + socket_; }

 private:
  ServerChild() = default;
  Result<void> wait_for_socket(std::stop_token stop) const;

  std::unique_ptr<PrivateDirectory> directory_;
  std::string socket_;
  StderrTail tail_{std::vector<SecretString>{}};  // outlives the child
  std::unique_ptr<ChildProcess> child_;
  std::string program_;
  std::atomic<bool> gone_{false};
  std::stop_source stop_;
  std::optional<std::stop_callback<std::function<void()>>> outer_;
  std::jthread watch_;  // last: it uses the rest
};

}  // namespace vmferry::cli
