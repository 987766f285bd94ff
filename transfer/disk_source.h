#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/extent.h"
#include "common/result.h"

namespace vmferry {

// What a source would like its readers to do; the copier stays within the scheduler's caps.
struct SourceHints {
  int workers = 4;                         // concurrent read() calls that pay off
  std::uint64_t request_bytes = 1u << 20;  // best size of one read; a multiple of 1 MiB
  bool sequential = false;                 // reads must come in order, from one worker
  bool has_extents = false;                // extents() tells more than "all data"
  bool is_near = false;                    // a read is work for this machine, not waiting
};

// A digest that the source's server computed over the whole disk: leaf-root over 1 MiB blocks
// (nbd-and-sinks.md 8.1).
struct SourceDigest {
  std::string algorithm;  // "sha256"
  std::string hex;
};

// Counts what happened inside a source while healing; absolute, never falling.
struct SourceCounters {
  std::uint64_t wire_bytes = 0;  // body bytes received, repeats included
  std::uint64_t requests = 0;
  std::uint64_t retries = 0;
  std::uint64_t reconnects = 0;
  std::string last_error;  // of the last retry, for telling why it is slow
  std::string via;         // a detour that the data takes, and why: "the engine's proxy (...)"
};

// The part of it that is cheap enough to be asked for with every read.
struct SourceTroubles {
  std::uint64_t reconnects = 0;
  std::uint64_t retries = 0;
};

// A virtual disk being read. Offsets and lengths are bytes of guest data.
// Thread-safe: workers call read() concurrently; the source overlaps the calls as its peer allows.
// Heals transient failures inside (bounded); what it returns is terminal for this attempt.
class DiskSource {
 public:
  virtual ~DiskSource() = default;

  virtual std::uint64_t size_bytes() const = 0;
  virtual SourceHints hints() const = 0;
  // What must not change for a resume to be valid, as ordered name/value pairs.
  virtual std::vector<std::pair<std::string, std::string>> identity() const = 0;

  // Allocation of `range` from its start: sorted, no gaps or overlaps, at least one extent, none
  // reaching beyond range.end(). May end early, as NBD_CMD_BLOCK_STATUS allows: ask again from
  // there. A source that cannot tell: one Data extent.
  virtual Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) = 0;

  // Fills all of `into` from `offset`. On error the buffer's content is undefined. Errors:
  // DataLoss if the disk ends early or the server lies, Unavailable if the peer is gone for good,
  // PermissionDenied if the ticket expired and could not be renewed, Canceled.
  virtual Result<void> read(std::uint64_t offset, std::span<std::byte> into,
                            std::stop_token stop) = 0;

  // The server's own digest of the disk, if it offers one with this algorithm and 1 MiB blocks.
  virtual Result<std::optional<SourceDigest>> server_digest(std::string_view algorithm,
                                                            std::stop_token stop);
  virtual SourceCounters counters() const { return {}; }
  virtual SourceTroubles troubles() const;

  // Called when all has been read. DataLoss with VMF-SRC-CHANGED: the disk was changed meanwhile,
  // and what was read is of no one moment.
  virtual Result<void> check_unchanged() { return {}; }
};

}  // namespace vmferry
