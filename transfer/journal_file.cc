// The journal's file. Integers are little endian, checksums CRC-32.
//
//   0         header     "VMFJ0001" · u32 crc of the rest · u32 length · identity text (JSON)
//   16 KiB    header, a copy: one of them may be torn
//   32 KiB    slot A     u64 sequence · u32 state · u32 crc · u64 chunks · bitmap
//   +S        slot B     the same; S: a whole number of pages
//   +S        leaves     per chunk: digest (16 or 32 bytes) · u32 crc of index and digest
//
// State is a set of bits, 1: complete, 2: invalid (nothing of this epoch is to be believed; the
// bitmap is empty then, so that versions that do not know the bit believe nothing either).
//
// A checkpoint writes leaves, then the older slot with the next sequence number, then syncs. A torn
// slot fails its checksum and the other one counts; a torn leaf fails its own, and its chunk is
// copied again. The checksums of slots and leaves begin with the header's, so that what an earlier
// journal left in the file is never believed. A hole in the leaf area is no valid leaf.
#include "transfer/journal_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "transfer/chunks.h"
#include "transfer/digest.h"
#include "transfer/resume.h"

namespace vmferry {
namespace {

constexpr std::string_view kMagic = "VMFJ0001";
constexpr std::uint64_t kHeaderBytes = 16u << 10;
constexpr std::uint64_t kIdentityAt = 16;
constexpr std::uint64_t kSlotsAt = 2 * kHeaderBytes;
constexpr std::uint64_t kSlotHead = 24;
constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kMostLeavesAtOnce = 16384;

template <typename T>
void put(std::vector<std::byte>& bytes, std::size_t at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

template <typename T>
T get(const std::vector<std::byte>& bytes, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | static_cast<T>(std::to_integer<T>(bytes[at + i]) << (8 * i)));
  }
  return value;
}

std::uint32_t crc(std::uint32_t start, const void* bytes, std::size_t length) {
  return static_cast<std::uint32_t>(::crc32_z(start, static_cast<const Bytef*>(bytes), length));
}

std::uint32_t slot_crc(std::uint32_t start, const std::vector<std::byte>& slot) {
  // All but the checksum itself.
  const std::uint32_t head = crc(start, slot.data(), 12);
  return crc(head, slot.data() + 16, slot.size() - 16);
}

}  // namespace

std::uint64_t JournalFile::slot_bytes() const {
  return round_up(kSlotHead + bitmap_.size(), kPage);
}

std::uint64_t JournalFile::leaf_offset(std::uint64_t index) const {
  return kSlotsAt + 2 * slot_bytes() + index * (leaf_size_ + 4);
}

std::uint32_t JournalFile::leaf_crc(std::uint64_t index, const std::byte* leaf) const {
  return crc(crc(header_crc_, &index, sizeof index), leaf, leaf_size_);
}

Result<std::unique_ptr<JournalFile>> JournalFile::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error(errno, fmt::format("cannot open journal '{}'", path));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return errno_error(errno, fmt::format("cannot lock '{}'", path));
    return coded_error(ErrorKind::Unavailable, code::kTargetBusy,
                       "journal '{}' is used by another process", path);
  }
  std::unique_ptr<JournalFile> file(new JournalFile(std::move(fd), path));
  if (Result<void> loaded = file->load(); !loaded) {
    return std::move(loaded).error().with_context(fmt::format("journal '{}'", path));
  }
  return file;
}

Result<void> JournalFile::check_is_journal(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd && errno == ENOENT) return {};
  struct stat file {};
  if (!fd || ::fstat(fd.get(), &file) != 0) {
    return errno_error(errno, fmt::format("cannot open journal '{}'", path));
  }
  if (S_ISREG(file.st_mode)) {
    if (file.st_size == 0) return {};
    for (const std::uint64_t offset : {std::uint64_t{0}, kHeaderBytes}) {
      char magic[kMagic.size()] = {};
      if (::pread(fd.get(), magic, sizeof magic, static_cast<off_t>(offset)) == sizeof magic &&
          std::string_view(magic, sizeof magic) == kMagic) {
        return {};
      }
    }
  }
  return make_error(ErrorKind::InvalidArgument,
                    "'{}' is no journal, and its content would be lost: name another file", path);
}

void JournalFile::corrupt(std::string damage) {
  content_ = Content::Corrupt;
  damage_ = std::move(damage);
}

Result<void> JournalFile::load() {
  struct stat file {};
  if (::fstat(fd_.get(), &file) != 0) return errno_error(errno, fmt::format("'{}'", path_));
  const auto bytes = static_cast<std::uint64_t>(file.st_size);
  if (bytes == 0) return {};
  if (!TRY(load_header(0, bytes)) && !TRY(load_header(kHeaderBytes, bytes))) {
    corrupt("both headers are damaged");
    return {};
  }
  std::optional<Slot> newest;
  for (const unsigned at : {0u, 1u}) {
    std::optional<Slot> slot = TRY(load_slot(at, bytes));
    if (!slot || (newest && newest->sequence > slot->sequence)) continue;
    newest = std::move(slot);
    newest_slot_ = at;
  }
  if (!newest) {
    corrupt("both slots are damaged");
    return {};
  }
  sequence_ = newest->sequence;
  state_ = newest->state;
  bitmap_ = std::move(newest->bitmap);
  content_ = Content::Valid;
  return {};
}

Result<bool> JournalFile::load_header(std::uint64_t offset, std::uint64_t file_bytes) {
  if (offset + kHeaderBytes > file_bytes) return false;
  std::vector<std::byte> header(kHeaderBytes);
  TRY(read_fully(fd_.get(), offset, header));
  if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0) return false;
  const auto length = get<std::uint32_t>(header, 12);
  if (length > kHeaderBytes - kIdentityAt) return false;
  const auto stored = get<std::uint32_t>(header, 8);
  if (stored != crc(0, header.data() + 12, 4 + length)) return false;
  const std::string_view text(reinterpret_cast<const char*>(header.data() + kIdentityAt), length);
  const Result<JournalIdentity> identity = identity_from_text(text);
  if (!identity || chunk_count_of(identity->size_bytes) > kMostChunks) return false;
  header_crc_ = stored;
  return adopt(*identity).ok();
}

// Takes over what follows from the identity.
Result<void> JournalFile::adopt(const JournalIdentity& identity) {
  const HashAlgorithm hash = TRY(hash_algorithm_from_string(identity.hash));
  identity_ = identity;
  chunk_count_ = chunk_count_of(identity.size_bytes);
  leaf_size_ = leaf_bytes(hash);
  bitmap_.assign((chunk_count_ + 7) / 8, 0);
  return {};
}

Result<std::optional<JournalFile::Slot>> JournalFile::load_slot(unsigned at,
                                                                std::uint64_t file_bytes) const {
  const std::uint64_t offset = kSlotsAt + at * slot_bytes();
  if (offset + slot_bytes() > file_bytes) return std::optional<Slot>{};
  std::vector<std::byte> bytes(slot_bytes());
  TRY(read_fully(fd_.get(), offset, bytes));
  if (get<std::uint32_t>(bytes, 12) != slot_crc(header_crc_, bytes) ||
      get<std::uint64_t>(bytes, 16) != chunk_count_) {
    return std::optional<Slot>{};
  }
  Slot slot{get<std::uint64_t>(bytes, 0), get<std::uint32_t>(bytes, 8), bitmap_};
  std::memcpy(slot.bitmap.data(), bytes.data() + kSlotHead, slot.bitmap.size());
  return std::optional<Slot>(std::move(slot));
}

Result<void> JournalFile::write_slot(unsigned at) {
  std::vector<std::byte> bytes(slot_bytes());
  put(bytes, 0, sequence_);
  put(bytes, 8, state_);
  put(bytes, 16, chunk_count_);
  std::memcpy(bytes.data() + kSlotHead, bitmap_.data(), bitmap_.size());
  put(bytes, 12, slot_crc(header_crc_, bytes));
  return write(kSlotsAt + at * slot_bytes(), bytes);
}

// So that a torn slot brings back no older word of the other.
Result<void> JournalFile::write_both_slots() {
  TRY(next_slot());
  return next_slot();
}

Result<void> JournalFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (Result<void> written = write_fully(fd_.get(), offset, bytes); !written) {
    return std::move(written).error().with_context(fmt::format("cannot write '{}'", path_));
  }
  return {};
}

Result<void> JournalFile::sync() const {
  while (::fdatasync(fd_.get()) != 0) {
    if (errno != EINTR) return errno_error(errno, fmt::format("cannot sync journal '{}'", path_));
  }
  return {};
}

bool JournalFile::has_chunks() const {
  return content_ == Content::Valid &&
         std::ranges::any_of(bitmap_, [](std::uint8_t bits) { return bits != 0; });
}

Result<void> JournalFile::for_each_durable(const EachChunk& each) const {
  constexpr std::uint64_t kBatch = 4096;
  const std::size_t record = leaf_size_ + 4;
  std::vector<std::byte> leaves;
  if (content_ != Content::Valid) return {};
  for (std::uint64_t first = 0; first < chunk_count_; first += kBatch) {
    const std::uint64_t end = std::min(chunk_count_, first + kBatch);
    bool loaded = false;
    for (std::uint64_t index = first; index < end; ++index) {
      if ((bitmap_[index / 8] >> (index % 8) & 1) == 0) continue;
      if (!loaded) {
        // What cannot be read stays a hole, and a hole is no valid leaf: that chunk is not trusted.
        leaves.assign((end - first) * record, std::byte{0});
        std::size_t got = 0;
        while (got < leaves.size()) {
          const ssize_t count = ::pread(fd_.get(), leaves.data() + got, leaves.size() - got,
                                        static_cast<off_t>(leaf_offset(first) + got));
          if (count < 0 && errno == EINTR) continue;
          if (count <= 0) break;
          got += static_cast<std::size_t>(count);
        }
        loaded = true;
      }
      const std::span leaf = std::span(leaves).subspan((index - first) * record, record);
      std::uint32_t stored = 0;
      std::memcpy(&stored, leaf.data() + leaf_size_, sizeof stored);
      if (stored == leaf_crc(index, leaf.data())) TRY(each(index, leaf.first(leaf_size_)));
    }
  }
  return {};
}

Result<void> JournalFile::discard() {
  if (::ftruncate(fd_.get(), 0) != 0 || ::fsync(fd_.get()) != 0) {
    return errno_error(errno, fmt::format("cannot discard journal '{}'", path_));
  }
  content_ = Content::Empty;
  return {};
}

Result<void> JournalFile::create(const JournalIdentity& identity) {
  const std::string text = identity_text(identity);
  if (text.size() > kHeaderBytes - kIdentityAt) {
    return make_error(ErrorKind::InvalidArgument, "journal identity of {} bytes is too long",
                      text.size());
  }
  if (chunk_count_of(identity.size_bytes) > kMostChunks) {
    return make_error(ErrorKind::InvalidArgument, "journal for a disk of {} bytes",
                      identity.size_bytes);
  }
  TRY(discard());
  TRY(adopt(identity));
  std::vector<std::byte> header(kHeaderBytes);
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  put(header, 12, static_cast<std::uint32_t>(text.size()));
  std::memcpy(header.data() + kIdentityAt, text.data(), text.size());
  header_crc_ = crc(0, header.data() + 12, 4 + text.size());
  put(header, 8, header_crc_);
  sequence_ = 1;
  state_ = 0;
  newest_slot_ = 0;
  // Headers first: from its first byte on the file can be told for a journal.
  TRY(write(0, header));
  TRY(write(kHeaderBytes, header));
  TRY(write_slot(0));
  TRY(write_slot(1));
  if (::fsync(fd_.get()) != 0) return errno_error(errno, fmt::format("cannot sync '{}'", path_));
  // The name as well, once: a journal that a crash makes vanish would leave a target untrusted.
  const std::filesystem::path parent = std::filesystem::path(path_).parent_path();
  const UniqueFd directory(
      ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) {
    return errno_error(errno, fmt::format("cannot sync the directory of '{}'", path_));
  }
  content_ = Content::Valid;
  return {};
}

Result<void> JournalFile::write_leaves(const std::vector<DurableChunk>& chunks) {
  std::vector<std::byte> run;
  for (std::size_t begin = 0; begin < chunks.size();) {
    std::size_t end = begin;
    run.clear();
    do {
      const DurableChunk& chunk = chunks[end];
      if (chunk.index >= chunk_count_ || chunk.digest.size() != leaf_size_) {
        return make_error(ErrorKind::InvalidArgument, "journal: chunk {} of {}, digest of {} bytes",
                          chunk.index, chunk_count_, chunk.digest.size());
      }
      const std::uint32_t check = leaf_crc(chunk.index, chunk.digest.data());
      const auto* tail = reinterpret_cast<const std::byte*>(&check);
      run.insert(run.end(), chunk.digest.begin(), chunk.digest.end());
      run.insert(run.end(), tail, tail + sizeof check);
      ++end;
    } while (end < chunks.size() && chunks[end].index == chunks[end - 1].index + 1 &&
             end - begin < kMostLeavesAtOnce);
    TRY(write(leaf_offset(chunks[begin].index), run));
    begin = end;
  }
  return {};
}

Result<void> JournalFile::next_slot() {
  ++sequence_;
  TRY(write_slot(1 - newest_slot_));
  TRY(sync());
  newest_slot_ = 1 - newest_slot_;
  return {};
}

Result<void> JournalFile::record(const std::vector<DurableChunk>& chunks) {
  if (chunks.empty()) return {};
  TRY(write_leaves(chunks));
  for (const DurableChunk& chunk : chunks) {
    std::uint8_t& bits = bitmap_[chunk.index / 8];
    bits = static_cast<std::uint8_t>(bits | 1u << (chunk.index % 8));
  }
  return next_slot();
}

Result<void> JournalFile::forget(const std::vector<std::uint64_t>& chunks) {
  for (const std::uint64_t index : chunks) {
    if (index >= chunk_count_) {
      return make_error(ErrorKind::InvalidArgument, "journal: chunk {} of {}", index, chunk_count_);
    }
    std::uint8_t& bits = bitmap_[index / 8];
    bits = static_cast<std::uint8_t>(bits & ~(1u << (index % 8)));
  }
  state_ &= ~kComplete;  // what lacks a chunk is not complete
  return write_both_slots();
}

Result<void> JournalFile::invalidate() {
  std::ranges::fill(bitmap_, std::uint8_t{0});
  state_ = kInvalid;
  Result<void> written = write_both_slots();
  // An empty journal is believed as little, and takes no space; but it does not speak against what
  // others remember, so the error stays.
  if (!written) (void)discard();
  return written;
}

Result<void> JournalFile::mark_complete() {
  state_ |= kComplete;
  return next_slot();
}

}  // namespace vmferry
