#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"

namespace vmferry {

using LeafDigest = std::vector<std::byte>;  // 16 bytes (xxh3-128) or 32 (sha256)

// What a journal is valid for; any difference means start over, and say which.
struct JournalIdentity {
  std::string job;
  std::uint64_t size_bytes = 0;
  std::string hash;  // "xxh3-128" or "sha256"
  std::vector<std::pair<std::string, std::string>> source;
  std::vector<std::pair<std::string, std::string>> target;
  friend bool operator==(const JournalIdentity&, const JournalIdentity&) = default;
};

// One chunk that is durable on the target, with its digest.
struct DurableChunk {
  std::uint64_t index = 0;
  LeafDigest digest;
  friend bool operator==(const DurableChunk&, const DurableChunk&) = default;
};

// Which chunks are written and flushed. record() is called only after the sink's flush succeeded.
// One checkpoint thread uses it, but for catch_up(), which comes from another one meanwhile.
class Journal {
 public:
  virtual ~Journal() = default;
  // Chunks that an earlier attempt with the same identity made durable; empty: start over.
  // The caller has flushed nothing yet. Sorted by index.
  virtual std::vector<DurableChunk> durable() const = 0;
  // True when this journal continues an earlier attempt: the target may hold garbage in chunks
  // that are not durable, so nothing about it is known to be zero.
  virtual bool resumed() const = 0;
  // Adds chunks; they survive kill -9 when this returns.
  virtual Result<void> record(const std::vector<DurableChunk>& chunks) = 0;
  // The whole disk is copied and verified.
  virtual Result<void> mark_complete() = 0;
  // Called now and then from beginning to end: while there is nothing to record (a target is being
  // verified, a source is silent) whoever asks what is durable is answered all the same.
  virtual void catch_up() {}
};

// The journal in a file (format drawn in journal.cc): two bitmap slots with sequence number and
// CRC, a leaf area, an identity header with a copy. Locked by flock: a second opener gets
// Unavailable with VMF-DST-BUSY.
class FileJournal final : public Journal {
 public:
  enum class Outcome { Fresh, Resumed, DiscardedIdentity, DiscardedCorrupt, Complete };

  // Opens or creates. On an identity mismatch or corruption the old content is discarded and
  // `outcome()`/`reason()` say so ("source disk uuid changed from A to B").
  static Result<std::unique_ptr<FileJournal>> open(const std::string& path,
                                                   const JournalIdentity& identity);
  ~FileJournal() override;

  Outcome outcome() const;
  const std::string& reason() const;

  std::vector<DurableChunk> durable() const override;
  bool resumed() const override;
  Result<void> record(const std::vector<DurableChunk>& chunks) override;
  Result<void> mark_complete() override;

 private:
  struct Impl;
  explicit FileJournal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Chunks as a compact byte string for the wire and for storage elsewhere: runs of consecutive
// indices with their digests, checksummed. decode: DataLoss when torn or corrupt, InvalidArgument
// when out of bounds for `chunk_count`.
std::string encode_chunks(const std::vector<DurableChunk>& chunks);
Result<std::vector<DurableChunk>> decode_chunks(std::string_view bytes, std::uint64_t chunk_count);

}  // namespace vmferry
