#include "coordinator/provider/vmware/client.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/catalogue.h"
#include "coordinator/provider/vmware/patience.h"

namespace vmferry::vmware {
namespace {

constexpr std::size_t kMostResponseBytes = 512u
                                           << 20;  // device lists of a thousand VMs are tens of MB
constexpr int kTries = 3;
constexpr std::chrono::milliseconds kPause{250};
constexpr std::chrono::milliseconds kLogoutTimeout{10'000};
constexpr std::chrono::milliseconds kLoginGrace{3'000};
constexpr std::size_t kIdleClients = 8;
constexpr std::string_view kHighestVersion = "6.7";  // all that we use exists since 6.5
constexpr std::string_view kOldestVersion = "6.5";
constexpr std::string_view kCookieName = "vmware_soap_session";

// "6.7" < "6.10": compares numbers, not text. Unparsable parts count as 0.
std::vector<int> version_numbers(std::string_view text) {
  std::vector<int> numbers;
  while (!text.empty()) {
    const auto dot = std::min(text.find('.'), text.size());
    int number = 0;
    std::from_chars(text.data(), text.data() + dot, number);
    numbers.push_back(number);
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return numbers;
}

// Methods whose effect must not happen twice, or whose second answer differs from the first. Views
// are not among them: one too many ends with its session.
bool changes_something(std::string_view method) {
  static constexpr std::string_view kMethods[] = {"ShutdownGuest",        "PowerOffVM_Task",
                                                  "PowerOnVM_Task",       "ExportVm",
                                                  "HttpNfcLeaseComplete", "HttpNfcLeaseAbort"};
  return std::ranges::find(kMethods, method) != std::end(kMethods);
}

// The cookie as the server wrote it: "name=value" up to the first attribute.
SecretString session_cookie(const HttpResponse& response) {
  for (const std::string& cookie : response.set_cookies) {
    if (!cookie.starts_with(std::string(kCookieName) + "=")) continue;
    return SecretString(cookie.substr(0, cookie.find(';')));
  }
  return {};
}

Error secret_error(std::string text) {
  return Error(ErrorKind::InvalidArgument, code::kSecretInvalid,
               "credentials secret, key vmware: " + std::move(text));
}

}  // namespace

ServiceContent service_content_of(const SoapReply& reply) {
  const pugi::xml_node node = reply.returnval();
  ServiceContent content;
  content.root_folder = moref_of(child(node, "rootFolder"));
  content.property_collector = moref_of(child(node, "propertyCollector"));
  content.view_manager = moref_of(child(node, "viewManager"));
  content.session_manager = moref_of(child(node, "sessionManager"));
  content.search_index = moref_of(child(node, "searchIndex"));
  content.event_manager = moref_of(child(node, "eventManager"));
  const pugi::xml_node about = child(node, "about");
  content.product = child_text(about, "fullName");
  if (content.product.empty()) {
    content.product = child_text(about, "name") + " " + child_text(about, "version");
  }
  content.api_type = child_text(about, "apiType");
  content.api_version = child_text(about, "apiVersion");
  content.instance_uuid = child_text(about, "instanceUuid");
  return content;
}

Result<ClientOptions> client_options(const ProviderCredentials& credentials) {
  const Result<UrlParts> url = parse_url(credentials.api_url);
  if (!url) {
    return secret_error("apiUrl '" + redacted_url(credentials.api_url) +
                        "' is not a URL; write https://vcenter-or-esxi/sdk");
  }
  if (url->scheme != "https" || url->host.empty()) {
    return secret_error("apiUrl '" + redacted_url(credentials.api_url) +
                        "' must be https://vcenter-or-esxi/sdk");
  }
  ClientOptions options;
  options.origin = url->origin();
  options.host = url->host;
  if (url->port != 0) options.port = url->port;
  std::string path = url->path_and_query.substr(0, url->path_and_query.find_first_of("?#"));
  while (path.ends_with('/')) path.pop_back();
  options.sdk_path = path.empty() ? "/sdk" : path;
  options.username = url->user.empty() ? credentials.username : url->user;
  options.password = url->password.empty() ? credentials.password : url->password;
  if (options.username.empty()) return secret_error("username is empty");
  if (options.password.empty()) return secret_error("password is empty");
  options.trust.ca_pem = credentials.ca_pem;
  if (!credentials.thumbprint.empty()) {
    const Result<std::string> pin = parse_thumbprint(credentials.thumbprint);
    if (!pin) {
      return secret_error("thumbprint: " + pin.error().message() +
                          "; it is the SHA-1 or SHA-256 digest of the server's certificate");
    }
    options.trust.thumbprint = *pin;
  }
  return options;
}

// A client of the pool for one request: HttpClient belongs to one thread at a time.
class Client::Lease {
 public:
  static Result<Lease> take(Client& owner) {
    {
      auto idle = owner.idle_clients_.lock();
      if (!idle->empty()) {
        Lease lease(owner, std::move(idle->back()));
        idle->pop_back();
        return lease;
      }
    }
    HttpClient::Options options;
    options.trust = owner.options_.trust;
    return Lease(owner, TRY(HttpClient::make(std::move(options))));
  }
  Lease(Lease&&) = default;
  Lease(const Lease&) = delete;
  ~Lease() {
    if (!client_) return;
    auto idle = owner_->idle_clients_.lock();
    if (idle->size() < kIdleClients) idle->push_back(std::move(client_));
  }
  HttpClient& operator*() { return *client_; }

 private:
  Lease(Client& owner, std::unique_ptr<HttpClient> client)
      : owner_(&owner), client_(std::move(client)) {}
  Client* owner_;
  std::unique_ptr<HttpClient> client_;
};

Client::Client(ClientOptions options, Logger log)
    : options_(std::move(options)), log_(std::move(log)) {
  keeper_ = std::jthread([this](std::stop_token stop) { keep_alive(stop); });
}

Client::~Client() {
  keeper_.request_stop();
  keeper_.join();
  logout();
}

Result<HttpResponse> Client::send(const HttpRequest& request, std::stop_token stop) {
  Lease lease = TRY(Lease::take(*this));
  last_use_ = clock_.steady().time_since_epoch().count();
  Result<HttpResponse> response = (*lease).send(request, stop);
  if (const std::string& seen = (*lease).peer_thumbprint(); !seen.empty()) {
    *peer_thumbprint_.lock() = seen;
  }
  if (response) return response;
  const ErrorKind kind = response.error().kind();
  Error error = std::move(response).error().with_context("server " + options_.origin);
  if (error.code().empty() &&
      (kind == ErrorKind::Unavailable || kind == ErrorKind::DeadlineExceeded)) {
    return std::move(error).with_code(code::kSourceUnreachable);
  }
  return error;
}

Result<SoapReply> Client::call_once(const HttpRequest& request, const std::string& method,
                                    std::stop_token stop, HttpResponse* raw) {
  HttpResponse response = TRY(send(request, stop));
  const int status = response.status;
  if (status == 200 || status == 500) {
    Result<SoapReply> reply = SoapReply::parse(std::move(response.body));
    if (raw != nullptr) {
      response.body.clear();
      *raw = std::move(response);
    }
    if (reply && (status == 200 || reply->fault())) return reply;
    if (status == 200) {
      return std::move(reply).error().with_context(options_.origin + options_.sdk_path);
    }
  }
  if (status == 404) {
    return coded_error(ErrorKind::NotFound, code::kSourceProtocol,
                       "{}{} does not exist on the server; apiUrl must end in /sdk",
                       options_.origin, options_.sdk_path);
  }
  if (status == 401 || status == 403) {
    return coded_error(ErrorKind::PermissionDenied, code::kSourceAuth,
                       "{}{} answered {} with HTTP status {}", options_.origin, options_.sdk_path,
                       method, status);
  }
  // A proxy's page, not SOAP.
  return coded_error(status >= 500 ? ErrorKind::Unavailable : ErrorKind::InvalidArgument,
                     status >= 500 ? code::kSourceUnreachable : code::kSourceProtocol,
                     "{}{} answered {} with HTTP status {}", options_.origin, options_.sdk_path,
                     method, status);
}

Result<SoapReply> Client::call(const Node& request, const SecretString& cookie, bool repeatable,
                               std::stop_token stop, HttpResponse* raw) {
  HttpRequest http;
  http.method = "POST";
  http.url = options_.origin + options_.sdk_path;
  http.headers = {{"Content-Type", "text/xml; charset=\"utf-8\""},
                  {"SOAPAction", *soap_action_.lock()}};
  http.body = write_envelope(request);
  http.cookie = cookie;
  http.total_timeout = request.name == "Logout" ? kLogoutTimeout : options_.call_timeout;
  http.max_response_bytes = kMostResponseBytes;
  http.accept_compressed = true;
  http.fresh_connection = !repeatable;

  Result<SoapReply> reply = call_once(http, request.name, stop, raw);
  for (int tries = 1; repeatable && tries < kTries; ++tries) {
    if (reply || reply.error().kind() != ErrorKind::Unavailable) break;
    log_.debug("request repeated", {{"phase", request.name}, {"attempt", tries}});
    if (!clock_.sleep(kPause * tries, stop)) {
      return Error(ErrorKind::Canceled, "stopped while waiting for " + options_.origin);
    }
    reply = call_once(http, request.name, stop, raw);
  }
  // The envelope of a login holds the password: the wiping destructor takes it.
  const SecretString wiped(std::move(http.body));
  return reply;
}

void Client::negotiate_version(std::stop_token stop) {
  if (!soap_action_.lock()->empty()) return;
  HttpRequest request;
  request.url = options_.origin + options_.sdk_path + "/vimServiceVersions.xml";
  request.total_timeout = options_.call_timeout;
  request.max_response_bytes = 1u << 20;
  std::string version(kOldestVersion);
  const Result<HttpResponse> response = send(request, stop);
  if (!response) return;  // the next call meets the same trouble and reports it
  pugi::xml_document document;
  if (response->status == 200 && document.load_string(response->body.c_str())) {
    for (const pugi::xml_node space : children(child(document, "namespaces"), "namespace")) {
      if (child_text(space, "name") == "urn:vim25") version = child_text(space, "version");
    }
  }
  if (version_numbers(version) > version_numbers(kHighestVersion)) version = kHighestVersion;
  *soap_action_.lock() = "urn:vim25/" + version;
}

Result<std::shared_ptr<const Session>> Client::log_in(std::stop_token stop) {
  negotiate_version(stop);
  const SoapReply reply =
      TRY(call(method_call("RetrieveServiceContent", {"ServiceInstance", "ServiceInstance"}), {},
               true, stop));
  if (reply.fault()) {
    return fault_error(*reply.fault(), "RetrieveServiceContent", options_.origin);
  }
  auto session = std::make_shared<Session>();
  session->content = service_content_of(reply);
  if (session->content.session_manager.empty() || session->content.property_collector.empty()) {
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "{} does not answer like a vCenter or ESXi host; check apiUrl",
                       options_.origin);
  }

  Node login = method_call("Login", session->content.session_manager);
  login.add(leaf("userName", options_.username)).add(leaf("password", options_.password.reveal()));
  HttpResponse raw;
  // The server may have made the session by now: only with its answer can it be ended again.
  const Patience patience(stop, kLoginGrace);
  Result<SoapReply> answer = call(login, {}, false, patience.token(), &raw);
  { const SecretString wiped(std::move(login.children.back().text)); }
  if (!answer) return std::move(answer).error();
  if (answer->fault()) {
    const SoapFault& fault = *answer->fault();
    Error error = fault.type != "InvalidLogin"
                      ? fault_error(fault, "Login", options_.origin)
                      : coded_error(ErrorKind::PermissionDenied, code::kSourceAuth,
                                    "{} refused user '{}' or its password (InvalidLogin); correct "
                                    "the credentials secret; as they are they are tried again "
                                    "every ten minutes only",
                                    options_.origin, options_.username);
    if (error.kind() == ErrorKind::PermissionDenied) {
      const std::scoped_lock lock(mutex_);
      state_.refused = error;
      state_.refused_at = clock_.steady();
    }
    return error;
  }
  session->cookie = session_cookie(raw);
  if (session->cookie.empty()) {
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "{} accepted the login but set no {} cookie", options_.origin, kCookieName);
  }
  session->thumbprint_sha1 = *peer_thumbprint_.lock();
  log_.debug("logged in", {{"phase", session->content.product}});
  return std::shared_ptr<const Session>(std::move(session));
}

Result<std::shared_ptr<const Session>> Client::session(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait(lock, stop, [this] { return !state_.logging_in; })) {
    return Error(ErrorKind::Canceled, "stopped while waiting for a login");
  }
  if (state_.session) return state_.session;
  if (state_.refused && clock_.steady() - state_.refused_at < options_.refused_for)
    return *state_.refused;
  state_.logging_in = true;
  lock.unlock();

  Result<std::shared_ptr<const Session>> made = log_in(stop);

  lock.lock();
  state_.logging_in = false;
  if (made) {
    state_.session = *made;
    state_.refused.reset();
  }
  changed_.notify_all();
  return made;
}

void Client::forget(const std::shared_ptr<const Session>& session) {
  const std::scoped_lock lock(mutex_);
  if (state_.session == session) state_.session.reset();
}

void Client::logout() {
  std::shared_ptr<const Session> session;
  {
    const std::scoped_lock lock(mutex_);
    session = std::exchange(state_.session, nullptr);
  }
  if (!session) return;
  const Result<SoapReply> reply =
      call(method_call("Logout", session->content.session_manager), session->cookie, false, {});
  if (!reply) {
    log_.warn("logout failed; the server drops the session when it has been idle", reply.error());
  }
}

void Client::keep_alive(std::stop_token stop) {
  while (clock_.sleep(options_.keep_alive / 2, stop)) {
    std::shared_ptr<const Session> session;
    {
      const std::scoped_lock lock(mutex_);
      session = state_.session;
    }
    const auto idle = clock_.steady().time_since_epoch().count() - last_use_.load();
    if (!session || std::chrono::nanoseconds(idle) < options_.keep_alive / 2) continue;
    const Result<SoapReply> reply =
        call(method_call("CurrentTime", {"ServiceInstance", "ServiceInstance"}), session->cookie,
             false, stop);
    if (!reply) {
      if (reply.error().kind() != ErrorKind::Canceled) {
        log_.warn("session could not be kept alive", reply.error());
      }
    } else if (reply->fault() &&
               fault_rule(reply->fault()->type).fault_class == FaultClass::Relogin) {
      forget(session);  // whoever comes next logs in
    }
  }
}

Result<SoapReply> Exchange::call(const Node& request) {
  SoapReply reply =
      TRY(client_.call(request, session_->cookie, !changes_something(request.name), stop_));
  if (reply.fault() && fault_rule(reply.fault()->type).fault_class == FaultClass::Relogin) {
    lost_ = true;
    return fault_error(*reply.fault(), request.name, client_.options_.origin);
  }
  return reply;
}

Result<SoapReply> Exchange::must_call(const Node& request) {
  SoapReply reply = TRY(call(request));
  if (!reply.fault()) return reply;
  const std::string object = request.children.empty() ? "" : request.children.front().text;
  return fault_error(*reply.fault(), request.name, object);
}

Result<HttpResponse> Exchange::http(HttpRequest request) {
  request.cookie = session_->cookie;
  for (bool again = false;; again = true) {
    HttpResponse response = TRY(client_.send(request, stop_));
    if (response.status != 401) return response;
    // A session that lives is kept: dropped here, it would live on at the server.
    if (!again) TRY(must_call(method_call("CurrentTime", {"ServiceInstance", "ServiceInstance"})));
    if (again) {
      return coded_error(ErrorKind::PermissionDenied, code::kSourceAuth,
                         "{} does not accept the session", redacted_url(request.url));
    }
  }
}

}  // namespace vmferry::vmware
