// encode_chunks and decode_chunks of transfer/journal.h.
//
//   u8 version (1) · u8 digest length (16 or 32) · varint number of runs
//   per run: varint chunks skipped since the end of the last run
//            varint count * 2 + same      (same 1: one digest for all of the run, as of zeros)
//            digests: same ? one : count of them
//   u32 CRC-32 of all before it, little endian
//
// Varints are LEB128 of at most ten bytes.
#include <zlib.h>

#include <algorithm>
#include <span>

#include "transfer/journal.h"

namespace vmferry {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kSmallest = 2 + 1 + 4;

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

void put_digest(std::string& out, const LeafDigest& digest) {
  out.append(reinterpret_cast<const char*>(digest.data()), digest.size());
}

std::uint32_t crc_of(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// Reads from the front of a byte string; a failure stays.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool at_end() const { return bytes_.empty(); }

  std::string_view take(std::size_t count) {
    if (count > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::string_view one = take(1);
      if (!ok_) return 0;
      const auto byte = static_cast<unsigned char>(one[0]);
      if (shift == 63 && byte > 1) break;
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    ok_ = false;
    return 0;
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

LeafDigest digest_from(std::string_view bytes) {
  const std::span<const std::byte> view = std::as_bytes(std::span(bytes));
  return {view.begin(), view.end()};
}

Error torn(std::string_view what) {
  return make_error(ErrorKind::DataLoss, "encoded chunks: {}", what);
}

}  // namespace

std::string encode_chunks(const std::vector<DurableChunk>& chunks) {
  std::string runs;
  std::uint64_t run_count = 0;
  std::uint64_t next = 0;
  for (std::size_t begin = 0; begin < chunks.size();) {
    const bool same = begin + 1 < chunks.size() &&
                      chunks[begin + 1].index == chunks[begin].index + 1 &&
                      chunks[begin + 1].digest == chunks[begin].digest;
    std::size_t end = begin + 1;
    for (; end < chunks.size() && chunks[end].index == chunks[end - 1].index + 1; ++end) {
      // A pair of equals ends a run of different ones: the next run begins with it.
      if ((chunks[end].digest == chunks[end - 1].digest) != same) break;
    }
    if (!same && end - begin > 1 && end < chunks.size() &&
        chunks[end].index == chunks[end - 1].index + 1) {
      --end;
    }
    put_varint(runs, chunks[begin].index - next);
    put_varint(runs, (end - begin) * 2 + (same ? 1 : 0));
    for (std::size_t i = begin; i < (same ? begin + 1 : end); ++i) {
      put_digest(runs, chunks[i].digest);
    }
    next = chunks[end - 1].index + 1;
    begin = end;
    ++run_count;
  }
  std::string out;
  out += static_cast<char>(kVersion);
  out += static_cast<char>(chunks.empty() ? 16 : chunks.front().digest.size());
  put_varint(out, run_count);
  out += runs;
  const std::uint32_t crc = crc_of(out);
  for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>(crc >> shift);
  return out;
}

Result<std::vector<DurableChunk>> decode_chunks(std::string_view bytes, std::uint64_t chunk_count) {
  if (bytes.size() < kSmallest) return torn("too short");
  const std::string_view body = bytes.substr(0, bytes.size() - 4);
  std::uint32_t crc = 0;
  for (unsigned i = 0; i < 4; ++i) {
    crc |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[body.size() + i]))
           << (8 * i);
  }
  if (crc != crc_of(body)) return torn("wrong checksum");

  Reader reader(body);
  if (static_cast<std::uint8_t>(reader.take(1)[0]) != kVersion) return torn("unknown version");
  const std::size_t digest_bytes = static_cast<unsigned char>(reader.take(1)[0]);
  if (digest_bytes != 16 && digest_bytes != 32) return torn("impossible digest length");

  std::vector<DurableChunk> chunks;
  std::uint64_t next = 0;
  for (std::uint64_t runs = reader.varint(); reader.ok() && runs != 0; --runs) {
    const std::uint64_t skipped = reader.varint();
    const std::uint64_t coded = reader.varint();
    if (!reader.ok()) break;
    const std::uint64_t count = coded / 2;
    if (skipped > chunk_count - next || count > chunk_count - next - skipped) {
      return make_error(ErrorKind::InvalidArgument,
                        "encoded chunks: a run of {} goes beyond the disk's {} chunks", count,
                        chunk_count);
    }
    if (count == 0) return torn("empty run");
    next += skipped;
    LeafDigest digest;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (i == 0 || coded % 2 == 0) {
        digest = digest_from(reader.take(digest_bytes));
        if (!reader.ok()) return torn("ends within a run");
      }
      chunks.push_back({next++, digest});
    }
  }
  if (!reader.ok() || !reader.at_end()) return torn("wrong length");
  return chunks;
}

}  // namespace vmferry
