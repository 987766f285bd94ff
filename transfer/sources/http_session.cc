#include "transfer/sources/http_session.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "common/catalogue.h"
#include "common/clock.h"
#include "transfer/sources/content_range.h"

namespace vmferry {
namespace {

using std::chrono::milliseconds;

Error canceled() { return make_error(ErrorKind::Canceled, "reading was canceled"); }

std::int64_t steady_ms() {
  return std::chrono::duration_cast<milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool is_refusal(int status) { return status == 401 || status == 403; }

// Another try may get a better answer than this one. imageio: a short read of the backend
// (source-ovirt.md 4.5).
bool may_pass(int status, std::string_view body) {
  return status == 408 || status == 429 || status >= 500 ||
         (status == 400 && body.starts_with("Requested"));
}

// The ticket at the end of an imageio URL's path.
std::string last_segment(const std::string& url) {
  const std::string path = url.substr(0, url.find_first_of("?#"));
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(slash + 1);
}

std::string one_line(std::string_view body) {
  std::string line(body.substr(0, body.find_first_of("\r\n")).substr(0, kErrorBodyBytes));
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return line;
}

}  // namespace

bool is_progress(std::uint64_t received, std::uint64_t asked) {
  constexpr std::uint64_t kWorthAnother = 64u << 10;
  return received > 0 && received >= std::min(kWorthAnother, asked / 16);
}

// One range on its way; what has arrived is never asked for again.
struct HttpSession::RangeState {
  std::uint64_t offset = 0;  // of the first missing byte
  std::span<std::byte> missing;
  bool refused = false;  // 401 or 403
  bool passing = false;  // another try may help
};

HttpSession::HttpSession(DiskEndpoint endpoint, RenewEndpoint renew, Options options,
                         SourceStats& stats, Logger log)
    : options_(std::move(options)),
      stats_(stats),
      log_(std::move(log)),
      keeper_(endpoint, std::move(renew)),
      pool_({.trust = endpoint.trust, .unix_socket = {}, .resolve = options_.resolve},
            options_.max_connections) {
  touch();
}

void HttpSession::touch() { last_answer_ms_.store(steady_ms(), std::memory_order_relaxed); }

milliseconds HttpSession::idle_for() const {
  return milliseconds(steady_ms() - last_answer_ms_.load(std::memory_order_relaxed));
}

HttpRequest HttpSession::make_request(const DiskEndpoint& endpoint, const HttpFile& file) const {
  HttpRequest request;
  request.url = file.url(endpoint);
  request.authorization = endpoint.authorization;
  request.cookie = endpoint.cookie;
  request.connect_timeout = options_.patience.connect_timeout;
  request.total_timeout = milliseconds(0);
  request.stall_timeout = options_.patience.stall_timeout;
  return request;
}

Error HttpSession::masked(Error error, const HttpFile& file) const {
  if (!options_.last_path_segment_is_secret) return error;
  const std::string secret = last_segment(file.url(*keeper_.current().endpoint));
  std::string text = error.message();
  for (std::size_t at = text.find(secret); !secret.empty() && at != std::string::npos;
       at = text.find(secret, at + 3)) {
    text.replace(at, secret.size(), "***");
  }
  return Error(error.kind(), error.code(), std::move(text));
}

Error HttpSession::status_error(int status, std::string_view body, std::string_view method) const {
  const std::string detail = body.empty() ? std::string() : ": " + one_line(body);
  if (is_refusal(status)) {
    return coded_error(ErrorKind::PermissionDenied, options_.auth_code,
                       "the server refused access (HTTP {}){}", status, detail);
  }
  if (status == 404 || status == 410) {
    return coded_error(ErrorKind::NotFound, code::kDiskMissing,
                       "the server has no such file (HTTP {}){}", status, detail);
  }
  if (status == 416) {
    return coded_error(
        ErrorKind::DataLoss, code::kSourceChanged,
        "the server has no such range (HTTP 416): its file is shorter than the disk");
  }
  if (may_pass(status, body)) {
    return coded_error(ErrorKind::Unavailable, code::kSourceRead,
                       "the server answered {} with HTTP {}{}", method, status, detail);
  }
  return coded_error(ErrorKind::Unimplemented, code::kSourceProtocol,
                     "the server answered {} with HTTP {}{}", method, status, detail);
}

Result<void> HttpSession::wait_retry(int attempt, const Error& why, std::stop_token stop) {
  stats_.add_retry(why.message());
  log_.debug("request is repeated", {{"attempt", attempt}, {"error", why.message()}});
  const SystemClock clock;
  if (!clock.sleep(options_.patience.backoff.delay(attempt, random_unit()), stop))
    return canceled();
  return {};
}

Result<bool> HttpSession::look_elsewhere(const Error& why, std::stop_token stop) {
  if (!keeper_.can_renew()) return false;
  keeper_.use_first();
  TRY(keeper_.renew(keeper_.current().generation, why, options_.auth_code, std::move(stop)));
  return true;
}

// The response whatever its status.
Result<HttpResponse> HttpSession::ask_once(const HttpFile& file, const Question& question,
                                           const DiskEndpoint& endpoint, std::stop_token stop) {
  pool_.set_trust(endpoint.trust);
  HttpPool::Lease client = TRY(pool_.acquire(stop));
  HttpRequest request = make_request(endpoint, file);
  request.method = question.method;
  request.url += question.path_suffix;
  request.total_timeout = question.total_timeout;
  request.stall_timeout = question.stall_timeout;
  request.max_response_bytes = question.max_bytes;
  stats_.add_request();
  Result<HttpResponse> response = question.first_byte
                                      ? ask_first_byte(client, std::move(request), std::move(stop))
                                      : client->send(request, std::move(stop));
  if (!response) {
    client.discard();
    return response;
  }
  // Some servers refuse HEAD with a body, which the next answer would begin with.
  if (question.method == "HEAD" && response->status != 200) client.discard();
  touch();
  stats_.add_wire_bytes(response->body.size());
  return response;
}

Result<HttpResponse> HttpSession::ask(const HttpFile& file, const Question& question,
                                      std::stop_token stop) {
  int renewals = 0;
  for (int attempt = 1;;) {
    const EndpointKeeper::Current current = keeper_.current();
    Result<HttpResponse> response = ask_once(file, question, *current.endpoint, stop);
    const int status = response ? response->status : 0;
    if ((status >= 200 && status < 300) || std::ranges::count(question.accepted, status) > 0) {
      return response;
    }
    if (stop.stop_requested()) return canceled();
    const Error error = masked(response ? status_error(status, response->body, question.method)
                                        : std::move(response).error(),
                               file);
    if (is_refusal(status) && renewals++ < options_.max_renewals) {
      TRY(keeper_.renew(current.generation, error, options_.auth_code, stop));
      continue;
    }
    if (!is_retryable(error.kind())) return error;
    const bool lost = status == 0 && error.kind() == ErrorKind::Unavailable;
    if (attempt >
        (lost ? question.retries_when_lost.value_or(question.retries) : question.retries)) {
      return error.code().empty() ? Error(error.kind(), code::kSourceUnreachable, error.message())
                                  : error;
    }
    TRY(wait_retry(attempt++, error, stop));
  }
}

Result<void> HttpSession::read(const HttpFile& file, std::uint64_t offset,
                               std::span<std::byte> into, std::stop_token stop) {
  RangeState state{.offset = offset, .missing = into};
  int renewals = 0;
  for (int attempt = 1; !state.missing.empty();) {
    const std::size_t before = state.missing.size();
    const EndpointKeeper::Current current = keeper_.current();
    std::optional<Error> failed = read_once(file, state, current, stop);
    if (!failed) continue;
    if (stop.stop_requested()) return canceled();
    Error error = masked(*std::move(failed), file);
    if (state.refused && renewals++ < options_.max_renewals) {
      stats_.add_retry(error.message());
      TRY(keeper_.renew(current.generation, error, options_.auth_code, stop));
      continue;
    }
    if (!state.passing) return error;
    if (is_progress(before - state.missing.size(), before)) attempt = 1;
    if (attempt > options_.patience.retries) {
      const bool lies = error.kind() == ErrorKind::DataLoss;
      return coded_error(lies ? ErrorKind::DataLoss : ErrorKind::Unavailable,
                         lies ? code::kSourceProtocol : code::kSourceRead,
                         "reading at offset {} failed {} times: {}", state.offset, attempt,
                         error.message());
    }
    TRY(wait_retry(attempt++, error, stop));
  }
  return {};
}

// One GET for all that is missing. Nothing: all arrived.
std::optional<Error> HttpSession::read_once(const HttpFile& file, RangeState& state,
                                            const EndpointKeeper::Current& current,
                                            std::stop_token stop) {
  state.refused = false;
  state.passing = false;
  pool_.set_trust(current.endpoint->trust);
  Result<HttpPool::Lease> client = pool_.acquire(stop);
  if (!client) return std::move(client).error();
  HttpRequest request = make_request(*current.endpoint, file);
  const ByteRange wanted{state.offset, state.missing.size()};
  request.headers.emplace_back("Range",
                               fmt::format("bytes={}-{}", wanted.offset, wanted.end() - 1));

  std::optional<Error> refused;  // why we stopped the response
  std::string error_body;
  HttpSink sink;
  int status = 0;
  sink.on_headers = [&](const HttpResponse& response) {
    status = response.status;
    if (status == 206) {
      Result<void> checked = check_partial_content(response, wanted, file.size_bytes, file.version);
      if (checked) return true;
      state.passing = checked.error().code() == code::kSourceProtocol;
      refused = std::move(checked).error();
      return false;
    }
    if (status >= 200 && status < 300) {
      refused =
          coded_error(ErrorKind::DataLoss, code::kSourceProtocol,
                      "the server answered a ranged GET with HTTP {}: it has no ranges", status);
      return false;
    }
    return true;  // the body says why
  };
  sink.on_body = [&](std::span<const std::byte> bytes) {
    if (status != 206) {
      error_body.append(reinterpret_cast<const char*>(bytes.data()),
                        std::min(bytes.size(), kErrorBodyBytes - error_body.size()));
      return error_body.size() < kErrorBodyBytes;
    }
    stats_.add_wire_bytes(bytes.size());
    if (bytes.size() > state.missing.size()) {
      refused = coded_error(ErrorKind::DataLoss, code::kSourceProtocol,
                            "the server sent more bytes than the range has");
      return false;
    }
    std::memcpy(state.missing.data(), bytes.data(), bytes.size());
    state.missing = state.missing.subspan(bytes.size());
    state.offset += bytes.size();
    return true;
  };
  stats_.add_request();
  Result<HttpResponse> response = (*client)->stream(request, sink, stop);
  if (refused) {
    client->discard();
    return refused;
  }
  if (status != 0) touch();
  if (status != 0 && status != 206) {
    if (!response) client->discard();
    state.refused = is_refusal(status);
    state.passing = may_pass(status, error_body);
    return status_error(status, error_body, "GET");
  }
  if (!response) {
    client->discard();
    state.passing = is_retryable(response.error().kind());
    return std::move(response).error();
  }
  if (!state.missing.empty()) {
    client->discard();
    state.passing = true;
    return make_error(ErrorKind::Unavailable, "the body ended {} bytes early",
                      state.missing.size());
  }
  return std::nullopt;
}

bool HttpSession::ping(const HttpFile& file, const std::string& method, std::stop_token stop) {
  std::optional<HttpPool::Lease> client = pool_.try_acquire();
  if (!client) return false;
  HttpRequest request = make_request(*keeper_.current().endpoint, file);
  request.method = method;
  request.total_timeout = std::chrono::seconds(10);
  const Result<HttpResponse> response = (*client)->send(request, std::move(stop));
  if (!response) client->discard();  // whoever reads next meets the same trouble and deals with it
  touch();
  return true;
}

}  // namespace vmferry
