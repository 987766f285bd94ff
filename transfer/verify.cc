#include "transfer/verify.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "common/catalogue.h"
#include "transfer/checkpoint.h"
#include "transfer/copy_workers.h"
#include "transfer/run_queue.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kWindowChunks = 1024;  // known zero ranges are asked for per GiB
constexpr std::size_t kMostRepairs = 1024;     // more is no accident: fail at once
constexpr std::size_t kOffsetsNamed = 10;

// The chunks that differ, sorted. Filled by the workers.
class Differences {
 public:
  void add(std::uint64_t index) {
    const std::lock_guard lock(mutex_);
    chunks_.push_back(index);
  }
  std::vector<std::uint64_t> take() {
    std::ranges::sort(chunks_);
    return std::move(chunks_);
  }

 private:
  std::mutex mutex_;
  std::vector<std::uint64_t> chunks_;
};

// Lets the workers end, whichever way the feeding scope is left.
class CloseAtEnd {
 public:
  explicit CloseAtEnd(RunQueue& queue) : queue_(queue) {}
  ~CloseAtEnd() { queue_.close(); }
  CloseAtEnd(const CloseAtEnd&) = delete;
  CloseAtEnd& operator=(const CloseAtEnd&) = delete;

 private:
  RunQueue& queue_;
};

Result<bool> chunk_is_equal(CopyState& state, std::uint64_t index, LeafHasher& hasher,
                            const AlignedBuffer& buffer) {
  const ByteRange range = chunk_range(index, state.size_bytes);
  const std::span<std::byte> chunk = buffer.span().first(range.length);
  TRY(state.sink.read_back(range.offset, chunk));
  std::byte leaf[kMaxLeafBytes];
  TRY(hasher.hash(chunk, leaf));
  return std::ranges::equal(std::span(leaf).first(state.leaves->leaf_size()),
                            state.leaves->leaf(index));
}

// Queues every chunk but the zero ones that the sink knows to be zero.
Result<void> feed(CopyState& state, RunQueue& queue, std::stop_token stop) {
  const std::uint64_t count = state.done.count();
  for (std::uint64_t first = 0; first < count; first += kWindowChunks) {
    const std::uint64_t end = std::min(count, first + kWindowChunks);
    const std::uint64_t offset = first * kChunkBytes;
    const ByteRange window{offset, std::min(end * kChunkBytes, state.size_bytes) - offset};
    const std::vector<ByteRange> holes = TRY(state.sink.known_zero_ranges(window));
    auto hole = holes.begin();
    ChunkRun run{first, 0, ChunkAction::Copy, kAllPieces};
    for (std::uint64_t index = first; index < end; ++index) {
      const ByteRange range = chunk_range(index, state.size_bytes);
      while (hole != holes.end() && hole->end() < range.end()) ++hole;
      const bool known = hole != holes.end() && hole->offset <= range.offset;
      if (!known || !state.leaves->is_zero_chunk(index)) {
        ++run.count;
        continue;
      }
      state.counters.verified += range.length;
      if (run.count != 0 && !queue.push(run, stop)) break;
      run = {index + 1, 0, ChunkAction::Copy, kAllPieces};
    }
    if (run.count != 0) queue.push(run, stop);
    if (stop.stop_requested()) return Error(ErrorKind::Canceled, "verification stopped");
  }
  return {};
}

Result<void> compare_chunks(CopyState& state, RunQueue& queue, const AlignedBuffer& buffer,
                            Differences& differences, std::stop_token stop) {
  LeafHasher hasher = TRY(LeafHasher::make(state.options.hash));
  while (const std::optional<ChunkRun> work = queue.pop(1, 1, stop)) {
    if (TRY(chunk_is_equal(state, work->first, hasher, buffer))) {
      state.counters.verified += chunk_range(work->first, state.size_bytes).length;
    } else {
      differences.add(work->first);
    }
  }
  return {};
}

Result<std::vector<std::uint64_t>> find_differences(CopyState& state, std::stop_token stop) {
  RunQueue queue;
  Differences differences;
  FirstError failure;
  const std::stop_callback forward(
      stop, [&failure] { failure.set(Error(ErrorKind::Canceled, "verification stopped")); });
  {
    std::vector<std::jthread> threads;
    for (const AlignedBuffer& buffer : state.buffers) {
      threads.emplace_back([&] {
        try {
          Result<void> compared =
              compare_chunks(state, queue, buffer, differences, failure.token());
          if (!compared) failure.set(std::move(compared).error());
        } catch (const std::exception& error) {
          failure.set(make_error(ErrorKind::Internal, "verify thread: {}", error.what()));
        }
      });
    }
    const CloseAtEnd close(queue);
    if (Result<void> fed = feed(state, queue, failure.token()); !fed) {
      failure.set(std::move(fed).error());
    }
  }
  if (std::optional<Error> error = failure.get()) return *std::move(error);
  return differences.take();
}

Error verify_failed(const std::vector<std::uint64_t>& chunks, std::string_view what) {
  std::string offsets;
  for (std::size_t i = 0; i < chunks.size() && i < kOffsetsNamed; ++i) {
    offsets += fmt::format("{}{}", i == 0 ? "" : ", ", chunks[i] * kChunkBytes);
  }
  return coded_error(
      ErrorKind::DataLoss, code::kVerifyFailed,
      "{} chunks of 1 MiB on the target differ from what was received{}, at offsets {}{}",
      chunks.size(), what, offsets, chunks.size() > kOffsetsNamed ? ", ..." : "");
}

Result<void> repair(CopyState& state, const std::vector<std::uint64_t>& chunks,
                    std::stop_token stop) {
  if (chunks.size() > kMostRepairs) return verify_failed(chunks, " (too many to repair)");
  // A sequential source cannot go back.
  if (state.hints.sequential) return verify_failed(chunks, "");
  state.log.warn("target differs, copying the chunks again",
                 {{"offset", chunks.front() * kChunkBytes},
                  {"bytes", static_cast<std::uint64_t>(chunks.size()) * kChunkBytes}});
  LeafHasher hasher = TRY(LeafHasher::make(state.options.hash));
  const AlignedBuffer& buffer = state.buffers.front();
  for (const std::uint64_t index : chunks) {
    if (stop.stop_requested()) return Error(ErrorKind::Canceled, "repair stopped");
    TRY(copy_chunk_again(state, index, hasher, buffer, stop));
  }
  TRY(flush_target(state));
  std::vector<std::uint64_t> still;
  for (const std::uint64_t index : chunks) {
    if (stop.stop_requested()) return Error(ErrorKind::Canceled, "repair stopped");
    if (TRY(chunk_is_equal(state, index, hasher, buffer))) {
      state.counters.verified += chunk_range(index, state.size_bytes).length;
    } else {
      still.push_back(index);
    }
  }
  if (!still.empty()) return verify_failed(still, ", after one repair");
  if (state.journal != nullptr) TRY(record_chunks(state, chunks));
  return {};
}

}  // namespace

Result<void> verify_target(CopyState& state, std::stop_token stop) {
  const std::vector<std::uint64_t> differing = TRY(find_differences(state, stop));
  if (differing.empty()) return {};
  return repair(state, differing, stop);
}

}  // namespace vmferry
