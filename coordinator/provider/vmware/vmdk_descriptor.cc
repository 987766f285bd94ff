#include "coordinator/provider/vmware/vmdk_descriptor.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>

#include "common/catalogue.h"

namespace vmferry::vmware {
namespace {

constexpr std::size_t kMostBytes = 64u << 10;
constexpr std::size_t kMostExtents = 1024;
constexpr std::string_view kBlank = " \t\r";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view next_word(std::string_view& rest) {
  rest = trimmed(rest);
  const auto end = std::min(rest.find_first_of(kBlank), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end);
  return word;
}

bool number(std::string_view text, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool is_extent_line(std::string_view line) {
  return line.starts_with("RW ") || line.starts_with("RDONLY ") || line.starts_with("NOACCESS ");
}

Error malformed(std::string text) {
  return Error(ErrorKind::InvalidArgument, code::kSourceProtocol,
               "VMDK descriptor: " + std::move(text));
}

Result<VmdkExtent> parse_extent(std::string_view line) {
  VmdkExtent extent;
  std::string_view rest = line;
  extent.access = next_word(rest);
  constexpr std::uint64_t kMostSectors = std::numeric_limits<std::uint64_t>::max() / 512 / 2;
  if (!number(next_word(rest), extent.sectors) || extent.sectors > kMostSectors) {
    return malformed("an extent without a size");
  }
  extent.type = next_word(rest);
  // Names may hold spaces and quotes: everything between the first and the last quote.
  const auto open = rest.find('"');
  const auto close = rest.rfind('"');
  if (open == std::string_view::npos || close == open) {
    if (extent.type == "ZERO") return extent;
    return malformed("an extent of type " + extent.type + " without a file");
  }
  extent.file = rest.substr(open + 1, close - open - 1);
  std::string_view offset = trimmed(rest.substr(close + 1));
  offset = offset.substr(0, offset.find_first_of(kBlank));
  if (!offset.empty() && !number(offset, extent.offset)) {
    return malformed("an extent with the offset '" + std::string(offset) + "'");
  }
  return extent;
}

}  // namespace

Result<VmdkDescriptor> parse_vmdk_descriptor(std::string_view text) {
  if (text.size() > kMostBytes) return malformed("longer than 64 KiB");
  text = text.substr(0, text.find('\0'));

  VmdkDescriptor descriptor;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.starts_with('#')) continue;
    if (is_extent_line(line)) {
      if (descriptor.extents.size() == kMostExtents) return malformed("too many extents");
      descriptor.extents.push_back(TRY(parse_extent(line)));
      continue;
    }
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string key = lower(trimmed(line.substr(0, equals)));
    std::string_view value = trimmed(line.substr(equals + 1));
    if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"')) {
      value = value.substr(1, value.size() - 2);
    }
    if (key == "cid") descriptor.cid = lower(value);
    if (key == "parentcid") descriptor.parent_cid = lower(value);
    if (key == "createtype") descriptor.create_type = value;
  }
  if (descriptor.extents.empty()) return malformed("it names no extent");
  return descriptor;
}

}  // namespace vmferry::vmware
