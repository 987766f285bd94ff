#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "common/endpoint.h"
#include "common/log.h"
#include "transfer/open_source.h"
#include "transfer/sources/child_process.h"
#include "transfer/sources/nbd.h"
#include "transfer/sources/nbdkit_command.h"
#include "transfer/sources/private_directory.h"

namespace vmferry {

struct NbdkitOptions {
  NbdOptions nbd = vddk_defaults();
  int max_restarts = 5;                              // source-vmware.md 8.4
  std::chrono::milliseconds start_deadline{30'000};  // until it listens
  // For VDDK to end its sessions, and after that for the child to end itself.
  std::chrono::milliseconds stop_grace{30'000};
  // The same for a child that does not answer any more.
  std::chrono::milliseconds hung_grace{2'000};
  static NbdOptions vddk_defaults();
};

// nbdkit as a child, with the vddk plugin or a stand-in for it, listening on a Unix socket in a
// private directory. Started when it is not running, killed when it hangs; restarted at most
// max_restarts times.
class NbdkitServer {
 public:
  NbdkitServer(DiskEndpoint endpoint, SourceEnvironment environment, NbdkitOptions options);
  ~NbdkitServer();

  // The child listens afterwards. Errors: Unimplemented (nbdkit, its plugin or a filter is not
  // installed), InvalidArgument (VDDK's directory is wrong), Unavailable (it does not start),
  // Aborted (it died or hung too often), Canceled. They carry the last lines of its stderr.
  Result<void> ensure_running(std::stop_token stop);
  // Connects to the running child. One that does not let itself be connected to in that time hangs.
  Result<NbdHandle> dial(std::chrono::milliseconds deadline, std::stop_token stop);

  // It does not answer any more: kills it, so that the next dial starts another one.
  void kill_hung();

  // Bytes of a read that succeeded. A child that gave a GiB was worth its start: restarts before
  // it do not count any more.
  void has_delivered(std::uint64_t bytes) { delivered_ += bytes; }
  pid_t pid() const;
  std::vector<std::string> stderr_lines() const { return tail_.lines(); }
  std::uint64_t memory_complaints() const { return memory_complaints_.load(); }

 private:
  Result<void> start(std::stop_token stop);
  void wait_until_sessions_end();

  const DiskEndpoint endpoint_;
  const SourceEnvironment environment_;
  const NbdkitOptions options_;
  StderrTail tail_;
  std::atomic<std::uint64_t> memory_complaints_{0};
  std::mutex sessions_mutex_;  // the innermost: taken while a line of stderr is added
  std::condition_variable sessions_changed_;
  VddkSessions sessions_;
  int dialed_ = 0;  // connections to the running child that were made, each of them a session
  mutable std::mutex mutex_;  // guards what follows; held while the child starts
  std::unique_ptr<PrivateDirectory> directory_;
  std::unique_ptr<ChildProcess> child_;
  int starts_ = 0;
  std::atomic<std::uint64_t> delivered_{0};
  bool hung_ = false;  // the child was killed for it
};

// A disk read by an nbdkit child: one connection with several requests in flight
// (source-vmware.md 8.3). Ends the child when destroyed, its sessions first.
Result<std::unique_ptr<DiskSource>> open_nbdkit_source(const DiskEndpoint& endpoint,
                                                       const SourceEnvironment& environment,
                                                       const NbdkitOptions& options,
                                                       std::stop_token stop);

}  // namespace vmferry
