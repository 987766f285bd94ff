#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "transfer/copy.h"

struct evp_md_st;
struct evp_md_ctx_st;

namespace vmferry {

inline constexpr std::size_t kMaxLeafBytes = 32;

// 16 for xxh3-128, 32 for sha256.
std::size_t leaf_bytes(HashAlgorithm algorithm);
// The inverse of to_string; InvalidArgument else.
Result<HashAlgorithm> hash_algorithm_from_string(std::string_view name);

// Hashes chunks; one per worker, because it owns a digest context. Nothing is allocated per chunk.
class LeafHasher {
 public:
  static Result<LeafHasher> make(HashAlgorithm algorithm);
  LeafHasher(LeafHasher&&) noexcept;
  LeafHasher& operator=(LeafHasher&&) noexcept;
  ~LeafHasher();

  HashAlgorithm algorithm() const { return algorithm_; }
  // `out` has leaf_bytes() bytes or more. Internal when the crypto library fails.
  Result<void> hash(std::span<const std::byte> chunk, std::span<std::byte> out);

 private:
  explicit LeafHasher(HashAlgorithm algorithm) : algorithm_(algorithm) {}

  HashAlgorithm algorithm_;
  evp_md_st* sha256_ = nullptr;  // fetched once: a fetch per leaf costs a provider lookup
  evp_md_ctx_st* context_ = nullptr;
};

// The leaf of every chunk of a disk. Chunks are zero until told otherwise, and zero leaves are not
// stored: memory is proportional to the data, not to the virtual size. Different chunks may be set
// from different threads.
class LeafTable {
 public:
  static Result<std::unique_ptr<LeafTable>> make(HashAlgorithm algorithm, std::uint64_t size_bytes);
  ~LeafTable();
  LeafTable(const LeafTable&) = delete;
  LeafTable& operator=(const LeafTable&) = delete;

  std::size_t leaf_size() const { return leaf_size_; }
  void set(std::uint64_t index, std::span<const std::byte> leaf);
  void set_zero(std::uint64_t index);
  std::span<const std::byte> leaf(std::uint64_t index) const;
  bool is_zero_chunk(std::uint64_t index) const;

  // "xxh3-128:<hex>": H over all leaves in order, without a length (nbd-and-sinks.md 8.1, the same
  // as imageio's checksum with 1 MiB blocks).
  Result<std::string> root() const;

 private:
  LeafTable(HashAlgorithm algorithm, std::uint64_t size_bytes);
  std::span<const std::byte> zero_leaf(std::uint64_t index) const;
  std::byte* page_for(std::uint64_t index);

  HashAlgorithm algorithm_;
  std::size_t leaf_size_;
  std::uint64_t chunk_count_;
  std::vector<std::byte> zero_page_;  // a page of leaves of zero chunks
  std::vector<std::byte> zero_tail_;  // leaf of the last chunk if that is short and zero
  std::vector<std::atomic<std::byte*>> pages_;
};

}  // namespace vmferry
