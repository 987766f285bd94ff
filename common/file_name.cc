#include "common/file_name.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <cstddef>

#include "common/check.h"

namespace vmferry {
namespace {

constexpr std::size_t kLongest = 200;

std::string sha256_hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  VMFERRY_CHECK(
      EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1);
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

bool stays(char c, bool first) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || (c == '.' && !first);
}

}  // namespace

std::string safe_file_name(std::string_view name) {
  if (name.empty()) return "%";
  std::string safe;
  for (const char c : name) {
    if (stays(c, safe.empty())) {
      safe.push_back(c);
    } else {
      safe += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  if (safe.size() <= kLongest) return safe;
  // '~' stands in no short name, so the two kinds cannot meet.
  return safe.substr(0, kLongest - 65) + "~" + sha256_hex(name);
}

}  // namespace vmferry
