#include "transfer/sources/vmdk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/catalogue.h"
#include "common/secret.h"
#include "common/thread.h"

namespace vmferry {
namespace {

constexpr std::size_t kQueueBytes = 16u << 20;

Error canceled() { return make_error(ErrorKind::Canceled, "reading was canceled"); }

Error status_error(int status) {
  if (status == 401 || status == 403) {
    return coded_error(ErrorKind::Unavailable, code::kTicketExpired,
                       "the server refused access (HTTP {})", status);
  }
  if (status == 404) {
    // The URL lives as long as its lease, which may be had anew.
    return coded_error(ErrorKind::Unavailable, code::kSourceRead,
                       "the server has no such export any more (HTTP 404)");
  }
  if (status == 503) {
    return coded_error(ErrorKind::Unavailable, code::kDiskLocked,
                       "the host has no stream left for an export (HTTP 503)");
  }
  const ErrorKind kind = status >= 500 ? ErrorKind::Unavailable : ErrorKind::Unimplemented;
  return coded_error(kind, code::kSourceProtocol, "the server answered HTTP {}", status);
}

}  // namespace

VmdkStreamSource::VmdkStreamSource(const DiskEndpoint& endpoint, std::unique_ptr<HttpClient> client)
    : identity_(endpoint.identity), client_(std::move(client)) {}

VmdkStreamSource::~VmdkStreamSource() = default;

Result<std::unique_ptr<VmdkStreamSource>> VmdkStreamSource::open(const DiskEndpoint& endpoint,
                                                                 Options options, const Logger& log,
                                                                 std::stop_token stop) {
  std::unique_ptr<HttpClient> client = TRY(
      HttpClient::make({.trust = endpoint.trust, .unix_socket = {}, .resolve = options.resolve}));
  std::unique_ptr<VmdkStreamSource> source(new VmdkStreamSource(endpoint, std::move(client)));
  source->receiver_ = TRY(start_thread(
      [raw = source.get(), endpoint, options](std::stop_token own) {
        raw->receive(endpoint, options, std::move(own));
      },
      [raw = source.get()](Error error) { raw->end(std::move(error)); }));
  {
    std::unique_lock lock(source->mutex_);
    source->changed_.wait(lock, stop, [&] { return source->arrived_header_ || source->ended_; });
    if (stop.stop_requested()) {
      lock.unlock();
      return canceled();
    }
    if (source->arrived_header_) {
      source->header_ = *source->arrived_header_;
      return source;
    }
  }
  Error error = source->failed_.value_or(
      Error(ErrorKind::DataLoss, code::kSourceProtocol, "the stream is empty"));
  log.debug("the VMDK stream did not begin", {{"error", error.message()}});
  return std::move(error).with_context("VMDK stream");
}

void VmdkStreamSource::receive(const DiskEndpoint& endpoint, const Options& options,
                               std::stop_token stop) {
  VmdkStreamDecoder decoder;
  std::optional<Error> failed;
  int status = 0;
  HttpSink sink;
  sink.on_headers = [&](const HttpResponse& response) {
    status = response.status;
    return status == 200;
  };
  sink.on_body = [&](std::span<const std::byte> bytes) {
    stats_.add_wire_bytes(bytes.size());
    Result<void> fed =
        decoder.feed(bytes, [&](VmdkGrain grain) { return put(std::move(grain), stop); });
    if (!fed) {
      failed = std::move(fed).error();
      return false;
    }
    if (decoder.has_header()) {
      const std::lock_guard lock(mutex_);
      if (!arrived_header_) {
        arrived_header_ = decoder.header();
        changed_.notify_all();
      }
    }
    return !decoder.ended();  // what follows is padding, which may have no end
  };
  HttpRequest request;
  request.url = endpoint.url;
  request.authorization = endpoint.authorization;
  request.cookie = endpoint.cookie;
  request.connect_timeout = options.patience.connect_timeout;
  request.total_timeout = std::chrono::milliseconds(0);
  request.stall_timeout = options.patience.stall_timeout;
  stats_.add_request();
  const Result<HttpResponse> response = client_->stream(request, sink, stop);

  if (failed) return end(std::move(failed));
  if (status != 0 && status != 200) return end(status_error(status));
  // A stream that said its own end is whole, however the connection ended.
  if (decoder.ended()) return end(std::nullopt);
  if (!response) {
    return end(response.error().code().empty() ? response.error().with_context("the stream broke")
                                               : response.error());
  }
  Result<void> finished = decoder.finish();
  end(finished ? std::nullopt : std::optional<Error>(std::move(finished).error()));
}

bool VmdkStreamSource::put(VmdkGrain grain, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  // The header is known before the first grain, but the body callback that brought both announces
  // it only afterwards; nobody would empty the queue until then.
  if (!changed_.wait(lock, stop, [&] { return queued_bytes_ < kQueueBytes || !arrived_header_; })) {
    return false;
  }
  queued_bytes_ += grain.compressed.size();
  queue_.push_back(std::move(grain));
  changed_.notify_all();
  return true;
}

void VmdkStreamSource::end(std::optional<Error> error) {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  failed_ = std::move(error);
  changed_.notify_all();
}

// Nothing: the stream is over and was whole.
Result<std::optional<VmdkGrain>> VmdkStreamSource::next_grain(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait(lock, std::move(stop), [&] { return !queue_.empty() || ended_; })) {
    return canceled();
  }
  if (queue_.empty()) {
    if (failed_) return *failed_;
    return std::optional<VmdkGrain>();
  }
  VmdkGrain grain = std::move(queue_.front());
  queue_.pop_front();
  queued_bytes_ -= grain.compressed.size();
  changed_.notify_all();
  return std::optional<VmdkGrain>(std::move(grain));
}

Result<std::vector<Extent>> VmdkStreamSource::extents(ByteRange range, std::stop_token) {
  return std::vector<Extent>{{range, Allocation::Data}};
}

Result<void> VmdkStreamSource::read(std::uint64_t offset, std::span<std::byte> into,
                                    std::stop_token stop) {
  const std::lock_guard one(reading_);
  const ByteRange range = TRY(ByteRange::make(offset, into.size()));
  if (range.end() > size_bytes()) {
    return coded_error(ErrorKind::DataLoss, code::kSourceRead,
                       "bytes {}..{} are beyond the end of the disk ({} bytes)", range.offset,
                       range.end(), size_bytes());
  }
  if (offset < position_) {
    return make_error(ErrorKind::InvalidArgument, "a VMDK stream cannot be read backwards");
  }
  if (stop.stop_requested()) return canceled();
  position_ = range.end();
  std::memset(into.data(), 0, into.size());  // grains that do not come are zero
  const auto copy_overlap = [&] {
    const std::uint64_t from = std::max(grain_at_, range.offset);
    const std::uint64_t to = std::min(grain_at_ + inflated_.size(), range.end());
    if (from >= to) return;
    std::memcpy(into.data() + (from - range.offset), inflated_.data() + (from - grain_at_),
                to - from);
  };
  copy_overlap();
  while (true) {
    if (!ahead_) ahead_ = TRY(next_grain(stop));
    if (!ahead_ || ahead_->offset >= range.end()) return {};
    const VmdkGrain grain = *std::exchange(ahead_, std::nullopt);
    if (!inflated_.empty() && grain.offset < grain_at_ + inflated_.size()) {
      return coded_error(ErrorKind::DataLoss, code::kDiskUnsupported,
                         "the VMDK stream's grains are out of order at offset {}", grain.offset);
    }
    inflated_.resize(std::min(header_.grain_bytes, size_bytes() - grain.offset));
    grain_at_ = grain.offset;
    Result<void> done = inflater_.inflate(grain.compressed, header_.grain_bytes, inflated_);
    if (!done) {
      return std::move(done).error().with_context(fmt::format("offset {}", grain.offset));
    }
    copy_overlap();
  }
}

}  // namespace vmferry
