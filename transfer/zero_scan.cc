#include "transfer/zero_scan.h"

#include <cstring>

namespace vmferry {

// The first 16 bytes by hand, then the buffer against itself 16 bytes on: memcmp is vectorised by
// the C library and as fast as hand-written AVX2 (nbd-and-sinks.md section 5).
bool is_zero(std::span<const std::byte> bytes) {
  constexpr std::size_t kHead = 16;
  for (std::size_t i = 0; i < bytes.size() && i < kHead; ++i) {
    if (bytes[i] != std::byte{0}) return false;
  }
  if (bytes.size() <= kHead) return true;
  return std::memcmp(bytes.data(), bytes.data() + kHead, bytes.size() - kHead) == 0;
}

}  // namespace vmferry
