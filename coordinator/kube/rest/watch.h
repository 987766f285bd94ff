#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/log.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/rest/api_client.h"

namespace vmferry::kube {

// Splits a watch's body into its lines. ResourceExhausted: a line is longer than 32 MiB, which no
// object can be.
class LineSplitter {
 public:
  Result<std::vector<std::string>> feed(std::string_view bytes);

 private:
  std::string rest_;
};

Object without_managed_fields(Object object);

// One watch on the API server. Connections end (the server closes each after some minutes, or is
// restarted): it goes on from the last version that an event or bookmark told, with back-off while
// the server is away, and gives up with the last error after a minute of that. A version that the
// server no longer has (410) is Aborted: the caller lists again.
class RestWatch final : public Watch {
 public:
  RestWatch(ApiClient& api, const ResourceType& type, ListOptions options,
            std::string resource_version, const Logger& log);

  // The first connection; errors that trying again cannot mend: NotFound (kind not served),
  // PermissionDenied, InvalidArgument.
  Result<void> begin(std::stop_token stop);
  Result<std::optional<WatchEvent>> next(std::chrono::milliseconds timeout,
                                         std::stop_token stop) override;

 private:
  Result<void> connect(std::stop_token stop);
  Result<void> read_some(std::chrono::milliseconds timeout, std::stop_token stop);
  Result<void> add_line(const std::string& line);
  // The connection is lost: arranges another try, or returns the error when that is of no use.
  Result<void> lost(Error error);

  ApiClient& api_;
  ResourceType type_;
  ListOptions options_;
  std::string version_;
  Logger log_;
  std::unique_ptr<HttpStream> stream_;
  LineSplitter lines_;
  std::deque<WatchEvent> ready_;
  int failures_ = 0;
  SteadyTime failing_since_{};
  SteadyTime connect_at_{};
};

}  // namespace vmferry::kube
