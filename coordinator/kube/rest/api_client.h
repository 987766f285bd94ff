#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/http_client.h"
#include "common/log.h"
#include "coordinator/kube/rest/access.h"
#include "coordinator/kube/rest/request_limit.h"

namespace vmferry::kube {

struct ApiRequest {
  std::string method = "GET";
  std::string path;  // with query: "/api/v1/pods?limit=500"
  std::string body;
  std::string content_type = "application/json";
  std::chrono::milliseconds timeout{30'000};  // over all tries and waits
  std::size_t max_response_bytes = 64u << 20;
};

// Requests to one API server: connections kept alive and shared between threads, our credentials,
// our request limit, and the tries that make sense whatever is asked:
//
//   429, and 5xx with Retry-After   the server did nothing: again after that time
//   401                             once more when the credentials can be renewed
//   no connection                   reads again after a short time; writes are the caller's, who
//                                   alone knows whether a second one is harmless
//
// all within the request's timeout. Thread-safe.
class ApiClient {
 public:
  struct Options {
    double requests_per_second = 50;
    double burst = 100;
    std::string user_agent = "vmferry";
  };
  ApiClient(Access access, Options options, const Clock& clock, const Logger& log);

  // The decoded answer of a 2xx; everything else is an Error (status_error.h), also Unavailable
  // with VMF-K8S-UNREACHABLE, PermissionDenied with VMF-K8S-TLS, DeadlineExceeded,
  // ResourceExhausted (answer too large), Canceled.
  Result<nlohmann::json> call(const ApiRequest& request, std::stop_token stop);

  // The same as raw text: for what is not JSON (/readyz, /metrics).
  Result<std::string> call_text(const ApiRequest& request, std::stop_token stop);

  // An answer that goes on, for watches: 2xx. It ends by itself after request.timeout.
  Result<std::unique_ptr<HttpStream>> open_stream(const ApiRequest& request, std::stop_token stop);

  // Answers so far, by HTTP status; 0: no answer. For metrics.
  std::map<int, std::uint64_t> answers() const { return *answers_.lock(); }

  const std::string& server() const { return access_.server; }
  const Clock& clock() const { return clock_; }

 private:
  struct Idle {
    std::uint64_t generation = 0;  // of the credential whose certificate it shows
    std::unique_ptr<HttpClient> client;
  };
  Result<std::unique_ptr<HttpClient>> take_client(const Credential& credential);
  void keep_client(const Credential& credential, std::unique_ptr<HttpClient> client);
  HttpClient::Options client_options(const Credential& credential) const;
  HttpRequest http_request(const ApiRequest& request, const Credential& credential,
                           std::chrono::milliseconds left) const;
  Result<HttpResponse> exchange(const ApiRequest& request, const Credential& credential,
                                std::chrono::milliseconds left, std::stop_token stop);

  Access access_;
  Options options_;
  std::string url_origin_;
  std::string connect_to_;
  const Clock& clock_;
  Logger log_;
  RequestLimit limit_;
  Guarded<std::vector<Idle>> idle_;
  Guarded<std::map<int, std::uint64_t>> answers_;
};

}  // namespace vmferry::kube
