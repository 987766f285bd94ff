#include "coordinator/provider/ovirt/client.h"

#include "common/backoff.h"
#include "common/catalogue.h"
#include "coordinator/provider/ovirt/sign_on.h"

namespace vmferry::ovirt {
namespace {

constexpr std::string_view kDefaultPath = "/ovirt-engine/api";
constexpr std::size_t kMaxIdleClients = 8;
constexpr std::size_t kMaxFaultChars = 600;

Error not_an_engine(std::string_view where, std::string_view why) {
  return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                     "{} is not an oVirt engine's API: {}", where, why);
}

std::string media_type(const HttpResponse& response) {
  const std::string* header = response.header("content-type");
  if (header == nullptr) return {};
  std::string type = header->substr(0, header->find(';'));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  return type;
}

// The engine's sentences from <fault>, alone or inside <action>.
std::optional<std::string> fault_of(const Document& body) {
  const Element root = body.root();
  const bool is_fault =
      root.name() == "fault" || (root.name() == "response" && root.child("reason"));
  const Element fault = is_fault ? root : root.child("fault");
  if (!fault) return std::nullopt;
  std::string detail = fault.text_or("detail", "");
  if (detail.size() > 1 && detail.front() == '[' && detail.back() == ']') {
    detail = detail.substr(1, detail.size() - 2);
  }
  if (detail.empty()) detail = fault.text_or("reason", "the engine refused without a reason");
  if (detail.size() > kMaxFaultChars) detail.resize(kMaxFaultChars);
  return detail;
}

// A status 5xx of a proxy in between may come as a page of HTML; so may a 401 or 404. What
// succeeded, though, must be a tree.
Result<Reply> read_reply(const HttpResponse& response, const std::string& where) {
  Reply reply;
  reply.status = response.status;
  const std::string type = media_type(response);
  if (response.status >= 300 && response.status < 400) {
    return not_an_engine(where, "it redirects elsewhere");
  }
  const bool success = response.status < 300;
  if (!response.body.empty()) {
    const bool xml = type == "application/xml" || type == "text/xml";
    const bool json = type == "application/json";
    if (!xml && !json) {
      if (success) return not_an_engine(where, fmt::format("it answers with '{}'", type));
      return reply;
    }
    Result<Document> body =
        xml ? Document::parse_xml(response.body) : Document::parse_json(response.body, "response");
    if (!body) {
      if (success) return std::move(body).error().with_context(where);
      return reply;
    }
    reply.body = *std::move(body);
    reply.fault = fault_of(reply.body);
  }
  return reply;
}

}  // namespace

Result<ClientOptions> client_options(const ProviderCredentials& credentials) {
  const auto invalid = [](std::string_view why) {
    return coded_error(ErrorKind::InvalidArgument, code::kSecretInvalid, "apiUrl: {}", why);
  };
  const Result<UrlParts> url = parse_url(credentials.api_url);
  if (!url) return invalid(url.error().message());
  if (url->scheme != "https") return invalid("an engine is only spoken to over https");
  std::string path = url->path_and_query.substr(0, url->path_and_query.find_first_of("?#"));
  while (!path.empty() && path.back() == '/') path.pop_back();
  if (path.empty()) path = kDefaultPath;
  if (path == "/ovirt-engine") path += "/api";

  ClientOptions options;
  options.origin = url->origin();
  options.base_path = path;
  options.username = credentials.username;
  options.password = credentials.password;
  options.trust = {.ca_pem = credentials.ca_pem, .thumbprint = credentials.thumbprint};
  return options;
}

// An HTTP connection for one request, kept alive for the next. `fresh` demands a new one: on one
// that the engine has just closed, libcurl sends any request a second time, and the engine may have
// carried out the first.
class Client::Lease {
 public:
  Lease(Client& owner, bool fresh) : owner_(owner), fresh_(fresh) {}
  ~Lease() {
    if (!client_) return;
    auto idle = owner_.idle_.lock();
    if (idle->size() < kMaxIdleClients) idle->push_back(std::move(client_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  Result<HttpClient*> client() {
    if (!fresh_) {
      auto idle = owner_.idle_.lock();
      if (!idle->empty()) {
        client_ = std::move(idle->back());
        idle->pop_back();
      }
    }
    if (!client_) {
      HttpClient::Options options;
      options.trust = owner_.options_.trust;
      options.receive_buffer = 64u << 10;
      client_ = TRY(HttpClient::make(std::move(options)));
    }
    return client_.get();
  }

 private:
  Client& owner_;
  const bool fresh_;
  std::unique_ptr<HttpClient> client_;
};

Client::Client(ClientOptions options, Logger log)
    : options_(std::move(options)), log_(std::move(log)) {}

Client::~Client() { logout(); }

HttpRequest Client::request_for(const std::string& method, const std::string& path) const {
  HttpRequest request;
  request.method = method;
  // An href is an absolute path and already holds the base; joined with the host alone.
  const bool is_href = path.starts_with(options_.base_path + "/") || path == options_.base_path ||
                       path.starts_with("/ovirt-engine/");
  request.url = options_.origin + (is_href ? path : options_.base_path + path);
  request.headers = {{"Version", "4"}, {"Accept", "application/xml"}, {"All-Content", "true"}};
  request.connect_timeout = options_.connect_timeout;
  request.total_timeout = options_.call_timeout;
  request.max_response_bytes = kMaxDocumentBytes;
  request.accept_compressed = true;
  return request;
}

Result<Reply> Client::get(const std::string& path, std::stop_token stop) {
  return call(request_for("GET", path), true, stop);
}

Result<Reply> Client::post(const std::string& path, const std::string& xml,
                           const std::string& correlation, std::stop_token stop) {
  HttpRequest request = request_for("POST", path);
  request.headers.emplace_back("Content-Type", "application/xml");
  if (!correlation.empty()) request.headers.emplace_back("Correlation-Id", correlation);
  request.body = xml;
  return call(std::move(request), false, stop);
}

Result<Document> Client::fetch(const std::string& path, std::stop_token stop) {
  Reply reply = TRY(get(path, stop));
  if (!reply.ok()) return reply.error(fmt::format("reading {}", path.substr(0, path.find('?'))));
  if (!reply.body.root()) return not_an_engine(redacted_url(path), "an answer has no body");
  return std::move(reply.body);
}

Result<Reply> Client::call(HttpRequest request, bool repeatable, std::stop_token stop) {
  const Backoff backoff{.first = options_.first_delay, .cap = std::chrono::seconds(4)};
  const std::string where = redacted_url(request.url);
  for (int attempt = 1;; ++attempt) {
    Result<HttpResponse> response = send_signed(request, stop);
    const bool last = !repeatable || attempt >= options_.max_tries;
    if (response && (response->status < 500 || last)) return read_reply(*response, where);
    // A peer that hangs has used up the time of this call already.
    if (!response && (last || response.error().kind() != ErrorKind::Unavailable)) {
      return std::move(response).error();
    }
    if (!clock_.sleep(backoff.delay(attempt, random_unit()), stop)) {
      return make_error(ErrorKind::Canceled, "stopped");
    }
  }
}

Result<HttpResponse> Client::send_signed(HttpRequest& request, std::stop_token stop) {
  for (bool again = false;; again = true) {
    const SessionPtr live = TRY(session(stop));
    request.authorization = live->authorization;
    request.cookie = live->cookie;
    // Keeps the session that a Basic login opened (source-ovirt.md 1.2).
    const bool basic = live->token.empty();
    HttpRequest signed_request = request;
    if (basic) signed_request.headers.emplace_back("Prefer", "persistent-auth");
    HttpResponse response = TRY(send(signed_request, stop));
    if (response.status != 401) {
      if (basic) keep_cookie(live, response);
      return response;
    }
    forget(live);
    if (basic) {  // the password itself went along
      return refuse(coded_error(ErrorKind::PermissionDenied, code::kSourceAuth,
                                "the engine refused the password of '{}'", options_.username));
    }
    if (again) {
      return coded_error(ErrorKind::PermissionDenied, code::kSourceAuth,
                         "the engine refuses a session that '{}' just opened", options_.username);
    }
  }
}

Result<HttpResponse> Client::send(const HttpRequest& request, std::stop_token stop) {
  Lease lease(*this, request.method != "GET");
  HttpClient* const client = TRY(lease.client());
  Result<HttpResponse> response = client->send(request, stop);
  if (response || !response.error().code().empty()) return response;
  switch (response.error().kind()) {
    case ErrorKind::Unavailable:
    case ErrorKind::DeadlineExceeded:
      return std::move(response).error().with_code(code::kSourceUnreachable);
    case ErrorKind::ResourceExhausted:
    case ErrorKind::InvalidArgument:
      return std::move(response).error().with_code(code::kSourceProtocol);
    default:
      return response;
  }
}

std::optional<std::string> Client::internal_ca(std::stop_token stop) {
  if (std::optional<std::string> known = *internal_ca_.lock()) return known;
  HttpRequest request;
  request.url = options_.origin +
                "/ovirt-engine/services/pki-resource?resource=ca-certificate&format=X509-PEM-CA";
  request.connect_timeout = options_.connect_timeout;
  request.total_timeout = std::chrono::seconds(10);
  request.max_response_bytes = 1u << 20;
  const Result<HttpResponse> response = send(request, stop);
  if (!response || response->status != 200) {
    log_.debug("the engine does not give its authority's certificate");
    return std::nullopt;
  }
  Result<std::string> pem = parse_ca_certificates(response->body);
  if (!pem) {
    log_.warn("the engine's authority has no usable certificate", pem.error());
    return std::nullopt;
  }
  *internal_ca_.lock() = *pem;
  return *std::move(pem);
}

}  // namespace vmferry::ovirt
