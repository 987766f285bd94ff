#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string_view>

#include "common/endpoint.h"
#include "common/result.h"
#include "transfer/open_source.h"

namespace vmferry {

// The endpoint as it is now: renewed at most once for each time it is refused, however many
// workers are refused at once. Thread-safe.
class EndpointKeeper {
 public:
  struct Current {
    std::shared_ptr<const DiskEndpoint> endpoint;
    unsigned generation = 0;
  };

  EndpointKeeper(DiskEndpoint endpoint, RenewEndpoint renew);

  Current current() const;
  // `refused` is the generation that the server refused: if it is not the newest any more, the
  // newest is the answer. A failed renewal stays failed: all workers stop at once. Errors: those of
  // renewing, as PermissionDenied with `code` unless they pass by themselves (then Unavailable);
  // DataLoss with VMF-SRC-CHANGED when the renewed endpoint is another disk; Canceled.
  Result<Current> renew(unsigned refused, const Error& why, std::string_view code,
                        std::stop_token stop);
  // The endpoint's second URL is used for the rest of the copy, also after renewals.
  void use_fallback();
  // The first URL again, as the next renewal tells it.
  void use_first();
  bool can_renew() const { return static_cast<bool>(renew_); }

 private:
  const RenewEndpoint renew_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  bool renewing_ = false;
  bool fallback_ = false;
  Current current_;
  std::optional<Error> failed_;
};

}  // namespace vmferry
