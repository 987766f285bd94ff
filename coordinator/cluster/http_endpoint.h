#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/log.h"
#include "common/result.h"

namespace vmferry::cluster {

// Probes and metrics over plain HTTP:
//   GET /healthz   GET /readyz   GET /metrics (Prometheus text)
class HttpEndpoint {
 public:
  struct Handlers {
    // Nothing: well; else what is wrong.
    std::function<std::optional<std::string>()> unhealthy, unready;
    std::function<std::string()> metrics;
  };
  // `address`: "0.0.0.0:8080"; port 0 takes a free one.
  static Result<std::unique_ptr<HttpEndpoint>> start(const std::string& address, Handlers handlers,
                                                     const Logger& log);
  ~HttpEndpoint();
  int port() const;

 private:
  struct Impl;
  explicit HttpEndpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmferry::cluster
