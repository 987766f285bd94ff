#include "transfer/sources/fingerprint.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "common/catalogue.h"
#include "transfer/copy.h"
#include "transfer/digest.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kSampleBytes = 64u << 10;
constexpr std::uint64_t kSpread = 24;        // samples spread over the disk
constexpr std::size_t kDataBeginnings = 16;  // samples at the beginnings of data
constexpr std::uint64_t kExtentWindow = 2ull << 30;
constexpr std::uint64_t kDataAfter = 1u << 20;  // beginnings nearer than this are one

// In bytes, sorted. They depend on the extents, which a server may stop telling: a comparison
// within one attempt must take the places of the first time.
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

Result<std::string> digest_of_samples(DiskSource& source, const std::vector<std::uint64_t>& offsets,
                                      std::stop_token stop) {
  std::vector<std::byte> samples;
  for (const std::uint64_t offset : offsets) {
    const std::uint64_t length = std::min(kSampleBytes, source.size_bytes() - offset);
    samples.resize(samples.size() + length);
    TRY(source.read(offset, std::span(samples).last(length), stop));
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

struct Fingerprint {
  std::vector<std::uint64_t> offsets;  // of the samples
  std::string digest;
};

Result<Fingerprint> take_fingerprint(DiskSource& source, std::stop_token stop) {
  const std::uint64_t size = source.size_bytes();
  Fingerprint fingerprint;
  if (size > 0) {
    const std::vector<Extent> first = TRY(source.extents({0, std::min(size, kExtentWindow)}, stop));
    fingerprint.offsets = sample_offsets(size, first);
  }
  fingerprint.digest = TRY(digest_of_samples(source, fingerprint.offsets, std::move(stop)));
  return fingerprint;
}

class FingerprintedSource final : public DiskSource {
 public:
  FingerprintedSource(std::unique_ptr<DiskSource> source, Fingerprint fingerprint,
                      std::uint64_t reconnects_before)
      : source_(std::move(source)),
        fingerprint_(std::move(fingerprint)),
        believed_(reconnects_before) {}

  std::uint64_t size_bytes() const override { return source_->size_bytes(); }
  SourceHints hints() const override { return source_->hints(); }
  std::vector<std::pair<std::string, std::string>> identity() const override {
    auto pairs = source_->identity();
    pairs.emplace_back("content sample", fingerprint_.digest);
    return pairs;
  }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override {
    std::vector<Extent> extents = TRY(source_->extents(range, stop));
    TRY(check_server(std::move(stop)));
    return extents;
  }
  Result<void> read(std::uint64_t offset, std::span<std::byte> into,
                    std::stop_token stop) override {
    TRY(source_->read(offset, into, stop));
    return check_server(std::move(stop));
  }
  Result<std::optional<SourceDigest>> server_digest(std::string_view algorithm,
                                                    std::stop_token stop) override {
    return source_->server_digest(algorithm, std::move(stop));
  }
  SourceCounters counters() const override { return source_->counters(); }

 private:
  // What came over a new connection is believed once the samples have come over it as well: a
  // server that was restarted may have another disk. Readers wait for the one that checks without
  // a stop token, which is safe: it stops with them.
  Result<void> check_server(std::stop_token stop) {
    if (source_->counters().reconnects == believed_) return {};
    const std::lock_guard lock(checking_);
    const std::uint64_t reconnects = source_->counters().reconnects;
    if (reconnects == believed_) return {};
    const std::string now = TRY(digest_of_samples(*source_, fingerprint_.offsets, stop));
    if (now != fingerprint_.digest) {
      return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                         "the server came back with other content: content sample {} became {}",
                         fingerprint_.digest, now);
    }
    believed_ = reconnects;
    return {};
  }

  const std::unique_ptr<DiskSource> source_;
  const Fingerprint fingerprint_;
  std::mutex checking_;
  std::atomic<std::uint64_t> believed_;  // reconnects of source_ up to which its content is known
};

}  // namespace

Result<std::unique_ptr<DiskSource>> with_fingerprint(std::unique_ptr<DiskSource> source,
                                                     std::stop_token stop) {
  const std::uint64_t reconnects = source->counters().reconnects;
  Result<Fingerprint> taken = take_fingerprint(*source, std::move(stop));
  if (!taken) return std::move(taken).error().with_context("samples of the source");
  return std::unique_ptr<DiskSource>(
      std::make_unique<FingerprintedSource>(std::move(source), *std::move(taken), reconnects));
}

}  // namespace vmferry
