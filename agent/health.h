#pragma once

#include <string>

#include "common/clock.h"
#include "common/result.h"

namespace vmferry {

// What an agent tells the kubelet's probes, in a file beside it: that its control loop turns, and
// whether it has a coordinator. One line, "connected 81234" or "alone 81234": milliseconds since
// the machine's boot, which all processes of a node share and nobody sets.
class HealthFile {
 public:
  explicit HealthFile(std::string path) : path_(std::move(path)) {}  // empty: nothing is written

  // At most once a second, unless something has changed.
  Result<void> tell(bool connected, SteadyTime boot);

 private:
  std::string path_;
  bool connected_ = false;
  SteadyTime told_{};
};

// Whether the agent that writes this file is well; asked for `connected`: and has a coordinator.
// Unavailable: it is not, NotFound: there is no such file yet.
Result<void> check_health(const std::string& path, bool connected, SteadyTime boot);

// The command of the probes: vmferry-agent healthy --health FILE [--connected]. Returns the exit
// code; says on stderr what is wrong.
int healthy(int argc, char** argv);

}  // namespace vmferry
