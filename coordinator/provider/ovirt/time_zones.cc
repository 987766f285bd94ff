#include "coordinator/provider/ovirt/time_zones.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "common/fd.h"
#include "coordinator/provider/ovirt/windows_zones.h"

namespace vmferry::ovirt {
namespace {

constexpr std::size_t kMaxZoneBytes = 64u << 10;
constexpr std::size_t kHeaderBytes = 44;

// Big-endian numbers from a string whose length was checked.
std::int64_t signed_at(std::string_view data, std::size_t offset, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value = value << 8 | static_cast<unsigned char>(data[offset + i]);
  }
  if (bytes == 4) return static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
  return static_cast<std::int64_t>(value);
}

// The sizes in a header of RFC 9636, section 3.1.
struct Header {
  std::size_t utc_flags = 0, standard_flags = 0, leaps = 0, times = 0, types = 0, chars = 0;

  static std::optional<Header> read(std::string_view data) {
    if (data.size() < kHeaderBytes || !data.starts_with("TZif")) return std::nullopt;
    std::array<std::size_t, 6> counts{};
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const std::int64_t count = signed_at(data, 20 + 4 * i, 4);
      if (count < 0 || count > static_cast<std::int64_t>(kMaxZoneBytes)) return std::nullopt;
      counts[i] = static_cast<std::size_t>(count);
    }
    return Header{counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]};
  }
  std::size_t body_bytes(std::size_t time_bytes) const {
    return times * time_bytes + times + types * 6 + chars + leaps * (time_bytes + 4) +
           standard_flags + utc_flags;
  }
};

// 1 January 00:00 UTC, `years` after that of `now`, in seconds since the epoch.
std::int64_t new_year(WallTime now, int years) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::tm day{};
  day.tm_year = parts.tm_year + years;
  day.tm_mday = 1;
  return timegm(&day);
}

}  // namespace

bool is_utc_zone_data(std::string_view tzif, WallTime now) {
  const std::optional<Header> first = Header::read(tzif);
  if (!first || tzif[4] < '2') return false;  // version 1 ends in 2038 and is not made any more
  const std::size_t first_bytes = kHeaderBytes + first->body_bytes(4);
  if (tzif.size() < first_bytes) return false;
  std::string_view data = tzif.substr(first_bytes);
  const std::optional<Header> header = Header::read(data);
  if (!header) return false;
  const std::size_t body = header->body_bytes(8);
  if (data.size() < kHeaderBytes + body || header->types == 0) return false;
  data.remove_prefix(kHeaderBytes);

  // What follows the table is a rule for ever after; a comma in it is daylight saving time.
  if (data.substr(body).find(',') != std::string_view::npos) return false;

  const std::size_t index_offset = header->times * 8;
  const std::size_t type_offset = index_offset + header->times;
  const auto offset_of = [&](std::size_t type) -> std::optional<std::int64_t> {
    if (type >= header->types) return std::nullopt;
    return signed_at(data, type_offset + type * 6, 4);
  };
  const std::int64_t at =
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  const std::int64_t begin = new_year(now, 0);
  const std::int64_t end = new_year(now, 2);
  std::optional<std::int64_t> current = offset_of(0);
  for (std::size_t i = 0; i < header->times; ++i) {
    const std::int64_t when = signed_at(data, i * 8, 8);
    const std::optional<std::int64_t> offset =
        offset_of(static_cast<unsigned char>(data[index_offset + i]));
    if (!offset) return false;
    if (when >= begin && when < end) return false;
    if (when <= at) current = offset;
  }
  return current == 0;
}

bool is_utc_compatible(std::string_view zone, WallTime now, const std::string& database) {
  if (zone.empty() || zone == "GMT Standard Time" || zone == "Greenwich Standard Time") return true;
  // Its clock moves with Ramadan, whatever a table says (validation.md 2.2).
  if (zone == "Africa/El_Aaiun") return false;
  // A name from outside becomes part of a path.
  const bool is_name =
      zone.size() < 64 && zone.front() != '/' && zone.find("..") == std::string_view::npos &&
      std::ranges::all_of(zone, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '/' || c == '_' || c == '+' || c == '-';
      });
  if (!is_name) return false;
  const Result<std::string> data = read_file(database + "/" + std::string(zone), kMaxZoneBytes);
  return data && is_utc_zone_data(*data, now);
}

std::optional<std::string> iana_zone(std::string_view name) {
  if (const std::optional<std::string_view> known = zone_of_windows(name)) {
    return std::string(*known);
  }
  // Windows' own names are words; those of the database hold none.
  if (name.find(' ') != std::string_view::npos) return std::nullopt;
  return std::string(name);
}

}  // namespace vmferry::ovirt
