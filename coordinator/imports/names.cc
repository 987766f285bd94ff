#include "coordinator/imports/names.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "common/catalogue.h"

namespace vmferry::imports {

namespace {

constexpr std::size_t kLabelLength = 63;
constexpr std::size_t kSubdomainLength = 253;

// ASCII only: the C library's classes depend on the locale, names in Kubernetes do not.
constexpr bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
constexpr bool is_alnum(char c) { return is_lower_alnum(c) || (c >= 'A' && c <= 'Z'); }
constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_label_of_any_length(std::string_view text) {
  if (text.empty() || !is_lower_alnum(text.front()) || !is_lower_alnum(text.back())) return false;
  return std::ranges::all_of(text, [](char c) { return is_lower_alnum(c) || c == '-'; });
}

std::string sha1_hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  VMFERRY_CHECK(EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha1(), nullptr) ==
                1);
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

// The rule shared by names and labels: lower case, dots to dashes, cut to the outermost letters or
// digits, everything else deleted. Empty when there is no letter or digit.
std::string normalized(std::string_view text) {
  std::string lowered;
  for (const char c : text) lowered += c == '.' ? '-' : to_lower(c);
  const auto first = std::ranges::find_if(lowered, is_lower_alnum);
  const auto last = std::find_if(lowered.rbegin(), lowered.rend(), is_lower_alnum).base();
  std::string result;
  for (auto it = first; it < last; ++it) {
    if (is_lower_alnum(*it) || *it == '-') result += *it;
  }
  return result;
}

Error no_letters(std::string_view text) {
  return coded_error(ErrorKind::InvalidArgument, code::kManifest,
                     "name '{}' has no letter or digit that a Kubernetes name could keep", text);
}

}  // namespace

bool is_dns1123_label(std::string_view text) {
  return text.size() <= kLabelLength && is_label_of_any_length(text);
}

bool is_dns1123_subdomain(std::string_view text) {
  if (text.empty() || text.size() > kSubdomainLength) return false;
  while (true) {
    const std::size_t dot = text.find('.');
    if (!is_label_of_any_length(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

Result<std::string> normalize_name(std::string_view text) {
  if (is_dns1123_subdomain(text)) return std::string(text);
  std::string name = normalized(text);
  if (name.empty()) return no_letters(text);
  name.resize(std::min(name.size(), kSubdomainLength));
  while (name.back() == '-') name.pop_back();
  return name;
}

Result<std::string> normalize_label(std::string_view text) {
  if (is_dns1123_label(text)) return std::string(text);
  const std::string label = normalized(text);
  if (label.empty()) return no_letters(text);
  return shorten_unique(label);
}

std::string shorten(std::string_view text) {
  if (text.size() <= kLabelLength) return std::string(text);
  const std::string length = std::to_string(text.size());
  return fmt::format("{}-{}", text.substr(0, kLabelLength - 1 - length.size()), length);
}

std::string shorten_unique(std::string_view text) {
  if (text.size() <= kLabelLength) return std::string(text);
  constexpr std::size_t kHashDigits = 8;
  return fmt::format("{}-{}", text.substr(0, kLabelLength - 1 - kHashDigits),
                     sha1_hex(text).substr(0, kHashDigits));
}

std::string label_value(std::string_view text) {
  std::string value;
  for (const char c : text) {
    const bool allowed = is_alnum(c) || c == '-' || c == '_' || c == '.';
    // A run of foreign bytes (one letter in UTF-8 may be four) becomes one mark.
    if (allowed)
      value += c;
    else if (value.empty() || value.back() != '_')
      value += '_';
  }
  const auto first = std::ranges::find_if(value, is_alnum);
  const auto last = std::find_if(value.rbegin(), value.rend(), is_alnum).base();
  if (first >= last) return {};
  return shorten_unique(std::string(first, last));
}

std::string format_quantity(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  std::size_t unit = 0;
  std::uint64_t divisor = 1;
  while (bytes / divisor >= 1024 && unit + 1 < kUnits.size()) {
    divisor *= 1024;
    ++unit;
  }
  if (bytes % divisor != 0) return std::to_string(bytes);
  return fmt::format("{}{}", bytes / divisor, kUnits[unit]);
}

Result<std::string> target_vm_name(const api::ImportSpec& spec, const SourceVm& vm) {
  if (spec.target_vm_name) {
    if (is_dns1123_label(*spec.target_vm_name)) return *spec.target_vm_name;
    return coded_error(
        ErrorKind::InvalidArgument, code::kManifest,
        "spec.targetVmName '{}' is not a DNS-1123 label: 1 to 63 lower-case letters, "
        "digits or '-', starting and ending with a letter or digit",
        *spec.target_vm_name);
  }
  Result<std::string> name = normalize_label(vm.name);
  if (name) return name;
  return coded_error(ErrorKind::InvalidArgument, code::kManifest,
                     "the source VM's name '{}' has no letter or digit to make a target name of",
                     vm.name);
}

std::string claim_name(const std::string& import_uid, const SourceVm& vm, const SourceDisk& disk) {
  const std::string& key = disk.attachment_id.empty() ? disk.id : disk.attachment_id;
  if (vm.provider == ProviderKind::Vmware) return fmt::format("{}-{}", import_uid, key);
  return sha1_hex(fmt::format("{}/{}", import_uid, key));
}

std::string volume_name(const std::string& claim) { return shorten_unique("dv-" + claim); }

}  // namespace vmferry::imports
