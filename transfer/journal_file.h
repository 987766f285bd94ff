#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/result.h"
#include "transfer/journal.h"

namespace vmferry {

// The journal in a file: two bitmap slots with sequence number and CRC, a leaf area, an identity
// header with a copy; the format is drawn in journal_file.cc. Locked by flock while it is open.
// open_target() decides whose content to believe, this class only whether it is whole.
class JournalFile {
 public:
  enum class Content { Empty, Valid, Corrupt };

  // Opens or creates, locks and reads. Unavailable with VMF-DST-BUSY when another has it.
  static Result<std::unique_ptr<JournalFile>> open(const std::string& path);

  // InvalidArgument when something else than a journal lies at `path`: open() takes it for a
  // damaged one, whose content does not matter. For paths that people type.
  static Result<void> check_is_journal(const std::string& path);

  Content content() const { return content_; }
  const std::string& damage() const { return damage_; }  // of Corrupt: what is wrong
  const JournalIdentity& identity() const { return identity_; }
  bool complete() const { return state_ == kComplete; }
  // Nothing of its epoch is to be believed, whoever remembers it: Journal::invalidate().
  bool invalid() const { return (state_ & kInvalid) != 0; }
  // Whether any chunk's bit is set.
  bool has_chunks() const;
  // Calls `each` with the chunks whose bit is set and whose leaf is whole, sorted by index.
  Result<void> for_each_durable(const EachChunk& each) const;

  // Makes it Empty, durably: before the target that it describes is dropped.
  Result<void> discard();
  // Makes it Valid with nothing durable, durably: before the first write to the target.
  // InvalidArgument when the identity does not fit into the header.
  Result<void> create(const JournalIdentity& identity);
  // As Journal; only for Valid content.
  Result<void> record(const std::vector<DurableChunk>& chunks);
  Result<void> forget(const std::vector<std::uint64_t>& chunks);
  Result<void> invalidate();
  Result<void> mark_complete();

 private:
  static constexpr std::uint32_t kComplete = 1;
  static constexpr std::uint32_t kInvalid = 2;
  struct Slot {
    std::uint64_t sequence = 0;
    std::uint32_t state = 0;
    std::vector<std::uint8_t> bitmap;
  };

  JournalFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Result<void> load();
  Result<bool> load_header(std::uint64_t offset, std::uint64_t file_bytes);
  Result<std::optional<Slot>> load_slot(unsigned at, std::uint64_t file_bytes) const;
  void corrupt(std::string damage);
  Result<void> adopt(const JournalIdentity& identity);
  Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes);
  Result<void> write_slot(unsigned at);
  Result<void> write_both_slots();
  Result<void> next_slot();
  Result<void> write_leaves(const std::vector<DurableChunk>& chunks);
  Result<void> sync() const;
  std::uint64_t slot_bytes() const;
  std::uint64_t leaf_offset(std::uint64_t index) const;
  std::uint32_t leaf_crc(std::uint64_t index, const std::byte* leaf) const;

  UniqueFd fd_;
  std::string path_;
  Content content_ = Content::Empty;
  std::string damage_;
  JournalIdentity identity_;
  std::uint32_t header_crc_ = 0;  // ties slots and leaves to this header
  std::uint64_t chunk_count_ = 0;
  std::size_t leaf_size_ = 0;
  std::uint64_t sequence_ = 0;
  unsigned newest_slot_ = 0;
  std::uint32_t state_ = 0;
  std::vector<std::uint8_t> bitmap_;
};

}  // namespace vmferry
