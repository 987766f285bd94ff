#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/log.h"
#include "common/result.h"
#include "transfer/disk_sink.h"
#include "transfer/disk_source.h"
#include "transfer/journal.h"
#include "transfer/throttle.h"

namespace vmferry {

inline constexpr std::uint64_t kChunkBytes = 1u << 20;  // request, digest leaf, journal bit, write

enum class CopyPhase { Starting, Copying, Flushing, Verifying, Done };
std::string_view to_string(CopyPhase phase);

enum class HashAlgorithm { Xxh3_128, Sha256 };
std::string_view to_string(HashAlgorithm algorithm);

// The target is read back past the page cache and compared: behind the copy, as its parts get
// flushed, or after it, which spares a disk of moving heads the way between both.
enum class VerifyMode { None, ReadBack, ReadBackAfter };

// Absolute counters of one transfer, safe to read from any thread. Bytes are counted when done
// (written or proven zero), not when asked for.
struct CopyProgress {
  CopyPhase phase = CopyPhase::Starting;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t to_move_bytes = 0;  // bytes that must be read; grows while extents are discovered
  bool to_move_final = false;       // extents of the whole disk are known
  std::uint64_t moved_bytes = 0;    // of to_move: written, or read and found zero; resumed included
  std::uint64_t resumed_bytes = 0;  // of moved: durable from an earlier attempt, not read again
  std::uint64_t zero_bytes = 0;     // virtual bytes known zero without reading, or found zero
  std::uint64_t verified_bytes = 0;  // read back and equal
  std::uint64_t durable_bytes = 0;   // virtual bytes covered by the journal
  bool journal_saved = false;        // the copying is over, and all that it did is recorded
  SourceCounters source;
};

struct CopyOptions {
  int workers = 0;  // 0: the source's hint
  HashAlgorithm hash = HashAlgorithm::Xxh3_128;
  VerifyMode verify = VerifyMode::ReadBack;
  std::uint64_t verify_flush_bytes = 128ull << 20;  // behind the copy: flushed, then read back
  bool compare_source_digest = false;  // ask the server for sha256 and compare (sets hash Sha256)
  std::chrono::milliseconds checkpoint_every{5000};  // the first after a fifth of it
  std::uint64_t checkpoint_bytes = 4ull << 30;       // at most; sooner on a small disk
  // No byte for that long: Unavailable, VMF-XFER-STALLED. The last resort: longer than sources take
  // to give up a silent server (120 s), reconnect (10 min) and go on.
  std::chrono::seconds stall_limit{900};
};

struct CopyResult {
  CopyProgress progress;
  std::string digest;     // "xxh3-128:<hex>" or "sha256:<hex>", leaf-root over 1 MiB chunks
  bool verified = false;  // the target was read back and is equal
  bool source_digest_matched = false;
  // Where the target differed when it was read back, and was made right by copying the chunk again:
  // the first wrong byte of each such chunk.
  std::vector<std::uint64_t> repaired_offsets;
  double seconds = 0;
  double verify_seconds = 0;
};

// A running transfer's observable state; the copier publishes, anyone may read.
class CopyMonitor {
 public:
  CopyProgress snapshot() const;
  void publish(const CopyProgress& progress);

 private:
  mutable std::mutex mutex_;
  CopyProgress progress_;
};

// Makes the target equal to the source: plan from extents, copy with blocking workers (first error
// wins), flush, journal, read back and compare. Returns when all of it is done or failed; after
// `stop` within two seconds, with the journal saved (CopyProgress::journal_saved tells whether it
// could be). `journal` may be null (no resume); `throttle` may be null. Nothing is thrown, also by
// sources and sinks that throw.
// Errors: as DiskSource::read and DiskSink::write; DataLoss with VMF-SRC-CHANGED, whatever else
// went wrong before, and the journal is invalid then; DataLoss with VMF-XFER-VERIFY-FAILED and the
// offset when the read-back differs; Unavailable with VMF-XFER-JOURNAL-IO when the journal cannot
// be written, and without memory or threads; InvalidArgument for ends of different size, or larger
// than 1 PiB; Canceled.
Result<CopyResult> copy_disk(DiskSource& source, DiskSink& sink, Journal* journal,
                             Throttle* throttle, const CopyOptions& options, CopyMonitor& monitor,
                             const Clock& clock, const Logger& log, std::stop_token stop);

}  // namespace vmferry
