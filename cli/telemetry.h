#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "common/http_client.h"
#include "common/result.h"
#include "coordinator/embedded/home.h"
#include "coordinator/fleet/fleet.h"

namespace vmferry::cli {

// Live state from the running coordinator, over its socket in the home. Not thread-safe. Errors:
// Unavailable when no coordinator runs.
class Telemetry {
 public:
  static Result<Telemetry> connect(const embedded::Home& home);

  Result<std::vector<TransferView>> transfers(std::stop_token stop);
  Result<std::vector<AgentView>> agents(std::stop_token stop);
  Result<void> set_limit(std::uint64_t bytes_per_second, std::stop_token stop);
  bool is_running(std::stop_token stop);

 private:
  explicit Telemetry(std::unique_ptr<HttpClient> client) : client_(std::move(client)) {}
  Result<std::string> ask(const std::string& method, const std::string& path, std::stop_token stop);

  std::unique_ptr<HttpClient> client_;
};

}  // namespace vmferry::cli
