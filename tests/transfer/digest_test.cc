#include "transfer/digest.h"

#include <gtest/gtest.h>

#include "tests/transfer/support/disks.h"
#include "transfer/chunks.h"
#include "transfer/zero_scan.h"

namespace vmferry {
namespace {

using testing::Bytes;

constexpr std::uint64_t B = kChunkBytes;

std::string digest_of(const Bytes& content, HashAlgorithm algorithm) {
  LeafHasher hasher = *LeafHasher::make(algorithm);
  const std::unique_ptr<LeafTable> table = *LeafTable::make(algorithm, content.size());
  // Backwards: the order of the leaves must not matter.
  for (std::uint64_t i = chunk_count_of(content.size()); i-- > 0;) {
    const ByteRange range = chunk_range(i, content.size());
    const auto chunk = std::span(content).subspan(range.offset, range.length);
    if (is_zero(chunk)) continue;
    std::byte leaf[kMaxLeafBytes];
    EXPECT_TRUE(hasher.hash(chunk, leaf).ok());
    table->set(i, leaf);
  }
  return *table->root();
}

TEST(DigestTest, Ns36LeafRootEqualsTheReference) {
  for (const HashAlgorithm algorithm : {HashAlgorithm::Xxh3_128, HashAlgorithm::Sha256}) {
    for (const std::uint64_t size :
         {std::uint64_t{0}, std::uint64_t{1}, B - 1, B, B + 1, 3 * B + 5}) {
      SCOPED_TRACE(std::string(to_string(algorithm)) + " " + std::to_string(size));
      const Bytes random = testing::random_bytes(size, 3);
      EXPECT_EQ(digest_of(random, algorithm), testing::reference_digest(random, algorithm));
      const Bytes zeros(size);
      EXPECT_EQ(digest_of(zeros, algorithm), testing::reference_digest(zeros, algorithm));
      Bytes zero_tail = random;
      std::fill(zero_tail.begin() + static_cast<std::ptrdiff_t>(size / B * B), zero_tail.end(),
                std::byte{0});
      EXPECT_EQ(digest_of(zero_tail, algorithm), testing::reference_digest(zero_tail, algorithm));
    }
  }
}

TEST(DigestTest, KnowsTheEmptySha256) {
  EXPECT_EQ(digest_of({}, HashAlgorithm::Sha256),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(LeafTableTest, TellsZeroChunksAndForgetsSetOnes) {
  const auto table = *LeafTable::make(HashAlgorithm::Xxh3_128, 2 * B + 5);
  const Bytes leaf(16, std::byte{7});
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(table->is_zero_chunk(i));
    table->set(i, leaf);
    EXPECT_FALSE(table->is_zero_chunk(i));
    EXPECT_EQ(Bytes(table->leaf(i).begin(), table->leaf(i).end()), leaf);
    table->set_zero(i);
    EXPECT_TRUE(table->is_zero_chunk(i));
  }
}

TEST(ZeroScanTest, FindsTheOneByteThatIsNotZero) {
  for (const std::size_t size : {0u, 1u, 15u, 16u, 17u, 4096u, 65536u}) {
    Bytes bytes(size);
    EXPECT_TRUE(is_zero(bytes)) << size;
    for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
      if (at >= size) continue;
      bytes[at] = std::byte{1};
      EXPECT_FALSE(is_zero(bytes)) << size << " at " << at;
      bytes[at] = std::byte{0};
    }
  }
}

}  // namespace
}  // namespace vmferry
