#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "common/extent.h"
#include "common/result.h"

namespace vmferry {

// A target being written. Owns alignment: any offset and length may be given; multiples of
// alignment() are fast. Thread-safe for disjoint ranges.
class DiskSink {
 public:
  virtual ~DiskSink() = default;

  virtual std::uint64_t size_bytes() const = 0;
  virtual std::uint64_t alignment() const = 0;
  // True only when every byte not yet written is known to read as zero (a fresh sparse file).
  virtual bool initially_zero() const = 0;
  // What must not change for a resume to be valid (device, inode, size, ...).
  virtual std::vector<std::pair<std::string, std::string>> identity() const = 0;

  // Errors: ResourceExhausted (ENOSPC, EDQUOT; code VMF-DST-FULL), DataLoss (EIO; VMF-DST-IO).
  virtual Result<void> write(std::uint64_t offset, std::span<const std::byte> from) = 0;
  // The range reads back as zeros afterwards; may deallocate. Long ranges end early on `stop`.
  virtual Result<void> zero(ByteRange range, std::stop_token stop) = 0;
  // Everything written before is durable afterwards. A failure is fatal for all since the last
  // success: the journal must not advance.
  virtual Result<void> flush() = 0;
  // Reads what is durably stored, past the page cache. Only after flush().
  virtual Result<void> read_back(std::uint64_t offset, std::span<std::byte> into) = 0;
  // Ranges that are certain to read as zero without being read (holes of a sparse file); sorted.
  // May be empty when the sink cannot tell.
  virtual Result<std::vector<ByteRange>> known_zero_ranges(ByteRange range) = 0;
  // Flushes, syncs metadata and directory. The copy succeeds only if this does.
  virtual Result<void> finish() = 0;
};

}  // namespace vmferry
