#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/log.h"
#include "common/result.h"
#include "coordinator/embedded/home.h"

namespace vmferry {

struct CoordinatorOptions {
  std::uint64_t agent_limit_bytes_per_second = 0;
  std::chrono::milliseconds heartbeat{500};
  std::chrono::milliseconds lease{5000};
  int workers = 16;   // imports reconciled at once
  bool vddk = false;  // read VMware disks through nbdkit's vddk plugin
};

// Everything that the coordinator's process consists of, built in order and stopped in reverse:
// store, volumes, providers, fleet, reconciler with its watches, telemetry. Runs until destroyed.
class Coordinator {
 public:
  // Unavailable when another coordinator works on this home.
  static Result<std::unique_ptr<Coordinator>> start(const embedded::Home& home,
                                                    const CoordinatorOptions& options,
                                                    const Clock& clock, const Logger& log);
  ~Coordinator();

 private:
  struct Parts;
  explicit Coordinator(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace vmferry
