#include "common/vmdk_descriptor.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "common/catalogue.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::size_t kMaxExtents = 4096;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string upper(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return result;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::string_view take_word(std::string_view& line) {
  line = trim(line);
  const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
  const std::string_view word = line.substr(0, end);
  line = trim(line.substr(end));
  return word;
}

std::string_view unquoted(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    return value.substr(1, value.size() - 2);
  }
  return value;
}

Error malformed(std::string text) {
  return Error(ErrorKind::InvalidArgument, code::kSourceProtocol,
               "VMDK descriptor: " + std::move(text));
}

Result<std::uint64_t> sectors_to_bytes(std::string_view digits, const std::string& what) {
  std::uint64_t sectors = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), sectors);
  if (error != std::errc() || end != digits.data() + digits.size() ||
      sectors > kMaxBytes / kSector) {
    return malformed("bad " + what + " '" + std::string(digits.substr(0, 40)) + "'");
  }
  return sectors * kSector;
}

// What follows ACCESS of an extent line: SIZE TYPE ["FILE" [OFFSET]].
Result<VmdkExtent> parse_extent(std::string access, std::string_view rest) {
  VmdkExtent extent;
  extent.access = std::move(access);
  extent.length = TRY(sectors_to_bytes(take_word(rest), "extent size"));
  extent.type = upper(take_word(rest)).substr(0, 40);
  if (extent.is_zero()) return extent;
  // A name may hold spaces and quotes: it is all between the first quote and the last.
  const std::size_t open = rest.find('"');
  const std::size_t close = rest.rfind('"');
  if (open != 0 || close == open) {
    return malformed("an extent of type " + extent.type + " without a file");
  }
  extent.file = rest.substr(open + 1, close - open - 1);
  if (extent.file.find("://") != std::string::npos) {
    return coded_error(ErrorKind::InvalidArgument, code::kDiskUnsupported,
                       "the disk's data are no file beside its descriptor but an object of the "
                       "storage ('{}...'), as on vSAN and vVols",
                       extent.file.substr(0, extent.file.find("://") + 3));
  }
  const bool leaves = extent.file.find_first_of("/\\") != std::string::npos ||
                      extent.file == ".." || extent.file == "." || extent.file.empty();
  if (leaves) return malformed("an extent's file lies outside of the descriptor's directory");
  const std::string_view offset = trim(rest.substr(close + 1));
  if (!offset.empty()) extent.file_offset = TRY(sectors_to_bytes(offset, "extent offset"));
  return extent;
}

void take_setting(std::string_view line, std::size_t equals, VmdkDescriptor& descriptor,
                  bool& has_version) {
  const std::string key = upper(trim(line.substr(0, equals)));
  const std::string value(unquoted(trim(line.substr(equals + 1))));
  if (key == "VERSION") has_version = true;
  if (key == "CREATETYPE") descriptor.create_type = value;
  if (key == "CID") descriptor.cid = lower(value);
  if (key == "PARENTCID") descriptor.parent_cid = lower(value);
  if (key == "PARENTFILENAMEHINT") descriptor.parent_file = value;
  if (key == "ENCRYPTIONKEYS") descriptor.encrypted = true;
}

}  // namespace

std::uint64_t VmdkDescriptor::size_bytes() const {
  std::uint64_t sum = 0;
  for (const VmdkExtent& extent : extents) sum += extent.length;
  return sum;
}

Result<VmdkDescriptor> parse_vmdk_descriptor(std::string_view text) {
  if (text.size() > kMaxVmdkDescriptorBytes) return malformed("larger than 1 MiB");
  text = text.substr(0, text.find('\0'));
  VmdkDescriptor descriptor;
  bool has_version = false;
  std::uint64_t total = 0;
  while (!text.empty()) {
    const std::size_t newline = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, newline));
    text.remove_prefix(std::min(newline + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;

    std::string_view rest = line;
    std::string access = upper(take_word(rest));
    if (access == "RW" || access == "RDONLY" || access == "NOACCESS") {
      descriptor.extents.push_back(TRY(parse_extent(std::move(access), rest)));
      total += descriptor.extents.back().length;
      if (descriptor.extents.size() > kMaxExtents || total > kMaxBytes) {
        return malformed("too many or too long extents");
      }
      continue;
    }
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) return malformed("it holds another text");
    take_setting(line, equals, descriptor, has_version);
  }
  if (!has_version || descriptor.extents.empty()) return malformed("no version or no extent");
  return descriptor;
}

Result<void> check_vmdk_is_flat(const VmdkDescriptor& descriptor) {
  const auto unsupported = [](std::string text) {
    return Error(ErrorKind::Unimplemented, code::kDiskUnsupported, std::move(text));
  };
  if (descriptor.encrypted) return unsupported("the VMDK is encrypted");
  if (descriptor.has_parent()) {
    return unsupported("the VMDK is the child of a snapshot: only VDDK can read it");
  }
  for (const VmdkExtent& extent : descriptor.extents) {
    if (extent.access == "NOACCESS") return unsupported("the VMDK has an extent without access");
    if (!extent.is_raw() && !extent.is_zero()) {
      return unsupported("VMDK extents of type " + extent.type + " cannot be read as files");
    }
  }
  return {};
}

}  // namespace vmferry
