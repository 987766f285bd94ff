#include "coordinator/kube/rest/api_client.h"

#include <algorithm>
#include <charconv>

#include "common/backoff.h"
#include "common/catalogue.h"
#include "coordinator/kube/rest/status_error.h"

namespace vmferry::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kMaxIdle = 16;
constexpr int kConnectTries = 4;
constexpr milliseconds kConnectTimeout{10'000};
constexpr std::size_t kMaxErrorBytes = 1 << 20;

// What the transport says about sources is, here, about the API server.
Error transport_error(const Error& error) {
  if (error.code() == code::kSourceTls) {
    return {error.kind(), code::kClusterTls, error.message()};
  }
  if (error.kind() == ErrorKind::Unavailable) {
    return {error.kind(), code::kClusterUnreachable, error.message()};
  }
  return error;
}

// Seconds by the header, else by the Status; nothing: the server does not ask to come again.
std::optional<seconds> asked_delay(const HttpResponse& response) {
  if (const std::string* text = response.header("retry-after")) {
    int value = 0;
    const auto [end, bad] = std::from_chars(text->data(), text->data() + text->size(), value);
    // Dates are allowed too; no API server sends one.
    return seconds(bad == std::errc{} ? std::clamp(value, 1, 60) : 1);
  }
  if (response.status != 429) return std::nullopt;
  const nlohmann::json status = nlohmann::json::parse(response.body, nullptr, false);
  return seconds(std::clamp(retry_after_seconds(status), 1, 60));
}

std::string described(const ApiRequest& request) {
  return request.method + " " + request.path.substr(0, request.path.find('?'));
}

}  // namespace

ApiClient::ApiClient(Access access, Options options, const Clock& clock, const Logger& log)
    : access_(std::move(access)),
      options_(std::move(options)),
      url_origin_(access_.server),
      clock_(clock),
      log_(log),
      limit_(options_.requests_per_second, options_.burst, clock) {
  if (access_.tls_server_name.empty()) return;
  // The URL carries the certificate's name, the connection goes where the kubeconfig says.
  const auto parts = parse_url(access_.server);
  if (!parts) return;  // told by the first request
  const int port = parts->port != 0 ? parts->port : 443;
  connect_to_ = fmt::format("::{}:{}", parts->host, port);
  std::string rest = parts->path_and_query == "/" ? "" : parts->path_and_query;
  url_origin_ = fmt::format("https://{}:{}{}", access_.tls_server_name, port, rest);
}

HttpClient::Options ApiClient::client_options(const Credential& credential) const {
  return {.trust = access_.trust,
          .unix_socket = "",
          .user_agent = options_.user_agent,
          .resolve = {},
          .receive_buffer = 64u << 10,
          .client_certificate_pem = credential.certificate_pem,
          .client_key_pem = credential.key_pem,
          .connect_to = connect_to_};
}

Result<std::unique_ptr<HttpClient>> ApiClient::take_client(const Credential& credential) {
  {
    auto idle = idle_.lock();
    // A certificate is shown when a connection begins: those of an older one are of no use.
    if (!credential.certificate_pem.empty()) {
      std::erase_if(*idle,
                    [&](const Idle& one) { return one.generation != credential.generation; });
    }
    if (!idle->empty()) {
      std::unique_ptr<HttpClient> client = std::move(idle->back().client);
      idle->pop_back();
      return client;
    }
  }
  return HttpClient::make(client_options(credential));
}

void ApiClient::keep_client(const Credential& credential, std::unique_ptr<HttpClient> client) {
  auto idle = idle_.lock();
  if (idle->size() < kMaxIdle) idle->push_back({credential.generation, std::move(client)});
}

HttpRequest ApiClient::http_request(const ApiRequest& request, const Credential& credential,
                                    milliseconds left) const {
  HttpRequest http;
  http.method = request.method;
  http.url = url_origin_ + request.path;
  http.headers = {{"Accept", "application/json"}};
  http.body = request.body;
  if (!request.body.empty()) http.headers.emplace_back("Content-Type", request.content_type);
  http.authorization = credential.authorization;
  http.connect_timeout = std::min(left, kConnectTimeout);
  http.total_timeout = std::max(left, milliseconds(1));
  http.stall_timeout = seconds(0);  // the total is the limit
  http.max_response_bytes = request.max_response_bytes;
  http.accept_compressed = true;
  return http;
}

Result<HttpResponse> ApiClient::exchange(const ApiRequest& request, const Credential& credential,
                                         milliseconds left, std::stop_token stop) {
  std::unique_ptr<HttpClient> client = TRY(take_client(credential));
  Result<HttpResponse> response = client->send(http_request(request, credential, left), stop);
  if (!response) return transport_error(response.error());
  keep_client(credential, std::move(client));
  return response;
}

Result<std::string> ApiClient::call_text(const ApiRequest& request, std::stop_token stop) {
  const SteadyTime until = clock_.steady() + request.timeout;
  const Backoff connecting{.first = milliseconds(100), .cap = seconds(2)};
  bool renewed = false;
  int unreachable = 0;
  while (true) {
    TRY(limit_.take(until, stop));
    const Credential credential = TRY(access_.credentials->current(stop));
    const auto left = std::chrono::ceil<milliseconds>(until - clock_.steady());
    Result<HttpResponse> response = exchange(request, credential, left, stop);
    ++(*answers_.lock())[response ? response->status : 0];
    std::chrono::nanoseconds wait{0};
    Error failure(ErrorKind::Internal, "");
    if (!response) {
      failure = std::move(response).error();
      if (failure.kind() != ErrorKind::Unavailable || request.method != "GET" ||
          ++unreachable >= kConnectTries) {
        return failure;
      }
      wait = connecting.delay(unreachable, random_unit());
    } else {
      if (response->status >= 200 && response->status < 300) return std::move(response->body);
      failure = error_of_status(response->status, response->body, described(request));
      if (response->status == 401 && !renewed &&
          access_.credentials->refused(credential.generation)) {
        renewed = true;
        continue;
      }
      const std::optional<seconds> asked = asked_delay(*response);
      if (!asked || (response->status != 429 && response->status < 500)) return failure;
      wait = *asked;
    }
    if (clock_.steady() + wait >= until) return failure;
    log_.debug("asking the API server again",
               {{"request", described(request)}, {"error", failure.message()}});
    if (!clock_.sleep(wait, stop)) return make_error(ErrorKind::Canceled, "request cancelled");
  }
}

Result<nlohmann::json> ApiClient::call(const ApiRequest& request, std::stop_token stop) {
  const std::string text = TRY(call_text(request, stop));
  nlohmann::json answer = nlohmann::json::parse(text, nullptr, false);
  if (!answer.is_object()) {
    return make_error(ErrorKind::Unavailable,
                      "{}: the answer is no JSON object: is {} an API "
                      "server?",
                      described(request), access_.server);
  }
  return answer;
}

Result<std::unique_ptr<HttpStream>> ApiClient::open_stream(const ApiRequest& request,
                                                           std::stop_token stop) {
  for (bool renewed = false;; renewed = true) {
    TRY(limit_.take(clock_.steady() + request.timeout, stop));
    const Credential credential = TRY(access_.credentials->current(stop));
    HttpRequest http = http_request(request, credential, request.timeout);
    http.accept_compressed = false;  // events must not wait for a block to fill
    auto stream = HttpStream::open(client_options(credential), std::move(http), stop);
    ++(*answers_.lock())[stream ? (*stream)->response().status : 0];
    if (!stream) return transport_error(stream.error());
    const int status = (*stream)->response().status;
    if (status >= 200 && status < 300) return stream;
    if (status == 401 && !renewed && access_.credentials->refused(credential.generation)) continue;
    std::string body;
    while (body.size() < kMaxErrorBytes) {
      const HttpStream::Piece piece = TRY((*stream)->read(seconds(10), stop));
      body += piece.bytes;
      if (piece.ended || piece.bytes.empty()) break;
    }
    return error_of_status(status, body, described(request));
  }
}

}  // namespace vmferry::kube
