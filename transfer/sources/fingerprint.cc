#include "transfer/sources/fingerprint.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "transfer/copy.h"
#include "transfer/digest.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kSampleBytes = 64u << 10;
constexpr std::uint64_t kSpread = 24;        // samples spread over the disk
constexpr std::size_t kDataBeginnings = 16;  // samples at the beginnings of data
constexpr std::uint64_t kExtentWindow = 2ull << 30;
constexpr std::uint64_t kDataAfter = 1u << 20;  // beginnings nearer than this are one

std::set<std::uint64_t> sample_offsets(std::uint64_t size, const std::vector<Extent>& first) {
  const std::uint64_t last = (size - 1) / kSampleBytes;  // in samples
  std::set<std::uint64_t> samples{0, last};
  for (std::uint64_t i = 1; i < kSpread; ++i) {
    const std::uint64_t step = last / kSpread;
    // Somewhere in the i-th part, not at its edge: disks are often laid out in round numbers.
    samples.insert(i * step + (step == 0 ? 0 : i * 0x9e3779b97f4a7c15u % step));
  }
  std::size_t beginnings = 0;
  std::uint64_t next = 0;
  for (const Extent& extent : first) {
    if (extent.allocation != Allocation::Data || extent.range.offset < next) continue;
    samples.insert(extent.range.offset / kSampleBytes);
    next = extent.range.offset + kDataAfter;
    if (++beginnings == kDataBeginnings) break;
  }
  return samples;
}

class FingerprintedSource final : public DiskSource {
 public:
  FingerprintedSource(std::unique_ptr<DiskSource> source, std::string digest)
      : source_(std::move(source)), digest_(std::move(digest)) {}

  std::uint64_t size_bytes() const override { return source_->size_bytes(); }
  SourceHints hints() const override { return source_->hints(); }
  std::vector<std::pair<std::string, std::string>> identity() const override {
    auto pairs = source_->identity();
    pairs.emplace_back("content sample", digest_);
    return pairs;
  }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override {
    return source_->extents(range, std::move(stop));
  }
  Result<void> read(std::uint64_t offset, std::span<std::byte> into,
                    std::stop_token stop) override {
    return source_->read(offset, into, std::move(stop));
  }
  Result<std::optional<SourceDigest>> server_digest(std::string_view algorithm,
                                                    std::stop_token stop) override {
    return source_->server_digest(algorithm, std::move(stop));
  }
  SourceCounters counters() const override { return source_->counters(); }

 private:
  const std::unique_ptr<DiskSource> source_;
  const std::string digest_;
};

}  // namespace

Result<std::string> sample_digest(DiskSource& source, std::stop_token stop) {
  const std::uint64_t size = source.size_bytes();
  std::vector<std::byte> samples;
  if (size > 0) {
    const std::vector<Extent> first = TRY(source.extents({0, std::min(size, kExtentWindow)}, stop));
    for (const std::uint64_t sample : sample_offsets(size, first)) {
      const std::uint64_t offset = sample * kSampleBytes;
      const std::uint64_t length = std::min(kSampleBytes, size - offset);
      samples.resize(samples.size() + length);
      TRY(source.read(offset, std::span(samples).last(length), stop));
    }
  }
  LeafHasher hasher = TRY(LeafHasher::make(HashAlgorithm::Xxh3_128));
  std::byte digest[kMaxLeafBytes];
  TRY(hasher.hash(samples, digest));
  std::string hex;
  for (std::size_t i = 0; i < leaf_bytes(HashAlgorithm::Xxh3_128); ++i) {
    hex += fmt::format("{:02x}", std::to_integer<unsigned>(digest[i]));
  }
  return hex;
}

Result<std::unique_ptr<DiskSource>> with_fingerprint(std::unique_ptr<DiskSource> source,
                                                     std::stop_token stop) {
  Result<std::string> digest = sample_digest(*source, std::move(stop));
  if (!digest) return std::move(digest).error().with_context("samples of the source");
  return std::unique_ptr<DiskSource>(
      std::make_unique<FingerprintedSource>(std::move(source), *std::move(digest)));
}

}  // namespace vmferry
