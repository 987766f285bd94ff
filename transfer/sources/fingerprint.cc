#include "transfer/sources/fingerprint.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "common/id.h"
#include "transfer/digest.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kSpread = 24;        // samples spread over the disk
constexpr std::size_t kDataBeginnings = 16;  // samples at the beginnings of data
constexpr std::uint64_t kExtentWindow = 2ull << 30;
constexpr std::uint64_t kDataAfter = 1u << 20;  // beginnings nearer than this are one

// In bytes, sorted.
std::vector<std::uint64_t> sample_offsets(std::uint64_t size, const std::vector<Extent>& first) {
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
  std::vector<std::uint64_t> offsets;
  offsets.reserve(samples.size());
  for (const std::uint64_t sample : samples) offsets.push_back(sample * kSampleBytes);
  return offsets;
}

std::string hex_of(const LeafDigest& digest) {
  std::string hex;
  for (const std::byte byte : digest) hex += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return hex;
}

struct Fingerprint {
  std::vector<ReadSample> samples;
  std::string digest;  // of all of them
};

Result<Fingerprint> take_fingerprint(DiskSource& source, std::stop_token stop) {
  const std::uint64_t size = source.size_bytes();
  Fingerprint fingerprint;
  LeafHasher hasher = TRY(LeafHasher::make(HashAlgorithm::Xxh3_128));
  std::vector<std::byte> all;
  if (size > 0) {
    const std::vector<Extent> first = TRY(source.extents({0, std::min(size, kExtentWindow)}, stop));
    for (const std::uint64_t offset : sample_offsets(size, first)) {
      ReadSample sample{offset, std::min(kSampleBytes, size - offset),
                        LeafDigest(leaf_bytes(HashAlgorithm::Xxh3_128))};
      all.resize(all.size() + sample.length);
      const std::span<std::byte> bytes = std::span(all).last(sample.length);
      TRY(source.read(offset, bytes, stop));
      TRY(hasher.hash(bytes, sample.digest));
      fingerprint.samples.push_back(std::move(sample));
    }
  }
  LeafDigest digest(leaf_bytes(HashAlgorithm::Xxh3_128));
  TRY(hasher.hash(all, digest));
  fingerprint.digest = hex_of(digest);
  return fingerprint;
}

// A source that tells one thing more about itself.
class IdentifiedSource final : public DiskSource {
 public:
  IdentifiedSource(std::unique_ptr<DiskSource> source, std::string name, std::string value)
      : source_(std::move(source)), name_(std::move(name)), value_(std::move(value)) {}

  std::uint64_t size_bytes() const override { return source_->size_bytes(); }
  SourceHints hints() const override { return source_->hints(); }
  std::vector<std::pair<std::string, std::string>> identity() const override {
    auto pairs = source_->identity();
    pairs.emplace_back(name_, value_);
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
  SourceTroubles troubles() const override { return source_->troubles(); }
  Result<void> check_unchanged() override { return source_->check_unchanged(); }

 private:
  const std::unique_ptr<DiskSource> source_;
  const std::string name_;
  const std::string value_;
};

}  // namespace

Result<std::unique_ptr<DiskSource>> with_fingerprint(std::unique_ptr<DiskSource> source,
                                                     Doubt doubt, std::stop_token stop) {
  const std::uint64_t doubts_before = doubts_about(*source, doubt);
  Result<Fingerprint> taken = take_fingerprint(*source, std::move(stop));
  if (!taken) return std::move(taken).error().with_context("samples of the source");
  source = with_recheck(std::move(source), doubt, std::move(taken->samples), doubts_before);
  return std::unique_ptr<DiskSource>(std::make_unique<IdentifiedSource>(
      std::move(source), "content sample", std::move(taken->digest)));
}

std::unique_ptr<DiskSource> never_the_same(std::unique_ptr<DiskSource> source) {
  return std::make_unique<IdentifiedSource>(std::move(source), "stream without ETag or date",
                                            random_hex_id());
}

}  // namespace vmferry
