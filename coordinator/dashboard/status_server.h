#pragma once

#include <memory>
#include <string>

#include "common/log.h"
#include "common/result.h"
#include "coordinator/fleet/fleet.h"

namespace vmferry::dashboard {

// Live telemetry over HTTP on a Unix socket that only its owner may open: what CLI and dashboard
// show between the coalesced writes to the API.
//   GET /healthz   GET /v1/transfers   GET /v1/agents   PUT /v1/limit?bytes_per_second=N
class StatusServer {
 public:
  static Result<std::unique_ptr<StatusServer>> start(const std::string& socket_path, Fleet& fleet,
                                                     const Logger& log);
  ~StatusServer();

 private:
  struct Impl;
  explicit StatusServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmferry::dashboard
