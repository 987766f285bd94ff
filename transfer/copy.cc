#include "transfer/copy.h"

#include <algorithm>
#include <memory>
#include <thread>

#include "common/catalogue.h"
#include "transfer/checkpoint.h"
#include "transfer/copy_state.h"
#include "transfer/copy_workers.h"
#include "transfer/transfer_thread.h"
#include "transfer/verify.h"
#include "transfer/watch.h"

namespace vmferry {
namespace {

constexpr int kMostWorkers = 64;
// Of one disk's workers together: eight disks of one agent stay within 400 MiB. Four connections
// still ask for 8 MiB at a time, far more than a round trip's worth.
constexpr std::uint64_t kMostBufferBytes = 32u << 20;

Result<void> prepare(CopyState& state) {
  state.leaves = TRY(LeafTable::make(state.options.hash, state.size_bytes));
  const bool resumed = state.journal != nullptr && state.journal->resumed();
  // After an earlier attempt a chunk that is not durable may hold anything, on a file as well.
  state.target_is_zero = state.sink.initially_zero() && !resumed;
  if (resumed) {
    if (state.sink.initially_zero() && state.size_bytes != 0) {
      return coded_error(ErrorKind::DataLoss, code::kJournalInvalid,
                         "the journal continues an earlier attempt, the target is new");
    }
    TRY(state.journal->restore(
        [&state](std::uint64_t index, std::span<const std::byte> digest) -> Result<void> {
          if (index >= state.done.count() || digest.size() != state.leaves->leaf_size()) {
            return coded_error(
                ErrorKind::DataLoss, code::kJournalInvalid,
                "journal names chunk {} with a digest of {} bytes on a disk of {} chunks", index,
                digest.size(), state.done.count());
          }
          state.leaves->set(index, digest);
          state.durable.set(index);
          state.counters.durable += chunk_range(index, state.size_bytes).length;
          return {};
        }));
  }
  int workers = state.options.workers > 0 ? state.options.workers : state.hints.workers;
  workers = state.hints.sequential ? 1 : std::clamp(workers, 1, kMostWorkers);
  // A small disk needs no buffers for chunks that it does not have.
  workers = static_cast<int>(
      std::clamp<std::uint64_t>(state.done.count(), 1, static_cast<std::uint64_t>(workers)));
  const std::uint64_t share =
      std::max(kChunkBytes, kMostBufferBytes / static_cast<std::uint64_t>(workers));
  const std::uint64_t request = std::clamp(state.hints.request_bytes, kChunkBytes, share);
  const std::uint64_t each = request / kChunkBytes * kChunkBytes;
  state.memory.emplace(static_cast<std::uint64_t>(workers) * each);
  if (!*state.memory) {
    return Error(ErrorKind::Unavailable, "no memory for the workers' buffers");
  }
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(workers); ++i) {
    state.buffers.push_back(state.memory->span().subspan(i * each, each));
  }
  state.read_gate.emplace(state.hints.is_near ? (workers + 1) / 2 : workers);
  return {};
}

// Copies, flushes and records. After an error or a stop what is done is still made durable and
// recorded, so that the next attempt starts from there; the first error is what is returned. Of a
// source that has changed nothing is worth recording: see copy_disk().
Result<void> copy_stage(CopyState& state) {
  state.counters.phase = CopyPhase::Copying;
  {
    const std::jthread checkpoints = start_transfer_thread(
        state, [&state](std::stop_token stop) { return run_checkpoints(state, stop); });
    copy_all_chunks(state);
    if (!state.failure.get()) {
      if (Result<void> same = state.source.check_unchanged(); !same) {
        state.failure.set(std::move(same).error());
      }
    }
  }
  state.counters.phase = CopyPhase::Flushing;
  const std::optional<Error> failed = state.failure.get();
  if (failed && failed->code() == code::kSourceChanged) return *failed;
  Result<void> saved = save_checkpoint(state);
  state.counters.saved = state.journal != nullptr && saved.ok();
  if (failed) {
    if (!saved) state.log.warn("cannot save the journal after a failure", saved.error());
    return *failed;
  }
  return saved;
}

Error digest_differs(const SourceDigest& theirs, const std::string& ours) {
  return coded_error(ErrorKind::DataLoss, code::kVerifyFailed,
                     "the source server's digest is {}:{}, what was received has {}",
                     theirs.algorithm, theirs.hex, ours);
}

Result<std::vector<std::uint64_t>> read_back(CopyState& state,
                                             std::unique_ptr<Verification> verification,
                                             std::stop_token stop) {
  if (verification == nullptr) verification = TRY(Verification::start(state));
  return verification->finish(std::move(stop));
}

// Reads the target back, as far as not yet done, while the server computes its own digest.
Result<void> verify_stage(CopyState& state, std::unique_ptr<Verification> verification,
                          CopyResult& result) {
  const SteadyTime begin = state.clock.steady();
  const std::stop_token stop = state.failure.token();
  Result<std::optional<SourceDigest>> theirs = std::optional<SourceDigest>{};
  {
    std::jthread asking;
    if (state.options.compare_source_digest) {
      asking = start_transfer_thread(state, [&](std::stop_token) -> Result<void> {
        theirs = state.source.server_digest("sha256", stop);
        if (!theirs) return theirs.error().with_context("digest of the source");
        return {};
      });
    }
    if (state.options.verify != VerifyMode::None) {
      state.counters.phase = CopyPhase::Verifying;
      Result<std::vector<std::uint64_t>> repaired = read_back(state, std::move(verification), stop);
      if (!repaired) {
        state.failure.set(std::move(repaired).error());
      } else {
        result.repaired_offsets = *std::move(repaired);
        result.verified = true;
      }
    }
  }
  if (const std::optional<Error> failed = state.failure.get()) return *failed;
  result.digest = TRY(state.leaves->root());
  if (*theirs) {
    if (result.digest != "sha256:" + (*theirs)->hex) return digest_differs(**theirs, result.digest);
    result.source_digest_matched = true;
  }
  result.verify_seconds = Seconds(state.clock.steady() - begin).count();
  return {};
}

Result<CopyResult> run(CopyState& state, CopyMonitor& monitor, std::stop_token stop) {
  const SteadyTime begin = state.clock.steady();
  const std::stop_callback cancel(
      stop, [&state] { state.failure.set(Error(ErrorKind::Canceled, "copy stopped")); });
  TRY(prepare(state));
  CopyResult result;
  {
    const std::jthread watch =
        start_transfer_thread(state, [&](std::stop_token ending) -> Result<void> {
          run_watch(state, monitor, ending);
          return {};
        });
    std::unique_ptr<Verification> behind;
    if (state.options.verify == VerifyMode::ReadBack) behind = TRY(Verification::start(state));
    if (Result<void> copied = copy_stage(state); !copied) {
      if (behind != nullptr) behind->abandon();
      return std::move(copied).error();
    }
    TRY(verify_stage(state, std::move(behind), result));
  }
  TRY(state.sink.finish());
  TRY(complete_journal(state));
  state.counters.phase = CopyPhase::Done;
  result.progress = progress_of(state);
  result.seconds = Seconds(state.clock.steady() - begin).count();
  return result;
}

// What was copied before is of one state of the source, what came later of another, and nobody
// knows where the one ends.
Error source_changed(CopyState& state, Error error) {
  state.counters.saved = false;
  const Result<void> invalidated = invalidate_journal(state);
  if (invalidated) return error;
  state.log.error("cannot invalidate the journal of a source that has changed",
                  invalidated.error());
  return std::move(error).with_context("the journal cannot be invalidated, remove it");
}

}  // namespace

Result<CopyResult> copy_disk(DiskSource& source, DiskSink& sink, Journal* journal,
                             Throttle* throttle, const CopyOptions& options, CopyMonitor& monitor,
                             const Clock& clock, const Logger& log, std::stop_token stop) {
  if (source.size_bytes() != sink.size_bytes()) {
    return make_error(ErrorKind::InvalidArgument, "the source has {} bytes, the target {}",
                      source.size_bytes(), sink.size_bytes());
  }
  if (chunk_count_of(source.size_bytes()) > kMostChunks) {
    return make_error(ErrorKind::InvalidArgument,
                      "the source claims {} bytes; a disk has at most 1 PiB", source.size_bytes());
  }
  CopyOptions effective = options;
  if (options.compare_source_digest) effective.hash = HashAlgorithm::Sha256;
  try {
    CopyState state(source, sink, journal, throttle, effective, clock, log);
    Result<CopyResult> result = run(state, monitor, stop);
    if (!result && result.error().code() == code::kSourceChanged) {
      result = source_changed(state, std::move(result).error());
    }
    monitor.publish(progress_of(state));
    return result;
  } catch (...) {  // no memory or no thread
    return caught_error("copy");
  }
}

}  // namespace vmferry
