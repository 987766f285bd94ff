#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/http_client.h"
#include "common/log.h"
#include "common/result.h"
#include "coordinator/provider/ovirt/xml.h"
#include "coordinator/provider/provider.h"

namespace vmferry::ovirt {

// Where and as whom to log in.
struct ClientOptions {
  std::string origin;     // "https://engine.example.com"
  std::string base_path;  // "/ovirt-engine/api"
  std::string username;
  SecretString password;
  TlsTrust trust;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds call_timeout{120'000};  // `follow` over a large list takes tens of s
  int max_tries = 3;                                // of a GET that met a lost connection or a 5xx
  std::chrono::milliseconds refused_for{
      600'000};  // until a password that was refused is sent again
  std::chrono::milliseconds first_delay{500};
};

// From the secret. A URL may end at the host, at /ovirt-engine or at /ovirt-engine/api, with or
// without a slash. InvalidArgument with VMF-REQ-SECRET-INVALID unless it is an https URL.
Result<ClientOptions> client_options(const ProviderCredentials& credentials);

// One answer of the API that could be read, whatever its status.
struct Reply {
  int status = 0;
  Document body;  // no root for an empty body
  // The engine's own words when it refused; also inside a 2xx answer of an action.
  std::optional<std::string> fault;

  bool ok() const { return status >= 200 && status < 300 && !fault; }
  // The refusal passes by itself: an object is locked or another operation runs.
  bool is_busy() const;
  // The refusal as an error; `what` names the request. 404: NotFound; busy: Unavailable with
  // VMF-SRC-DISK-LOCKED; 5xx: Unavailable with VMF-SRC-UNREACHABLE; 403: PermissionDenied.
  Error error(std::string_view what) const;
};

// One account's session at one engine: logs in when first needed, once more when the engine has
// forgotten the session. A password that the engine refused is not sent again for ten minutes: a
// few wrong ones lock the account, but a directory server behind the engine may also have been
// away. Thread-safe.
class Client {
 public:
  Client(ClientOptions options, Logger log);
  ~Client();  // logs out
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const ClientOptions& options() const { return options_; }

  // `path` is relative to the base ("/vms/..") or an href as the engine gives them (absolute).
  // Errors are those of the way there: PermissionDenied with VMF-SRC-AUTH or -TLS, Unavailable or
  // DeadlineExceeded with VMF-SRC-UNREACHABLE, InvalidArgument with VMF-SRC-PROTOCOL (not an
  // engine), Canceled. A GET is repeated after lost connections and 5xx; a POST never.
  Result<Reply> get(const std::string& path, std::stop_token stop);
  Result<Reply> post(const std::string& path, const std::string& xml,
                     const std::string& correlation, std::stop_token stop);
  // The body of a GET that succeeded.
  Result<Document> fetch(const std::string& path, std::stop_token stop);

  // The certificates of the engine's own authority, which signs those of its hosts, fetched over
  // the verified connection (source-ovirt.md 7); nothing when the engine does not give them.
  std::optional<std::string> internal_ca(std::stop_token stop);

  // Ends the session at the engine and here. The next call logs in again.
  void logout();

 private:
  // A login. Values never change; a lost one is replaced by another object.
  struct Session {
    SecretString token;          // OAuth; empty with Basic
    SecretString authorization;  // header value
    SecretString cookie;         // Basic: JSESSIONID, set by the first answer
  };
  using SessionPtr = std::shared_ptr<const Session>;
  struct State {
    SessionPtr session;
    std::optional<Error> refused;
    SteadyTime refused_at{};
    bool logging_in = false;
  };
  class Lease;

  Result<SessionPtr> session(std::stop_token stop);
  Result<SessionPtr> log_in(std::stop_token stop);
  void forget(const SessionPtr& session);
  Error refuse(Error error);
  Result<Reply> call(HttpRequest request, bool repeatable, std::stop_token stop);
  Result<HttpResponse> send_signed(HttpRequest& request, std::stop_token stop);
  Result<HttpResponse> send(const HttpRequest& request, std::stop_token stop);
  HttpRequest request_for(const std::string& method, const std::string& path) const;
  void end_session(const Session& session);
  void keep_cookie(const SessionPtr& session, const HttpResponse& response);

  const ClientOptions options_;
  const Logger log_;
  const SystemClock clock_;
  Guarded<std::vector<std::unique_ptr<HttpClient>>> idle_;
  Guarded<std::optional<std::string>> internal_ca_;
  std::mutex mutex_;  // guards state_; never held across I/O
  std::condition_variable_any changed_;
  State state_;
};

}  // namespace vmferry::ovirt
