#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/http_client.h"
#include "common/log.h"
#include "common/result.h"
#include "coordinator/provider/provider.h"
#include "coordinator/provider/vmware/soap.h"

namespace vmferry::vmware {

// What RetrieveServiceContent told: every manager's reference differs between vCenter and ESXi, so
// none is ever spelled out (source-vmware.md 1.3).
struct ServiceContent {
  MoRef root_folder, property_collector, view_manager, session_manager, search_index;
  MoRef event_manager;   // empty: the server keeps no events
  std::string product;   // "VMware vCenter Server 8.0.2 build-..."
  std::string api_type;  // VirtualCenter, HostAgent
  std::string api_version;
  std::string instance_uuid;  // empty on ESXi
  bool is_vcenter() const { return api_type == "VirtualCenter"; }
  friend bool operator==(const ServiceContent&, const ServiceContent&) = default;
};

// From the answer to RetrieveServiceContent; what is missing there is empty here.
ServiceContent service_content_of(const SoapReply& reply);

// One login. Values never change; a lost session is replaced by another object.
struct Session {
  ServiceContent content;
  SecretString cookie;  // "vmware_soap_session=..." as the server wrote it, quotes included
  // SHA-1 of the server's certificate, as the connection that logged in verified it: VDDK knows no
  // other digest.
  std::string thumbprint_sha1;
};

// Where and as whom to log in, from the credentials secret.
struct ClientOptions {
  std::string origin;  // "https://host:443"
  std::string host;
  int port = 443;
  std::string sdk_path;  // "/sdk"
  std::string username;
  SecretString password;
  TlsTrust trust;
  std::chrono::milliseconds call_timeout{30'000};
  std::chrono::milliseconds keep_alive{std::chrono::minutes(5)};  // the server's limit is 30 min
  // Until a password that was refused is sent again.
  std::chrono::milliseconds refused_for{std::chrono::minutes(10)};
};
// InvalidArgument with VMF-REQ-SECRET-INVALID for a URL that is not https, or a bad thumbprint.
// User and password inside the URL win over the keys (api.md 7.2).
Result<ClientOptions> client_options(const ProviderCredentials& credentials);

class Exchange;

// One account's session at one vCenter or ESXi host. Logs in when first needed, keeps the session
// alive, logs in again once when the server has forgotten it. A refused password is remembered and
// sent again every ten minutes only: a few wrong ones lock the account, and an account that was
// locked for a while heals by itself. Thread-safe.
class Client {
 public:
  Client(ClientOptions options, Logger log);
  ~Client();  // logs out
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const ClientOptions& options() const { return options_; }

  // The live session, made if need be. Errors: PermissionDenied with VMF-SRC-AUTH or -TLS,
  // Unavailable or DeadlineExceeded with VMF-SRC-UNREACHABLE, Canceled.
  Result<std::shared_ptr<const Session>> session(std::stop_token stop);
  // Drops `session` if it is still the live one.
  void forget(const std::shared_ptr<const Session>& session);
  // Ends the session at the server and here.
  void logout();

  // Runs operation(Exchange&) within one session and, when the server drops the session meanwhile,
  // once more from the start: views and page tokens die with their session.
  template <typename Operation>
  auto in_session(std::stop_token stop, Operation operation)
      -> decltype(operation(std::declval<Exchange&>()));

 private:
  friend class Exchange;
  class Lease;
  struct State {
    std::shared_ptr<const Session> session;
    std::optional<Error> refused;  // the server's answer to our password
    SteadyTime refused_at{};
    bool logging_in = false;
  };

  Result<std::shared_ptr<const Session>> log_in(std::stop_token stop);
  // One SOAP call, repeated after answers of a proxy in between and lost connections if
  // `repeatable`. Faults are part of the reply.
  Result<SoapReply> call(const Node& request, const SecretString& cookie, bool repeatable,
                         std::stop_token stop, HttpResponse* raw = nullptr);
  Result<SoapReply> call_once(const HttpRequest& request, const std::string& method,
                              std::stop_token stop, HttpResponse* raw);
  Result<HttpResponse> send(const HttpRequest& request, std::stop_token stop);
  void negotiate_version(std::stop_token stop);
  void keep_alive(std::stop_token stop);

  const ClientOptions options_;
  const Logger log_;
  const SystemClock clock_;
  Guarded<std::vector<std::unique_ptr<HttpClient>>> idle_clients_;
  Guarded<std::string> soap_action_;
  Guarded<std::string> peer_thumbprint_;   // of the last new connection
  std::atomic<std::int64_t> last_use_{0};  // steady clock, nanoseconds
  std::mutex mutex_;                       // guards state_, never held across I/O
  std::condition_variable_any changed_;
  State state_;
  std::jthread keeper_;  // last: stops before the rest goes
};

// One try of an operation in one session.
class Exchange {
 public:
  Exchange(Client& client, std::shared_ptr<const Session> session, std::stop_token stop)
      : client_(client), session_(std::move(session)), stop_(std::move(stop)) {}

  const ServiceContent& content() const { return session_->content; }
  const Session& session() const { return *session_; }
  std::stop_token stop() const { return stop_; }

  // A call whose faults are for the caller to judge. One that only reads is sent again when its
  // answer is lost; one that changes something goes out once, on a connection of its own, and a
  // lost answer is the caller's to clear up.
  Result<SoapReply> call(const Node& request);
  // A call whose faults are errors.
  Result<SoapReply> must_call(const Node& request);
  // An HTTP request to the same server with the session's cookie.
  Result<HttpResponse> http(HttpRequest request);

  bool session_lost() const { return lost_; }

 private:
  Client& client_;
  std::shared_ptr<const Session> session_;
  std::stop_token stop_;
  bool lost_ = false;
};

template <typename Operation>
auto Client::in_session(std::stop_token stop, Operation operation)
    -> decltype(operation(std::declval<Exchange&>())) {
  for (bool again = false;; again = true) {
    Result<std::shared_ptr<const Session>> live = session(stop);
    if (!live) return std::move(live).error();
    Exchange exchange(*this, *live, stop);
    auto result = operation(exchange);
    if (!exchange.session_lost()) return result;
    forget(*live);
    if (result.ok() || again) return result;
  }
}

}  // namespace vmferry::vmware
