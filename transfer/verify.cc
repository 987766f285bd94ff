#include "transfer/verify.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <utility>

#include "common/catalogue.h"
#include "transfer/checkpoint.h"
#include "transfer/copy_workers.h"
#include "transfer/transfer_thread.h"

namespace vmferry {
namespace {

// What a reader asks for at once, and how many ask: benchmarks/README.md.
constexpr std::uint64_t kReadChunks = 2;  // at least: repair() compares two in one buffer
constexpr std::uint64_t kReaders = 4;
constexpr int kFlushShare = 10;  // flushes behind the copy take at most this part of the time
constexpr std::chrono::milliseconds kFollowTick{20};
constexpr std::size_t kMostRuns = 16384;

constexpr std::uint64_t kWindowChunks = 1024;  // known zero ranges are asked for per GiB
constexpr std::size_t kMostRepairs = 1024;     // more is no accident: fail at once
constexpr std::size_t kOffsetsNamed = 10;

Result<bool> leaf_is_equal(const CopyState& state, std::uint64_t index,
                           std::span<const std::byte> chunk, LeafHasher& hasher) {
  std::byte leaf[kMaxLeafBytes];
  TRY(hasher.hash(chunk, leaf));
  return std::ranges::equal(std::span(leaf).first(state.leaves->leaf_size()),
                            state.leaves->leaf(index));
}

// "N, N, N, ..."
std::string offsets_text(std::vector<std::uint64_t> offsets) {
  std::ranges::sort(offsets);
  std::string text;
  for (std::size_t i = 0; i < offsets.size() && i < kOffsetsNamed; ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", offsets[i]);
  }
  return offsets.size() > kOffsetsNamed ? text + ", ..." : text;
}

// Where exactly they differ only the source can tell.
Error chunks_differ(const std::vector<std::uint64_t>& chunks, std::string_view why_no_repair) {
  std::vector<std::uint64_t> offsets;
  offsets.reserve(chunks.size());
  for (const std::uint64_t index : chunks) offsets.push_back(index * kChunkBytes);
  return coded_error(ErrorKind::DataLoss, code::kVerifyFailed,
                     "{} chunks of 1 MiB on the target differ from what was received ({}), those "
                     "at offsets {}",
                     chunks.size(), why_no_repair, offsets_text(std::move(offsets)));
}

Error still_differs(const std::vector<std::uint64_t>& offsets) {
  return coded_error(ErrorKind::DataLoss, code::kVerifyFailed,
                     "{} chunks of 1 MiB on the target differ from what was received, also after "
                     "one repair; their first wrong bytes are at offsets {}",
                     offsets.size(), offsets_text(offsets));
}

}  // namespace

Verification::Verification(CopyState& state)
    : state_(state),
      seen_(state.done.count()),
      on_failure_(state.failure.token(), [this] { ending_.request_stop(); }) {}

Verification::~Verification() { ending_.request_stop(); }

Result<std::unique_ptr<Verification>> Verification::start(CopyState& state) {
  std::unique_ptr<Verification> verification(new Verification(state));
  const std::uint64_t reads = (state.done.count() + kReadChunks - 1) / kReadChunks;
  for (std::uint64_t i = 0; i < std::clamp<std::uint64_t>(reads, 1, kReaders); ++i) {
    if (!verification->buffers_.emplace_back(kReadChunks * kChunkBytes)) {
      return Error(ErrorKind::Unavailable, "no memory for reading the target back");
    }
  }
  TRY(verification->start_threads());
  return verification;
}

Result<void> Verification::start_threads() {
  try {
    for (const AlignedBuffer& buffer : buffers_) {
      readers_.push_back(start_transfer_thread(
          state_, [this, &buffer](std::stop_token) { return compare_queued(buffer); }));
    }
    if (state_.options.verify == VerifyMode::ReadBack) {
      follower_ =
          start_transfer_thread(state_, [this](std::stop_token copied) { return follow(copied); });
    }
  } catch (...) {  // no thread to be had
    return caught_error("verify threads");
  }
  return {};
}

// Queues what is durable from an earlier attempt, then what the copy has written, flush by flush.
Result<void> Verification::follow(std::stop_token copied) {
  std::uint64_t durable = state_.counters.durable;
  queue_unseen(state_.durable);
  std::mutex mutex;
  std::condition_variable_any never;
  std::uint64_t flushed = 0;
  SteadyTime next = state_.clock.steady();
  while (!copied.stop_requested() && !ending_.stop_requested()) {
    {
      std::unique_lock lock(mutex);
      never.wait_for(lock, copied, kFollowTick, [] { return false; });
    }
    if (state_.journal != nullptr) {  // the checkpoints flush
      // Read before the bitmap: what is recorded while that is scanned is met at the next tick.
      const std::uint64_t before = std::exchange(durable, state_.counters.durable);
      if (durable != before) queue_unseen(state_.durable);
      continue;
    }
    const std::uint64_t completed = state_.counters.completed;
    const SteadyTime begin = state_.clock.steady();
    if (completed - flushed < state_.options.verify_flush_bytes || begin < next) continue;
    const std::vector<ChunkRun> written = take_unseen(state_.done);
    TRY(flush_target(state_));
    const SteadyTime end = state_.clock.steady();
    queue(written);
    next = end + (end - begin) * kFlushShare;
    flushed = completed;
  }
  return {};
}

// Chunks with data that the follower meets for the first time. At most so many runs that they are
// no matter of memory; what is left comes with the next call.
std::vector<ChunkRun> Verification::take_unseen(const ChunkBitmap& written) {
  seen_to_ = seen_.find(false, seen_to_, seen_.count());
  std::vector<ChunkRun> runs;
  for (std::uint64_t at = written.find_beyond(seen_, seen_to_);
       at < written.count() && runs.size() < kMostRuns; at = written.find_beyond(seen_, at + 1)) {
    seen_.set(at);
    if (state_.leaves->is_zero_chunk(at)) continue;
    if (runs.empty() || runs.back().end() != at) {
      runs.push_back({at, 0, ChunkAction::Copy, kAllPieces});
    }
    ++runs.back().count;
  }
  return runs;
}

void Verification::queue_unseen(const ChunkBitmap& written) {
  for (std::vector<ChunkRun> runs; !(runs = take_unseen(written)).empty();) queue(runs);
}

void Verification::queue(const std::vector<ChunkRun>& runs) {
  for (const ChunkRun& run : runs) {
    if (!queue_.push(run, ending_.get_token())) return;
  }
}

// What the follower did not queue, but for zero chunks that the sink knows to be zero.
Result<void> Verification::queue_rest() {
  const std::uint64_t count = state_.done.count();
  for (std::uint64_t first = 0; first < count; first += kWindowChunks) {
    const std::uint64_t end = std::min(count, first + kWindowChunks);
    const std::uint64_t offset = first * kChunkBytes;
    const ByteRange window{offset, std::min(end * kChunkBytes, state_.size_bytes) - offset};
    const std::vector<ByteRange> holes = TRY(state_.sink.known_zero_ranges(window));
    auto hole = holes.begin();
    std::vector<ChunkRun> runs{{first, 0, ChunkAction::Copy, kAllPieces}};
    for (std::uint64_t index = first; index < end; ++index) {
      const ByteRange range = chunk_range(index, state_.size_bytes);
      while (hole != holes.end() && hole->end() < range.end()) ++hole;
      const bool known = hole != holes.end() && hole->offset <= range.offset;
      const bool zero = state_.leaves->is_zero_chunk(index);
      if (zero ? !known : !seen_.test(index)) {
        ++runs.back().count;
        continue;
      }
      if (zero) state_.counters.verified += range.length;
      runs.push_back({index + 1, 0, ChunkAction::Copy, kAllPieces});
    }
    std::erase_if(runs, [](const ChunkRun& run) { return run.count == 0; });
    queue(runs);
    if (ending_.stop_requested()) return Error(ErrorKind::Canceled, "verification stopped");
  }
  return {};
}

Result<void> Verification::compare_queued(const AlignedBuffer& buffer) {
  LeafHasher hasher = TRY(LeafHasher::make(state_.options.hash));
  const std::stop_token stop = ending_.get_token();
  while (const std::optional<ChunkRun> work = queue_.pop(kReadChunks, 1, stop)) {
    const std::span<std::byte> bytes = buffer.span().first(bytes_of(*work, state_.size_bytes));
    TRY(state_.sink.read_back(work->first * kChunkBytes, bytes));
    for (std::uint64_t i = 0; i < work->count; ++i) {
      const std::uint64_t index = work->first + i;
      const ByteRange range = chunk_range(index, state_.size_bytes);
      const auto chunk = bytes.subspan(i * kChunkBytes, range.length);
      if (TRY(leaf_is_equal(state_, index, chunk, hasher))) {
        state_.counters.verified += range.length;
      } else {
        TRY(report(index));
      }
    }
  }
  return {};
}

Result<void> Verification::report(std::uint64_t index) {
  const std::lock_guard lock(mutex_);
  differing_.push_back(index);
  if (differing_.size() <= kMostRepairs) return {};
  return chunks_differ(differing_, "too many to repair");
}

Result<std::vector<std::uint64_t>> Verification::finish(std::stop_token stop) {
  if (follower_.joinable()) {
    follower_.request_stop();
    follower_.join();
  }
  Result<void> queued = queue_rest();
  queue_.close();
  for (std::jthread& reader : readers_) reader.join();
  if (std::optional<Error> failed = state_.failure.get()) {
    forget_differing();
    return *std::move(failed);
  }
  TRY(std::move(queued));
  if (differing_.empty()) return std::vector<std::uint64_t>();
  std::ranges::sort(differing_);
  // Before anything else: when it stays so, no later attempt may take them for copied.
  TRY(forget_chunks(state_, differing_));
  return repair(differing_, std::move(stop));
}

void Verification::abandon() {
  ending_.request_stop();
  if (follower_.joinable()) {
    follower_.request_stop();
    follower_.join();
  }
  for (std::jthread& reader : readers_) reader.join();
  readers_.clear();
  forget_differing();
}

void Verification::forget_differing() {
  if (differing_.empty()) return;
  if (const Result<void> forgotten = forget_chunks(state_, differing_); !forgotten) {
    state_.log.warn("cannot take chunks that differ out of the journal", forgotten.error());
  }
}

Result<std::vector<std::uint64_t>> Verification::repair(const std::vector<std::uint64_t>& chunks,
                                                        std::stop_token stop) {
  if (state_.hints.sequential) return chunks_differ(chunks, "its source cannot go back");
  LeafHasher hasher = TRY(LeafHasher::make(state_.options.hash));
  const AlignedBuffer& buffer = buffers_.front();
  std::vector<std::uint64_t> offsets;
  for (const std::uint64_t index : chunks) {
    if (stop.stop_requested()) return Error(ErrorKind::Canceled, "repair stopped");
    const ByteRange range = chunk_range(index, state_.size_bytes);
    const std::span<std::byte> right = buffer.span().first(range.length);
    const std::span<std::byte> wrong = buffer.span().subspan(kChunkBytes, range.length);
    TRY(state_.sink.read_back(range.offset, wrong));
    TRY(copy_chunk_again(state_, index, hasher, buffer, stop));
    const auto first = std::ranges::mismatch(right, wrong).in1 - right.begin();
    // Equal by now: it was the reading that went wrong.
    const std::uint64_t within = static_cast<std::uint64_t>(first) % range.length;
    offsets.push_back(range.offset + within);
    state_.log.warn("target differs, copying the chunk again", {{"offset", offsets.back()}});
  }
  TRY(flush_target(state_));
  std::vector<std::uint64_t> still;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (stop.stop_requested()) return Error(ErrorKind::Canceled, "repair stopped");
    const ByteRange range = chunk_range(chunks[i], state_.size_bytes);
    const std::span<std::byte> chunk = buffer.span().first(range.length);
    TRY(state_.sink.read_back(range.offset, chunk));
    if (TRY(leaf_is_equal(state_, chunks[i], chunk, hasher))) {
      state_.counters.verified += range.length;
    } else {
      still.push_back(offsets[i]);
    }
  }
  if (!still.empty()) return still_differs(still);
  if (state_.journal != nullptr) TRY(record_chunks(state_, chunks));
  return offsets;
}

}  // namespace vmferry
