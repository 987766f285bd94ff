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
constexpr std::size_t kInflatedBytes = 8u << 20;
constexpr std::size_t kInflaters = 2;

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
                                                                 const Options& options,
                                                                 const Logger& log,
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
    if (source->arrived_header_) source->header_ = *source->arrived_header_;
  }
  if (source->size_bytes() != 0) {
    TRY(source->start_inflaters());
    return source;
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

Result<void> VmdkStreamSource::start_inflaters() {
  while (inflaters_.size() < kInflaters) {
    inflaters_.push_back(
        TRY(start_thread([this](const std::stop_token& stop) { inflate_queued(stop); },
                         [this](Error error) { end(std::move(error)); })));
  }
  return {};
}

bool VmdkStreamSource::put(VmdkGrain grain, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  // The header is known before the first grain, but the body callback that brought both announces
  // it only afterwards; nobody would empty the queue until then.
  if (!changed_.wait(lock, stop, [&] { return queued_bytes_ < kQueueBytes || !arrived_header_; })) {
    return false;
  }
  queued_bytes_ += grain.compressed.size();
  queue_.emplace_back().grain = std::move(grain);
  changed_.notify_all();
  return true;
}

void VmdkStreamSource::end(std::optional<Error> error) {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  if (!failed_) failed_ = std::move(error);
  changed_.notify_all();
}

// In the queue's order, so that the reader's next is never the one that waits.
void VmdkStreamSource::inflate_queued(const std::stop_token& stop) {
  GrainInflater inflater;
  const std::size_t most = std::max<std::size_t>(kInflaters, kInflatedBytes / header_.grain_bytes);
  std::unique_lock lock(mutex_);
  const auto has_work = [&] { return taken_ < queue_.size() && taken_ < most; };
  while (changed_.wait(lock, stop, has_work) && !stop.stop_requested()) {
    Slot& slot = queue_[taken_++];  // stays where it is: only what is ready leaves the queue
    const std::uint64_t offset = slot.grain.offset;
    slot.range = {offset, std::min(header_.grain_bytes, size_bytes() - offset)};
    const bool is_wanted = slot.range.end() > wanted_from_;
    lock.unlock();
    if (is_wanted) inflate(slot, inflater);
    lock.lock();
    queued_bytes_ -= slot.grain.compressed.size();
    slot.grain.compressed = {};
    slot.ready = true;
    changed_.notify_all();
  }
}

void VmdkStreamSource::inflate(Slot& slot, GrainInflater& inflater) const {
  slot.bytes = std::make_unique_for_overwrite<std::byte[]>(slot.range.length);
  Result<void> done = inflater.inflate(slot.grain.compressed, header_.grain_bytes,
                                       {slot.bytes.get(), slot.range.length});
  if (!done) slot.failed = std::move(done).error();
}

// Nothing: the stream is over and was whole.
Result<std::optional<VmdkStreamSource::Slot>> VmdkStreamSource::next_slot(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  const auto is_ready = [&] { return !queue_.empty() && queue_.front().ready; };
  if (!changed_.wait(lock, std::move(stop),
                     [&] { return is_ready() || (ended_ && (queue_.empty() || failed_)); })) {
    return canceled();
  }
  if (!is_ready()) {
    if (failed_) return *failed_;
    return std::optional<Slot>();
  }
  std::optional<Slot> slot(std::move(queue_.front()));
  queue_.pop_front();
  --taken_;
  changed_.notify_all();
  lock.unlock();
  if (slot->range.offset < grains_end_) {
    return coded_error(ErrorKind::DataLoss, code::kDiskUnsupported,
                       "the VMDK stream's grains are out of order at offset {}",
                       slot->range.offset);
  }
  grains_end_ = slot->range.end();
  return slot;
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
  if (into.empty()) return {};
  position_ = range.end();
  {
    const std::lock_guard lock(mutex_);
    wanted_from_ = range.offset;
  }
  // Up to the grain behind the range, or the stream's end: only that tells that none is missing.
  std::uint64_t filled = range.offset;
  const auto fill_zeros = [&](std::uint64_t to) {  // of grains that do not come
    std::memset(into.data() + (filled - range.offset), 0, to - filled);
    filled = to;
  };
  while (true) {
    if (!current_) current_ = TRY(next_slot(stop));
    if (!current_ || current_->range.offset >= range.end()) break;
    const ByteRange grain = current_->range;
    const std::uint64_t from = std::max(grain.offset, filled);
    const std::uint64_t to = std::min(grain.end(), range.end());
    if (from < to) {
      if (current_->failed) {
        return Error(*current_->failed).with_context(fmt::format("offset {}", grain.offset));
      }
      fill_zeros(from);
      std::memcpy(into.data() + (from - range.offset),
                  current_->bytes.get() + (from - grain.offset), to - from);
      filled = to;
    }
    if (grain.end() > range.end()) break;
    current_.reset();
  }
  fill_zeros(range.end());
  return {};
}

}  // namespace vmferry
