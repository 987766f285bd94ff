#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "common/log.h"
#include "common/result.h"
#include "coordinator/embedded/home.h"

namespace vmferry::cli {

struct UpOptions {
  int agents = 3;
  int slots = 4;                             // transfers at once per agent
  std::uint64_t limit_bytes_per_second = 0;  // per agent
  bool vddk = false;
  std::string nbdkit = "nbdkit";
  double nbdkit_silence_seconds = 0;  // 0: the agents' own
  std::string vddk_libdir;
  std::vector<std::string> vddk_stand_in;  // plugin command line in VDDK's place
};

// One coordinator and N agents as child processes of this one, restarted with back-off when they
// die, stopped with it. Only one supervisor per home.
class Supervisor {
 public:
  // Returns when the coordinator answers and all agents have said hello.
  static Result<std::unique_ptr<Supervisor>> start(const embedded::Home& home,
                                                   const UpOptions& options, const Logger& log,
                                                   std::stop_token stop);
  // Asks every child to stop and waits: at most ten seconds, then SIGKILL.
  ~Supervisor();

 private:
  struct Impl;
  explicit Supervisor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Whether a supervisor runs for this home already.
bool is_up(const embedded::Home& home);

}  // namespace vmferry::cli
