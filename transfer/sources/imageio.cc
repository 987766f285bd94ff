#include "transfer/sources/imageio.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "common/clock.h"
#include "common/thread.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMaxRequestBytes = 8 * kMiB;  // the server reads that much at a time
constexpr std::uint64_t kSmallGap = 128 * kKiB;       // a request costs about that much (4.9)
constexpr std::size_t kExtentsPerAnswer = 4096;
constexpr std::string_view kDigestQuery = "/checksum?algorithm=sha256&block_size=1048576";

HttpSession::Question question(std::string method, std::string suffix) {
  HttpSession::Question result{.path_suffix = {}, .accepted = {}};
  result.method = std::move(method);
  result.path_suffix = std::move(suffix);
  return result;
}

// No server answered, or none that is trusted; a server's own "no" is not that.
bool is_out_of_reach(const Error& error) {
  return error.code() == code::kSourceUnreachable || error.code() == code::kSourceTls;
}

// Says whose certificate it is that a person has to see to.
Error named(Error error) {
  if (error.code() != code::kSourceTls) return error;
  return std::move(error).with_context(
      "the certificate of the oVirt host that serves the disk (the engine's own authority signs "
      "it)");
}

bool is_sha256(const std::string& hex) {
  return hex.size() == 64 && hex.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

ImageioSource::ImageioSource(const DiskEndpoint& endpoint, const RenewEndpoint& renew,
                             Options options, const Logger& log)
    : log_(log),
      keep_alive_(options.keep_alive),
      session_(endpoint, renew,
               {.max_connections = 1,  // until OPTIONS says how many
                .auth_code = code::kTicketExpired,
                .max_renewals = 3,
                .last_path_segment_is_secret = true,
                .patience = options.patience,
                .resolve = options.resolve},
               stats_, log),
      request_bytes_(std::clamp(endpoint.request_bytes / kMiB * kMiB, kMiB, kMaxRequestBytes)),
      identity_(endpoint.identity) {
  image_.url = [](const DiskEndpoint& now) { return now.url; };
}

Result<std::unique_ptr<ImageioSource>> ImageioSource::open(const DiskEndpoint& endpoint,
                                                           const RenewEndpoint& renew,
                                                           Options options, const Logger& log,
                                                           std::stop_token stop) {
  std::unique_ptr<ImageioSource> source(new ImageioSource(endpoint, renew, options, log));
  TRY(source->ask_options(stop));
  source->connections_ =
      std::max(1, std::min(endpoint.max_connections, source->server_.max_readers));
  // Each Content-Range must agree. The extents are no judge of it: they are checked against it.
  source->image_.size_bytes = endpoint.size_bytes;
  if (endpoint.size_bytes == 0) TRY(source->session_.stat(source->image_, false, stop));
  source->image_.version = {};  // imageio has none; a proxy's says nothing about the disk
  if (source->server_.extents && source->size_bytes() != 0) TRY(source->ask_extents(stop));
  // Connections open when the first reads come: idle ones would expire during a slow /extents.
  source->session_.set_connections(source->connections_);
  // Should it fail: connections that idle expire, and the next read opens others.
  source->keeper_ = TRY(start_thread(
      [raw = source.get()](std::stop_token own) { raw->keep_alive(own); },
      [log](const Error& error) { log.warn("connections are not kept alive any more", error); }));
  return source;
}

// The host, or else the proxy beside the engine, which is slower (source-ovirt.md 3.5).
Result<HttpResponse> ImageioSource::ask_host_or_proxy(std::stop_token stop) {
  const bool has_fallback = !session_.endpoint()->fallback_url.empty();
  HttpSession::Question options = question("OPTIONS", "");
  options.accepted = {405};
  if (has_fallback) options.retries = 0;
  Result<HttpResponse> response = session_.ask(image_, options, stop);
  if (response) return response;
  if (!has_fallback) return named(std::move(response).error());
  options.retries = 3;
  if (!is_out_of_reach(response.error())) {
    return is_retryable(response.error().kind()) ? session_.ask(image_, options, stop) : response;
  }
  const std::string why = response.error().message();
  log_.warn("the image is read through the proxy", response.error());
  session_.use_fallback();
  response = session_.ask(image_, options, stop);
  if (response) {
    stats_.set_via(fmt::format("through the engine's proxy: {}", why));
    return response;
  }
  const Error& proxy = response.error();
  return Error(proxy.kind(), proxy.code(),
               fmt::format("the oVirt host: {}; the engine's proxy: {}", why, proxy.message()));
}

Result<void> ImageioSource::ask_options(std::stop_token stop) {
  Result<HttpResponse> response = ask_host_or_proxy(stop);
  if (!response && is_out_of_reach(response.error())) {
    // The host may have gone for good: the engine serves the image from another then.
    const Error why = response.error();
    if (!TRY(session_.look_elsewhere(why, stop))) return why;
    response = ask_host_or_proxy(stop);
  }
  if (!response) return std::move(response).error();
  server_ = parse_imageio_options(*response);
  return {};
}

Result<void> ImageioSource::ask_extents(std::stop_token stop) {
  HttpSession::Question extents = question("GET", "/extents?context=zero");
  extents.total_timeout = 30min;  // the server collects all of them before the first byte
  extents.stall_timeout = 0s;
  extents.max_bytes = kMaxImageioExtentsBytes;
  extents.retries = 2;
  Result<HttpResponse> response = session_.ask(image_, extents, stop);
  if (!response) {
    const ErrorKind kind = response.error().kind();
    if (kind == ErrorKind::Canceled || kind == ErrorKind::PermissionDenied ||
        kind == ErrorKind::DataLoss) {
      return std::move(response).error();
    }
    log_.warn("the image's extents are not known: all is read", response.error());
    return {};
  }
  Result<std::vector<Extent>> parsed = parse_imageio_extents(response->body, size_bytes());
  if (!parsed) {
    log_.warn("the image's extents are not believed: all is read", parsed.error());
    return {};
  }
  extents_ = absorb_small_gaps(*parsed, kSmallGap);
  return {};
}

SourceHints ImageioSource::hints() const {
  return {
      .workers = connections_, .request_bytes = request_bytes_, .has_extents = !extents_.empty()};
}

Result<std::vector<Extent>> ImageioSource::extents(ByteRange range, std::stop_token) {
  if (range.end() > size_bytes() || range.end() < range.offset) {
    return make_error(ErrorKind::InvalidArgument, "extents beyond the end of the disk");
  }
  if (range.empty() || extents_.empty()) return std::vector<Extent>{{range, Allocation::Data}};
  auto next = std::ranges::upper_bound(extents_, range.offset, {},
                                       [](const Extent& extent) { return extent.range.offset; });
  --next;
  std::vector<Extent> answer;
  for (std::uint64_t at = range.offset;
       at < range.end() && next != extents_.end() && answer.size() < kExtentsPerAnswer; ++next) {
    const std::uint64_t end = std::min(next->range.end(), range.end());
    answer.push_back({{at, end - at}, next->allocation});
    at = end;
  }
  return answer;
}

Result<void> ImageioSource::read(std::uint64_t offset, std::span<std::byte> into,
                                 std::stop_token stop) {
  const ByteRange range = TRY(ByteRange::make(offset, into.size()));
  if (range.end() > size_bytes()) {
    return coded_error(ErrorKind::DataLoss, code::kSourceRead,
                       "bytes {}..{} are beyond the end of the disk ({} bytes)", range.offset,
                       range.end(), size_bytes());
  }
  while (!into.empty()) {
    const std::size_t length = std::min<std::size_t>(into.size(), kMaxRequestBytes);
    TRY(session_.read(image_, offset, into.first(length), stop));
    offset += length;
    into = into.subspan(length);
  }
  return {};
}

Result<std::optional<SourceDigest>> ImageioSource::server_digest(std::string_view algorithm,
                                                                 std::stop_token stop) {
  if (!server_.checksum || algorithm != "sha256") return std::optional<SourceDigest>();
  // The server reads the whole disk before it answers: hours without a byte. A server that reads
  // slower than this is taken for dead.
  constexpr std::uint64_t kSlowestBytesPerSecond = 10u << 20;
  HttpSession::Question checksum = question("GET", std::string(kDigestQuery));
  checksum.total_timeout =
      std::chrono::minutes(10) + std::chrono::seconds(size_bytes() / kSlowestBytesPerSecond);
  checksum.stall_timeout = 0s;
  checksum.retries = 1;
  checksum.retries_when_lost = session_.patience().retries;  // the copy is done: as its reads
  const Result<HttpResponse> response = session_.ask(image_, checksum, std::move(stop));
  if (!response) {
    // Daemons offer what some of their backends cannot do. The copy was read back already.
    const ErrorKind kind = response.error().kind();
    const bool cannot = response.error().code() == code::kSourceRead ||
                        kind == ErrorKind::Unimplemented || kind == ErrorKind::NotFound ||
                        kind == ErrorKind::DeadlineExceeded;
    if (!cannot) return response.error();
    log_.warn("the server has no checksum of the image", response.error());
    return std::optional<SourceDigest>();
  }
  const nlohmann::json json = nlohmann::json::parse(response->body, nullptr, false);
  const auto text = [&](const char* key) {
    const auto found = json.is_object() ? json.find(key) : json.end();
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const bool right_blocks = json.is_object() && json.contains("block_size") &&
                            json["block_size"] == std::uint64_t{1048576};
  if (text("algorithm") != "sha256" || !right_blocks || !is_sha256(text("checksum"))) {
    return coded_error(ErrorKind::DataLoss, code::kSourceProtocol,
                       "the server's checksum is not the one asked for");
  }
  return std::optional<SourceDigest>({.algorithm = "sha256", .hex = text("checksum")});
}

void ImageioSource::keep_alive(std::stop_token stop) {
  const SystemClock clock;
  while (clock.sleep(keep_alive_ / 2, stop)) {
    if (session_.idle_for() >= keep_alive_) session_.ping(image_, "OPTIONS", stop);
  }
}

}  // namespace vmferry
