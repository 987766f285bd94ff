#include "transfer/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "transfer/chunks.h"
#include "transfer/xxh3_avx2.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kLeavesPerPage = 1024;  // one page of leaves covers 1 GiB

std::string hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    const unsigned value = std::to_integer<unsigned>(byte);
    text += kDigits[value >> 4];
    text += kDigits[value & 15];
  }
  return text;
}

void store(const XXH128_hash_t& hash, std::span<std::byte> out) {
  XXH128_canonical_t canonical;  // big endian: the form that is printed
  XXH128_canonicalFromHash(&canonical, hash);
  std::memcpy(out.data(), canonical.digest, sizeof(canonical.digest));
}

// The root's hash over a stream of leaves.
class RootHasher {
 public:
  explicit RootHasher(HashAlgorithm algorithm) : algorithm_(algorithm) {}
  ~RootHasher() {
    XXH3_freeState(xxh_);
    EVP_MD_CTX_free(sha_);
  }
  RootHasher(const RootHasher&) = delete;
  RootHasher& operator=(const RootHasher&) = delete;

  Result<void> start() {
    if (algorithm_ == HashAlgorithm::Xxh3_128) {
      xxh_ = XXH3_createState();
      if (xxh_ == nullptr || XXH3_128bits_reset(xxh_) != XXH_OK) return failed();
      return {};
    }
    sha_ = EVP_MD_CTX_new();
    if (sha_ == nullptr || EVP_DigestInit_ex(sha_, EVP_sha256(), nullptr) != 1) return failed();
    return {};
  }
  Result<void> add(std::span<const std::byte> leaves) {
    const bool ok = algorithm_ == HashAlgorithm::Xxh3_128
                        ? XXH3_128bits_update(xxh_, leaves.data(), leaves.size()) == XXH_OK
                        : EVP_DigestUpdate(sha_, leaves.data(), leaves.size()) == 1;
    if (!ok) return failed();
    return {};
  }
  Result<std::string> finish() {
    std::byte out[kMaxLeafBytes];
    const std::span<std::byte> digest(out, leaf_bytes(algorithm_));
    if (algorithm_ == HashAlgorithm::Xxh3_128) {
      store(XXH3_128bits_digest(xxh_), digest);
    } else if (EVP_DigestFinal_ex(sha_, reinterpret_cast<unsigned char*>(out), nullptr) != 1) {
      return failed();
    }
    return std::string(to_string(algorithm_)) + ":" + hex(digest);
  }

 private:
  static Error failed() { return Error(ErrorKind::Internal, "cannot compute the root digest"); }

  HashAlgorithm algorithm_;
  XXH3_state_t* xxh_ = nullptr;
  EVP_MD_CTX* sha_ = nullptr;
};

}  // namespace

std::string_view to_string(HashAlgorithm algorithm) {
  return algorithm == HashAlgorithm::Sha256 ? "sha256" : "xxh3-128";
}

std::size_t leaf_bytes(HashAlgorithm algorithm) {
  return algorithm == HashAlgorithm::Sha256 ? 32 : 16;
}

Result<HashAlgorithm> hash_algorithm_from_string(std::string_view name) {
  if (name == "xxh3-128") return HashAlgorithm::Xxh3_128;
  if (name == "sha256") return HashAlgorithm::Sha256;
  return make_error(ErrorKind::InvalidArgument, "unknown hash '{}': xxh3-128 and sha256 are known",
                    name);
}

Result<LeafHasher> LeafHasher::make(HashAlgorithm algorithm) {
  LeafHasher hasher(algorithm);
  if (algorithm == HashAlgorithm::Sha256) {
    hasher.sha256_ = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    hasher.context_ = EVP_MD_CTX_new();
    if (hasher.sha256_ == nullptr || hasher.context_ == nullptr) {
      return Error(ErrorKind::Internal, "the crypto library offers no SHA-256");
    }
  }
  return hasher;
}

LeafHasher::LeafHasher(LeafHasher&& other) noexcept
    : algorithm_(other.algorithm_),
      sha256_(std::exchange(other.sha256_, nullptr)),
      context_(std::exchange(other.context_, nullptr)) {}

LeafHasher& LeafHasher::operator=(LeafHasher&& other) noexcept {
  std::swap(algorithm_, other.algorithm_);
  std::swap(sha256_, other.sha256_);
  std::swap(context_, other.context_);
  return *this;
}

LeafHasher::~LeafHasher() {
  EVP_MD_CTX_free(context_);
  EVP_MD_free(sha256_);
}

Result<void> LeafHasher::hash(std::span<const std::byte> chunk, std::span<std::byte> out) {
  if (algorithm_ == HashAlgorithm::Xxh3_128) {
    static const bool wide = has_xxh3_avx2();
    if (wide) {
      xxh3_128_avx2(chunk.data(), chunk.size(), reinterpret_cast<unsigned char*>(out.data()));
    } else {
      store(XXH3_128bits(chunk.data(), chunk.size()), out);
    }
    return {};
  }
  if (EVP_DigestInit_ex2(context_, sha256_, nullptr) != 1 ||
      EVP_DigestUpdate(context_, chunk.data(), chunk.size()) != 1 ||
      EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(out.data()), nullptr) != 1) {
    return Error(ErrorKind::Internal, "SHA-256 failed");
  }
  return {};
}

LeafTable::LeafTable(HashAlgorithm algorithm, std::uint64_t size_bytes)
    : algorithm_(algorithm),
      leaf_size_(leaf_bytes(algorithm)),
      chunk_count_(chunk_count_of(size_bytes)),
      pages_((chunk_count_ + kLeavesPerPage - 1) / kLeavesPerPage) {}

Result<std::unique_ptr<LeafTable>> LeafTable::make(HashAlgorithm algorithm,
                                                   std::uint64_t size_bytes) {
  LeafHasher hasher = TRY(LeafHasher::make(algorithm));
  std::unique_ptr<LeafTable> table(new LeafTable(algorithm, size_bytes));
  const std::vector<std::byte> zeros(kChunkBytes);
  std::byte leaf[kMaxLeafBytes];
  const std::span<const std::byte> digest(leaf, table->leaf_size_);

  TRY(hasher.hash(zeros, leaf));
  table->zero_page_.reserve(kLeavesPerPage * table->leaf_size_);
  for (std::uint64_t i = 0; i < kLeavesPerPage; ++i) {
    table->zero_page_.insert(table->zero_page_.end(), digest.begin(), digest.end());
  }
  if (const std::uint64_t tail = size_bytes % kChunkBytes; tail != 0) {
    TRY(hasher.hash(std::span(zeros).first(tail), leaf));
  }
  table->zero_tail_.assign(digest.begin(), digest.end());
  return table;
}

LeafTable::~LeafTable() {
  for (const auto& page : pages_) delete[] page.load();
}

std::span<const std::byte> LeafTable::zero_leaf(std::uint64_t index) const {
  if (index + 1 == chunk_count_) return zero_tail_;
  return std::span(zero_page_).first(leaf_size_);
}

std::byte* LeafTable::page_for(std::uint64_t index) {
  std::atomic<std::byte*>& slot = pages_[index / kLeavesPerPage];
  if (std::byte* page = slot.load(std::memory_order_acquire)) return page;
  // Once per GiB of disk, so not the hot path. Two workers may race: the second one's is dropped.
  auto fresh = std::make_unique<std::byte[]>(zero_page_.size());
  std::copy(zero_page_.begin(), zero_page_.end(), fresh.get());
  if ((chunk_count_ - 1) / kLeavesPerPage == index / kLeavesPerPage) {
    std::copy(zero_tail_.begin(), zero_tail_.end(),
              fresh.get() + (chunk_count_ - 1) % kLeavesPerPage * leaf_size_);
  }
  std::byte* expected = nullptr;
  if (slot.compare_exchange_strong(expected, fresh.get(), std::memory_order_acq_rel)) {
    return fresh.release();
  }
  return expected;
}

void LeafTable::set(std::uint64_t index, std::span<const std::byte> leaf) {
  std::memcpy(page_for(index) + index % kLeavesPerPage * leaf_size_, leaf.data(), leaf_size_);
}

void LeafTable::set_zero(std::uint64_t index) {
  if (pages_[index / kLeavesPerPage].load(std::memory_order_acquire) == nullptr) return;
  set(index, zero_leaf(index));
}

std::span<const std::byte> LeafTable::leaf(std::uint64_t index) const {
  const std::byte* page = pages_[index / kLeavesPerPage].load(std::memory_order_acquire);
  if (page == nullptr) return zero_leaf(index);
  return {page + index % kLeavesPerPage * leaf_size_, leaf_size_};
}

bool LeafTable::is_zero_chunk(std::uint64_t index) const {
  return std::ranges::equal(leaf(index), zero_leaf(index));
}

Result<std::string> LeafTable::root() const {
  RootHasher hasher(algorithm_);
  TRY(hasher.start());
  for (std::uint64_t first = 0; first < chunk_count_; first += kLeavesPerPage) {
    const std::uint64_t count = std::min(kLeavesPerPage, chunk_count_ - first);
    const std::byte* page = pages_[first / kLeavesPerPage].load(std::memory_order_acquire);
    if (page != nullptr) {
      TRY(hasher.add({page, count * leaf_size_}));
      continue;
    }
    const bool holds_tail = first + count == chunk_count_;
    TRY(hasher.add(std::span(zero_page_).first((holds_tail ? count - 1 : count) * leaf_size_)));
    if (holds_tail) TRY(hasher.add(zero_tail_));
  }
  return hasher.finish();
}

}  // namespace vmferry
