#include "transfer/sources/nbd.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/secret.h"
#include "transfer/sources/private_directory.h"

namespace vmferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint32_t kSmallestRequest = 64u << 10;  // an EINVAL below this is not about size
constexpr int kMostMemoryPauses = 24;                  // two minutes of a host without memory
constexpr int kExtentErrors = 3;                       // after that many nobody asks any more
constexpr int kLostPerPiece = 20;  // a request that kills every connection is not worth more
constexpr std::uint64_t kStatusStep = 2ull << 30;  // block status has 32-bit lengths
constexpr int kNearWorkers = 16;                   // half of them read: transfer/read_gate.h
constexpr int kFarWorkers = 24;  // measured with 5 ms a request: benchmarks/README.md
constexpr milliseconds kFar{1};

Error canceled() { return make_error(ErrorKind::Canceled, "reading was canceled"); }

bool is_passing(int error_number) { return error_number == EIO || error_number == ENOMEM; }

}  // namespace

NbdSource::NbdSource(NbdDial dial, const NbdProperties& properties, SourceIdentity identity,
                     const NbdOptions& options, const Logger& log)
    : properties_(properties),
      identity_(std::move(identity)),
      options_(options),
      log_(log),
      lanes_(std::move(dial), properties, options, stats_, log),
      pace_(properties.max_request, 0, options.memory_pause),
      extents_on_(properties.allocation) {}

Result<std::unique_ptr<NbdSource>> NbdSource::open(NbdDial dial, SourceIdentity identity,
                                                   const NbdOptions& options, const Logger& log,
                                                   std::stop_token stop) {
  NbdHandle handle = TRY(dial(options.connect_deadline, stop));
  const NbdProperties properties = TRY(nbd_properties(handle.get()));
  std::unique_ptr<NbdSource> source(
      new NbdSource(dial, properties, std::move(identity), options, log));
  TRY(source->lanes_.add(std::move(handle)));
  if (properties.multi_conn) source->open_more_lanes(dial, stop);
  source->measure_round_trip(stop);
  if (stop.stop_requested()) return canceled();
  return source;
}

void NbdSource::open_more_lanes(const NbdDial& dial, std::stop_token stop) {
  while (connections() < options_.max_connections) {
    Result<NbdHandle> handle = dial(options_.extra_connect_deadline, stop);
    const Result<void> added =
        handle ? lanes_.add(*std::move(handle)) : Result<void>(std::move(handle).error());
    if (!added) {
      log_.debug("no further connection to the NBD server",
                 {{"connections", connections()}, {"error", added.error().message()}});
      return;
    }
  }
}

// Two small reads tell whether the server is far (or slow to begin): then more workers pay off.
void NbdSource::measure_round_trip(std::stop_token stop) {
  workers_ = options_.workers > 0 ? options_.workers : kNearWorkers;
  const std::uint64_t length = std::min<std::uint64_t>(
      properties_.size_bytes, std::max<std::uint64_t>(4096, properties_.min_block));
  if (options_.workers > 0 || length == 0) return;
  const Result<NbdLanes::Connection> connection = lanes_.pick(stop);
  if (!connection) return;
  std::vector<std::byte> buffer(length);
  auto best = steady_clock::duration::max();
  for (int i = 0; i < 2; ++i) {
    const auto start = steady_clock::now();
    // What goes wrong here goes wrong again in a real read, which deals with it.
    if ((*connection)->pread(0, buffer, stop).kind != NbdOutcome::Kind::Done) return;
    best = std::min(best, steady_clock::now() - start);
  }
  is_near_ = best < kFar;
  if (!is_near_) workers_ = kFarWorkers;
}

SourceHints NbdSource::hints() const {
  return {.workers = workers_,
          .request_bytes = 1u << 20,
          .has_extents = extents_on_.load(),
          .is_near = is_near_};
}

std::uint64_t NbdSource::complaints() const {
  return options_.memory_complaints ? options_.memory_complaints() : 0;
}

bool NbdSource::shrink_requests(std::size_t bytes, std::uint64_t complaints_before,
                                std::uint64_t generation) {
  if (complaints() == complaints_before) return false;
  if (pace_.shrink(static_cast<std::uint32_t>(bytes), generation)) {
    log_.info(
        "the host is short of memory: fewer and smaller requests, after a pause",
        {{"bytes", std::uint64_t{pace_.request_bytes()}}, {"requests", pace_.most_in_flight()}});
  }
  return true;
}

Result<void> NbdSource::read(std::uint64_t offset, std::span<std::byte> into,
                             std::stop_token stop) {
  const ByteRange range = TRY(ByteRange::make(offset, into.size()));
  if (range.end() > size_bytes()) {
    return coded_error(ErrorKind::DataLoss, code::kSourceRead,
                       "bytes {}..{} are beyond the end of the disk ({} bytes)", range.offset,
                       range.end(), size_bytes());
  }
  const std::uint64_t block = properties_.min_block;
  if (range.offset % block != 0 || range.length % block != 0) {
    return read_unaligned(offset, into, std::move(stop));
  }
  while (!into.empty()) {
    const std::size_t length = std::min<std::size_t>(into.size(), pace_.request_bytes());
    Result<void> piece = read_piece(offset, into.first(length), stop);
    if (!piece) {
      if (length > pace_.request_bytes()) continue;  // too large for the server: in parts
      return std::move(piece).error();
    }
    offset += length;
    into = into.subspan(length);
  }
  return {};
}

// Reads the blocks around the range and copies the middle.
Result<void> NbdSource::read_unaligned(std::uint64_t offset, std::span<std::byte> into,
                                       std::stop_token stop) {
  const std::uint64_t block = properties_.min_block;
  const std::uint64_t start = offset / block * block;
  std::vector<std::byte> cover(round_up(offset + into.size(), block) - start);
  TRY(read(start, cover, std::move(stop)));
  std::memcpy(into.data(), cover.data() + (offset - start), into.size());
  return {};
}

Result<void> NbdSource::read_piece(std::uint64_t offset, std::span<std::byte> into,
                                   std::stop_token stop) {
  const SystemClock clock;
  std::size_t retries = 0;
  int memory_pauses = 0;
  steady_clock::time_point first_lost;
  for (int lost = 0;;) {
    const NbdLanes::Connection connection = TRY(lanes_.pick(stop));
    std::optional<ReadPace::Turn> turn(pace_.take(stop));
    if (!*turn) return canceled();
    if (into.size() > pace_.request_bytes()) {  // while we waited; the caller cuts it smaller
      return make_error(ErrorKind::Unavailable, "the host is short of memory");
    }
    const std::uint64_t generation = turn->generation();
    const std::uint64_t complained = complaints();
    stats_.add_request();
    const NbdOutcome outcome = connection->pread(offset, into, stop);
    turn.reset();
    if (outcome.kind == NbdOutcome::Kind::Done) {
      stats_.add_wire_bytes(into.size());
      return {};
    }
    if (stop.stop_requested()) return canceled();
    stats_.add_retry(outcome.text);
    if (outcome.kind == NbdOutcome::Kind::Refused && outcome.error_number == ESHUTDOWN) {
      connection->abandon("the NBD server is shutting down");
    } else if (outcome.kind == NbdOutcome::Kind::Refused) {
      if (outcome.error_number == EINVAL && into.size() > kSmallestRequest) {
        const auto half = static_cast<std::uint32_t>(into.size() / 2 / properties_.min_block *
                                                     properties_.min_block);
        pace_.refuse_above(half);
        log_.info("the NBD server refuses large reads: asking for less",
                  {{"bytes", std::uint64_t{half}}});
      } else if (is_passing(outcome.error_number) && retries < options_.retry_delays.size()) {
        if (!clock.sleep(options_.retry_delays[retries++], stop)) return canceled();
        // Then the pause is the wait, and the host has all the time that it needs.
        if (shrink_requests(into.size(), complained, generation) &&
            ++memory_pauses < kMostMemoryPauses) {
          --retries;
        }
        if (into.size() <= pace_.request_bytes()) continue;
      }
      return coded_error(ErrorKind::DataLoss, code::kSourceRead,
                         "reading {} bytes at offset {} failed: {}", into.size(), offset,
                         outcome.text);
    }
    if (lost == 0) first_lost = steady_clock::now();
    if (++lost > kLostPerPiece || steady_clock::now() - first_lost > options_.reconnect_limit) {
      return coded_error(ErrorKind::Unavailable, code::kSourceRead,
                         "the connection was lost {} times while reading offset {}: {}", lost,
                         offset, outcome.text);
    }
    // The first reconnect is at once; a server that keeps hanging up is not hammered.
    if (lost > 2 && !clock.sleep(options_.reconnect.delay(lost - 2, random_unit()), stop)) {
      return canceled();
    }
  }
}

Result<std::vector<Extent>> NbdSource::extents(ByteRange range, std::stop_token stop) {
  const std::vector<Extent> all_data{{range, Allocation::Data}};
  if (range.end() > size_bytes()) {
    return make_error(ErrorKind::InvalidArgument, "extents beyond the end of the disk");
  }
  if (range.empty() || !extents_on_) return all_data;
  const std::uint64_t block = properties_.min_block;
  const std::uint64_t start = range.offset / block * block;
  const std::uint64_t asked = std::min(kStatusStep - block, round_up(range.end(), block) - start);

  const NbdLanes::Connection connection = TRY(lanes_.pick(stop));
  const auto begin = steady_clock::now();
  std::vector<Extent> answer;
  const NbdOutcome outcome = connection->block_status({start, asked}, answer, stop);
  if (outcome.kind != NbdOutcome::Kind::Done) {
    if (stop.stop_requested()) return canceled();
    stats_.add_retry("block status: " + outcome.text);
    // A child that was killed because this question took so long would be killed for the next one.
    const bool fatal = outcome.kind == NbdOutcome::Kind::Lost && options_.on_silence;
    if (++extent_errors_ >= kExtentErrors || fatal) stop_asking_for_extents(outcome.text);
    // Nothing beyond this question is claimed: later ranges may be answered.
    return std::vector<Extent>{
        {{range.offset, std::min(range.end(), start + asked) - range.offset}, Allocation::Data}};
  }
  extent_errors_ = 0;
  if (steady_clock::now() - begin > options_.slow_extents) stop_asking_for_extents("too slow");

  std::vector<Extent> clipped;
  std::uint64_t at = range.offset;
  for (const Extent& extent : answer) {
    const std::uint64_t end = std::min(extent.range.end(), range.end());
    if (extent.range.offset > at) break;  // a gap: what follows is not believed
    if (end <= at) continue;
    clipped.push_back({{at, end - at}, extent.allocation});
    at = end;
  }
  if (clipped.empty()) {
    stop_asking_for_extents("the answer says nothing");
    return all_data;
  }
  return merge_adjacent(std::move(clipped));
}

void NbdSource::stop_asking_for_extents(const std::string& why) {
  if (extents_on_.exchange(false)) {
    log_.info("allocation is not asked for any more: all is read", {{"error", why}});
  }
}

Result<std::unique_ptr<NbdSource>> open_nbd_source(const DiskEndpoint& endpoint,
                                                   const std::string& scratch_directory,
                                                   const NbdOptions& options, const Logger& log,
                                                   std::stop_token stop) {
  if (!endpoint.trust.thumbprint.empty()) {
    return make_error(ErrorKind::InvalidArgument,
                      "{}: a certificate cannot be pinned by thumbprint over NBD, give its CA",
                      redacted_url(endpoint.url));
  }
  NbdTarget target{.uri = endpoint.url, .unix_socket = {}, .certificates_directory = {}};
  // Needed for every reconnect, so the dial function owns it.
  std::shared_ptr<PrivateDirectory> certificates;
  if (!endpoint.trust.ca_pem.empty() && endpoint.url.starts_with("nbds")) {
    certificates = TRY(PrivateDirectory::make(scratch_directory));
    TRY(write_file_atomically(certificates->path() + "/ca-cert.pem", endpoint.trust.ca_pem, 0600));
    target.certificates_directory = certificates->path();
  }
  NbdOptions capped = options;
  capped.max_connections = std::max(1, std::min(options.max_connections, endpoint.max_connections));
  NbdDial dial = [target, certificates](milliseconds deadline, std::stop_token dial_stop) {
    return dial_nbd(target, deadline, std::move(dial_stop));
  };
  SourceIdentity identity = endpoint.identity;
  // All of it: an NBD URI holds no secret, and the socket's path stands in its query.
  if (identity.empty()) identity.emplace_back("url", endpoint.url);
  return NbdSource::open(std::move(dial), std::move(identity), capped, log, std::move(stop));
}

}  // namespace vmferry
