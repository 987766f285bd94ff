// The part of HttpSession for servers without ranges.
#include <optional>
#include <utility>

#include "common/catalogue.h"
#include "transfer/sources/content_range.h"
#include "transfer/sources/http_session.h"
#include "transfer/sources/stream_prefix.h"

namespace vmferry {
namespace {

// Nothing when the response is the whole file.
std::optional<Error> check_whole(const HttpResponse& response, const HttpFile& file) {
  const std::string* encoding = response.header("content-encoding");
  if (encoding != nullptr && *encoding != "identity") {
    return coded_error(ErrorKind::DataLoss, code::kSourceProtocol, "the server encoded the bytes");
  }
  const std::string* length = response.header("content-length");
  const std::optional<std::uint64_t> bytes =
      length == nullptr ? std::nullopt : parse_decimal(*length);
  if (bytes && *bytes != file.size_bytes) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "the file has {} bytes now, it had {}", *bytes, file.size_bytes);
  }
  Result<void> same = check_same_version(response, file.version);
  if (same) return std::nullopt;
  return std::move(same).error();
}

}  // namespace

Result<void> HttpSession::read_whole(const HttpFile& file,
                                     const std::function<bool(std::span<const std::byte>)>& take,
                                     std::stop_token stop) {
  StreamPrefix prefix;
  bool renewed = false;
  for (int attempt = 1;;) {
    const std::uint64_t before = prefix.taken();
    prefix.begin();
    const EndpointKeeper::Current current = keeper_.current();
    pool_.set_trust(current.endpoint->trust);
    HttpPool::Lease client = TRY(pool_.acquire(stop));
    HttpRequest request = make_request(*current.endpoint, file);
    std::optional<Error> refused;
    std::string error_body;
    int status = 0;
    HttpSink sink;
    sink.on_headers = [&](const HttpResponse& response) {
      status = response.status;
      if (status == 200) refused = check_whole(response, file);
      return !refused;
    };
    sink.on_body = [&](std::span<const std::byte> bytes) {
      if (status != 200) {
        error_body.append(reinterpret_cast<const char*>(bytes.data()),
                          std::min(bytes.size(), kErrorBodyBytes - error_body.size()));
        return error_body.size() < kErrorBodyBytes;
      }
      stats_.add_wire_bytes(bytes.size());
      if (bytes.size() > file.size_bytes - prefix.received()) {
        refused = coded_error(ErrorKind::DataLoss, code::kSourceProtocol,
                              "the server sent more bytes than the file has");
        return false;
      }
      Result<std::span<const std::byte>> fresh = prefix.add(bytes);
      if (!fresh) {
        refused = std::move(fresh).error();
        return false;
      }
      return fresh->empty() || take(*fresh);
    };
    stats_.add_request();
    Result<HttpResponse> response = client->stream(request, sink, stop);
    if (!response || status != 200) client.discard();
    if (stop.stop_requested()) return Error(ErrorKind::Canceled, "reading was canceled");
    if (refused) return *std::move(refused);
    if (status == 200 && response && prefix.received() == file.size_bytes) return {};
    if (status != 0) touch();

    Error error = status != 0 && status != 200 ? status_error(status, error_body, "GET")
                  : !response                  ? std::move(response).error()
                              : make_error(ErrorKind::Unavailable, "the body ended {} bytes early",
                                           file.size_bytes - prefix.received());
    error = masked(std::move(error), file);
    if ((status == 401 || status == 403) && !renewed) {
      renewed = true;
      stats_.add_retry(error.message());
      TRY(keeper_.renew(current.generation, error, options_.auth_code, stop));
      continue;
    }
    if (!is_retryable(error.kind())) return error;
    if (is_progress(prefix.taken() - before, file.size_bytes - before)) {
      attempt = 1;
      renewed = false;  // a long stream may outlive several sessions
    }
    if (attempt > options_.patience.retries) {
      return coded_error(ErrorKind::Unavailable, code::kSourceRead,
                         "reading at offset {} failed {} times: {}", prefix.taken(), attempt,
                         error.message());
    }
    TRY(wait_retry(attempt++, error, stop));
  }
}

}  // namespace vmferry
