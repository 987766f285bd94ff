#include "transfer/sources/recheck.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "common/catalogue.h"
#include "transfer/aligned_buffer.h"
#include "transfer/digest.h"
#include "transfer/zero_scan.h"

namespace vmferry {
namespace {

constexpr std::size_t kMostSamples = 64;

class RecheckedSource final : public DiskSource {
 public:
  RecheckedSource(std::unique_ptr<DiskSource> source, Doubt doubt, std::vector<ReadSample> known,
                  std::uint64_t doubts_before)
      : source_(std::move(source)),
        doubt_(doubt),
        known_(std::move(known)),
        believed_(doubts_before) {}

  std::uint64_t size_bytes() const override { return source_->size_bytes(); }
  SourceHints hints() const override { return source_->hints(); }
  std::vector<std::pair<std::string, std::string>> identity() const override {
    return source_->identity();
  }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override {
    std::vector<Extent> extents = TRY(source_->extents(range, stop));
    TRY(check_server(std::move(stop)));
    return extents;
  }
  Result<void> read(std::uint64_t offset, std::span<std::byte> into,
                    std::stop_token stop) override {
    TRY(source_->read(offset, into, stop));
    TRY(check_server(std::move(stop)));
    return remember(offset, into);
  }
  Result<std::optional<SourceDigest>> server_digest(std::string_view algorithm,
                                                    std::stop_token stop) override {
    return source_->server_digest(algorithm, std::move(stop));
  }
  SourceCounters counters() const override { return source_->counters(); }
  SourceTroubles troubles() const override { return source_->troubles(); }
  Result<void> check_unchanged() override { return source_->check_unchanged(); }

 private:
  // Readers wait for the one that checks without a stop token, which is safe: it stops with them.
  Result<void> check_server(std::stop_token stop) {
    if (doubts_about(*source_, doubt_) == believed_) return {};
    const std::lock_guard lock(checking_);
    const std::uint64_t now = doubts_about(*source_, doubt_);
    if (now == believed_) return {};
    for (const ReadSample& sample : known_) TRY(check(sample, stop));
    std::vector<ReadSample> read_before;
    {
      const std::lock_guard remembering(remembering_);
      read_before = read_;
    }
    for (const ReadSample& sample : read_before) TRY(check(sample, stop));
    believed_ = now;
    return {};
  }

  Result<void> check(const ReadSample& sample, std::stop_token stop) {
    const AlignedBuffer buffer(kSampleBytes);
    if (!buffer) return Error(ErrorKind::Unavailable, "no memory for reading samples again");
    const std::span<std::byte> bytes = buffer.span().first(sample.length);
    TRY(source_->read(sample.offset, bytes, std::move(stop)));
    if (TRY(digest_of(bytes)) == sample.digest) return {};
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "the server came back with other content: {} bytes at offset {} are not "
                       "what they were",
                       sample.length, sample.offset);
  }

  static Result<LeafDigest> digest_of(std::span<const std::byte> bytes) {
    LeafHasher hasher = TRY(LeafHasher::make(HashAlgorithm::Xxh3_128));
    LeafDigest digest(leaf_bytes(HashAlgorithm::Xxh3_128));
    TRY(hasher.hash(bytes, digest));
    return digest;
  }

  // One read of `step_`; when the list is full, every second one leaves.
  Result<void> remember(std::uint64_t offset, std::span<const std::byte> bytes) {
    const std::uint64_t step = step_.load(std::memory_order_relaxed);
    if (reads_.fetch_add(1, std::memory_order_relaxed) % step != 0) return {};
    const auto beginning = bytes.first(std::min<std::size_t>(bytes.size(), kSampleBytes));
    if (is_zero(beginning)) return {};
    ReadSample sample{offset, beginning.size(), TRY(digest_of(beginning))};
    const std::lock_guard lock(remembering_);
    if (read_.size() == kMostSamples) {
      for (std::size_t i = 1; 2 * i < read_.size(); ++i) read_[i] = std::move(read_[2 * i]);
      read_.resize(kMostSamples / 2);
      step_.store(2 * step, std::memory_order_relaxed);
    }
    read_.push_back(std::move(sample));
    return {};
  }

  const std::unique_ptr<DiskSource> source_;
  const Doubt doubt_;
  const std::vector<ReadSample> known_;
  std::mutex checking_;
  std::atomic<std::uint64_t> believed_;  // doubts up to which the content is known
  std::atomic<std::uint64_t> reads_{0};
  std::atomic<std::uint64_t> step_{1};
  std::mutex remembering_;
  std::vector<ReadSample> read_;
};

}  // namespace

std::uint64_t doubts_about(const DiskSource& source, Doubt doubt) {
  const SourceTroubles troubles = source.troubles();
  return troubles.reconnects + (doubt == Doubt::AnyTrouble ? troubles.retries : 0);
}

std::unique_ptr<DiskSource> with_recheck(std::unique_ptr<DiskSource> source, Doubt doubt,
                                         std::vector<ReadSample> known,
                                         std::optional<std::uint64_t> doubts_before) {
  const std::uint64_t before = doubts_before ? *doubts_before : doubts_about(*source, doubt);
  return std::make_unique<RecheckedSource>(std::move(source), doubt, std::move(known), before);
}

}  // namespace vmferry
