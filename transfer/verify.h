#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "common/result.h"
#include "transfer/aligned_buffer.h"
#include "transfer/chunks.h"
#include "transfer/copy_state.h"
#include "transfer/run_queue.h"

namespace vmferry {

// Reads the target back past the page cache and compares it with the leaves of what was received.
// Behind the copy it flushes every now and then what is written, and its readers follow; only the
// rest is left for finish(). After the copy, finish() does it all.
//
// A chunk is read back only after a flush that came after its last write.
class Verification {
 public:
  // Starts the readers, and the follower if state.options.verify says behind the copy.
  // Unavailable without memory or threads.
  static Result<std::unique_ptr<Verification>> start(CopyState& state);
  // Stops what runs and waits for it.
  ~Verification();
  Verification(const Verification&) = delete;
  Verification& operator=(const Verification&) = delete;

  // After the copy and its last flush. Compares what is left; zero chunks need no reading where the
  // sink knows them to be zero. Chunks that differ are copied once more and compared again; their
  // first wrong bytes are the answer. Errors: DataLoss with VMF-XFER-VERIFY-FAILED and the offsets,
  // or with VMF-SRC-CHANGED when the source has other bytes there by now; those of the sink and of
  // the source; Canceled.
  Result<std::vector<std::uint64_t>> finish(std::stop_token stop);

  // Instead of finish(), when the copy has failed: ends the reading. What was found to differ is
  // taken out of the journal.
  void abandon();

 private:
  explicit Verification(CopyState& state);
  Result<void> start_threads();

  Result<void> follow(std::stop_token copied);
  std::vector<ChunkRun> take_unseen(const ChunkBitmap& written);
  void queue_unseen(const ChunkBitmap& written);
  void queue(const std::vector<ChunkRun>& runs);
  Result<void> queue_rest();
  Result<void> compare_queued(const AlignedBuffer& buffer);
  Result<void> report(std::uint64_t index);
  void forget_differing();
  Result<std::vector<std::uint64_t>> repair(const std::vector<std::uint64_t>& chunks,
                                            std::stop_token stop);

  CopyState& state_;
  std::vector<AlignedBuffer> buffers_;  // one a reader
  RunQueue queue_;
  ChunkBitmap seen_;           // by the follower: queued, or zero and left for finish()
  std::uint64_t seen_to_ = 0;  // all before it are
  std::mutex mutex_;
  std::vector<std::uint64_t> differing_;
  std::stop_source ending_;
  std::stop_callback<std::function<void()>> on_failure_;
  std::vector<std::jthread> readers_;
  std::jthread follower_;  // absent after the copy
};

}  // namespace vmferry
