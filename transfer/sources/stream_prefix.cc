#include "transfer/sources/stream_prefix.h"

#include <algorithm>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/catalogue.h"

namespace vmferry {

struct StreamPrefix::Hash {
  XXH3_state_t state;  // aligned to 64 bytes
  Hash() { restart(); }
  void restart() { XXH3_128bits_reset(&state); }
  void add(std::span<const std::byte> bytes) {
    XXH3_128bits_update(&state, bytes.data(), bytes.size());
  }
  bool equals(const Hash& other) const {
    return XXH128_isEqual(XXH3_128bits_digest(&state), XXH3_128bits_digest(&other.state)) != 0;
  }
};

StreamPrefix::StreamPrefix() : seen_(std::make_unique<Hash>()), first_(std::make_unique<Hash>()) {}

StreamPrefix::~StreamPrefix() = default;

void StreamPrefix::begin() {
  if (at_ > known_) {
    std::swap(seen_, first_);
    known_ = at_;
  }
  seen_->restart();
  at_ = 0;
}

Result<std::span<const std::byte>> StreamPrefix::add(std::span<const std::byte> bytes) {
  const std::size_t again = std::min<std::uint64_t>(bytes.size(), known_ - std::min(known_, at_));
  if (again > 0) {
    seen_->add(bytes.first(again));
    at_ += again;
    if (at_ == known_ && !seen_->equals(*first_)) {
      return coded_error(
          ErrorKind::DataLoss, code::kSourceChanged,
          "the file changed on the server: its first {} bytes are not what they were", known_);
    }
  }
  const std::span<const std::byte> fresh = bytes.subspan(again);
  seen_->add(fresh);
  at_ += fresh.size();
  return fresh;
}

}  // namespace vmferry
