#include "common/id.h"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <array>
#include <cstdint>

#include "common/check.h"

namespace vmferry {
namespace {

std::array<unsigned char, 16> random_bytes() {
  std::array<unsigned char, 16> bytes{};
  VMFERRY_CHECK(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1);
  return bytes;
}

}  // namespace

std::string random_hex_id() {
  const auto bytes = random_bytes();
  return fmt::format("{:02x}", fmt::join(bytes, ""));
}

std::string random_uuid() {
  auto bytes = random_bytes();
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);  // RFC 4122 variant
  std::string hex = fmt::format("{:02x}", fmt::join(bytes, ""));
  for (const std::size_t at : {8u, 13u, 18u, 23u}) hex.insert(at, "-");
  return hex;
}

}  // namespace vmferry
