#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "common/backoff.h"
#include "common/endpoint.h"
#include "common/http_client.h"
#include "common/log.h"
#include "transfer/open_source.h"
#include "transfer/sources/endpoint_keeper.h"
#include "transfer/sources/http_pool.h"
#include "transfer/sources/http_range_check.h"
#include "transfer/sources/source_stats.h"

namespace vmferry {

inline constexpr std::size_t kErrorBodyBytes = 512;  // of an answer without data, for its error

// How patient a session is. Defaults: source-ovirt.md 6, nbd-and-sinks.md 7.
struct HttpPatience {
  int retries = 5;  // of one range, one after the other that brought next to nothing
  Backoff backoff{.first = std::chrono::milliseconds(500), .cap = std::chrono::seconds(16)};
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::seconds stall_timeout{90};
};

// Whether a try that brought `received` of `asked` bytes was not in vain: 64 KiB or a sixteenth. A
// proxy may cut every answer short and each still brings its part, but one that brings a few bytes
// each time would be asked for ever.
bool is_progress(std::uint64_t received, std::uint64_t asked);

// The file that a request is about. Its URL follows the endpoint, which may be renewed.
struct HttpFile {
  std::function<std::string(const DiskEndpoint&)> url;
  std::uint64_t size_bytes = 0;
  FileVersion version;
};

// Requests to one server on behalf of one disk: pooled connections, renewed credentials, retries
// of what may pass, checks of everything that the server says. Thread-safe.
class HttpSession {
 public:
  struct Options {
    int max_connections = 4;
    std::string_view auth_code;  // catalogue code of a refusal that could not be renewed
    // Of one request. An oVirt engine believes in a ticket for a while that its host has lost: the
    // second answer tells more than the first.
    int max_renewals = 1;
    // Which part of the URL is secret: replaced by "***" in every error. An imageio URL ends in its
    // ticket.
    bool last_path_segment_is_secret = false;
    HttpPatience patience;
    std::vector<std::string> resolve;  // as HttpClient::Options
  };

  HttpSession(DiskEndpoint endpoint, RenewEndpoint renew, Options options, SourceStats& stats,
              Logger log);

  // One whole response with status 2xx, or one of `accepted`. Errors as read().
  struct Question {
    std::string method = "GET";
    std::string path_suffix;  // "/extents?context=zero"
    std::chrono::milliseconds total_timeout{30'000};
    std::chrono::seconds stall_timeout{30};
    std::size_t max_bytes = 1u << 20;
    int retries = 3;
    // Of a connection that was lost, or that cannot be made; nothing: as `retries`.
    std::optional<int> retries_when_lost = std::nullopt;
    std::vector<int> accepted;  // statuses outside of 2xx that are an answer
    // Asks for the file's first byte to learn from the headers: a whole file (200), and a body that
    // does not end behind the byte, are not waited for.
    bool first_byte = false;
  };
  Result<HttpResponse> ask(const HttpFile& file, const Question& question, std::stop_token stop);

  // Fills `into` from `offset` of the file by ranged GETs. Nothing is taken before status,
  // Content-Range and Content-Length were checked; after a lost connection only missing bytes are
  // asked for again, on a fresh one. Errors: PermissionDenied, NotFound (VMF-SRC-DISK-MISSING),
  // DataLoss (VMF-SRC-CHANGED: 416, another total or version; VMF-SRC-PROTOCOL: the server lies),
  // Unavailable (VMF-XFER-SOURCE-READ after all retries), Canceled.
  Result<void> read(const HttpFile& file, std::uint64_t offset, std::span<std::byte> into,
                    std::stop_token stop);

  // Size and version by HEAD, or by a GET of one byte where HEAD is not offered; of a server
  // without ranges as well. DataLoss with VMF-SRC-PROTOCOL when it does not tell the size.
  Result<void> stat(HttpFile& file, bool try_head, std::stop_token stop);

  // False when the server answers a range with the whole file (HTTP 200).
  Result<bool> has_ranges(const HttpFile& file, std::stop_token stop);
  // The whole file in order by plain GETs; a broken one is repeated, and `take` gets only what it
  // has not had. Ends with Canceled when `take` answers false. Errors as read(); VMF-SRC-CHANGED as
  // well when a repeated one begins with other bytes than those that were taken.
  Result<void> read_whole(const HttpFile& file,
                          const std::function<bool(std::span<const std::byte>)>& take,
                          std::stop_token stop);

  void set_connections(int count) { pool_.set_limit(count); }
  void use_fallback() { keeper_.use_fallback(); }
  // Asks for a fresh endpoint because this one's servers cannot be reached; false when there is
  // nobody to ask. Errors as EndpointKeeper::renew().
  Result<bool> look_elsewhere(const Error& why, std::stop_token stop);
  const HttpPatience& patience() const { return options_.patience; }
  std::shared_ptr<const DiskEndpoint> endpoint() const { return keeper_.current().endpoint; }
  // Since the last answer of the server.
  std::chrono::milliseconds idle_for() const;
  // One request on a connection that nobody needs now; false when all are busy.
  bool ping(const HttpFile& file, const std::string& method, std::stop_token stop);

 private:
  struct RangeState;
  HttpRequest make_request(const DiskEndpoint& endpoint, const HttpFile& file) const;
  Result<HttpResponse> ask_once(const HttpFile& file, const Question& question,
                                const DiskEndpoint& endpoint, std::stop_token stop);
  static Result<HttpResponse> ask_first_byte(HttpPool::Lease& client, HttpRequest request,
                                             std::stop_token stop);
  Result<bool> stat_by_head(HttpFile& file, std::stop_token stop);
  std::optional<Error> read_once(const HttpFile& file, RangeState& state,
                                 const EndpointKeeper::Current& current, std::stop_token stop);
  Error status_error(int status, std::string_view body, std::string_view method) const;
  Error masked(Error error, const HttpFile& file) const;
  Result<void> wait_retry(int attempt, const Error& why, std::stop_token stop);
  void touch();

  const Options options_;
  SourceStats& stats_;
  const Logger log_;
  EndpointKeeper keeper_;
  HttpPool pool_;
  std::atomic<std::int64_t> last_answer_ms_{0};
};

}  // namespace vmferry
