#include "cli/duration.h"

#include <array>
#include <charconv>
#include <utility>

namespace vmferry::cli {
namespace {

using std::chrono::milliseconds;

struct Unit {
  std::string_view name;
  milliseconds length;
};
// "ms" stands before "m", so that the longer name is found first.
constexpr std::array<Unit, 5> kUnits{{{"ms", milliseconds(1)},
                                      {"d", std::chrono::hours(24)},
                                      {"h", std::chrono::hours(1)},
                                      {"m", std::chrono::minutes(1)},
                                      {"s", std::chrono::seconds(1)}}};
constexpr milliseconds kLongest = std::chrono::hours(24 * 3650);

Error not_a_duration(std::string_view text) {
  return make_error(ErrorKind::InvalidArgument,
                    "'{}' is not a span of time: use 90s, 10m, 1h30m or 2d", text);
}

}  // namespace

Result<milliseconds> parse_duration(std::string_view text) {
  std::string_view rest = text;
  milliseconds total{0};
  milliseconds last_unit = kLongest;
  if (rest.empty()) return not_a_duration(text);
  while (!rest.empty()) {
    std::uint32_t number = 0;
    const auto [end, failure] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (failure != std::errc()) return not_a_duration(text);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (rest.empty() && total == milliseconds(0) && last_unit == kLongest) {
      return milliseconds(std::chrono::seconds(number));
    }
    const Unit* unit = nullptr;
    for (const Unit& candidate : kUnits) {
      if (unit == nullptr && rest.starts_with(candidate.name)) unit = &candidate;
    }
    if (unit == nullptr || unit->length >= last_unit) return not_a_duration(text);
    rest.remove_prefix(unit->name.size());
    last_unit = unit->length;
    if (number > kLongest / unit->length) return not_a_duration(text);
    total += unit->length * static_cast<std::int64_t>(number);
  }
  return total;
}

std::string age_text(std::string_view since_rfc3339, WallTime now) {
  const auto since = parse_rfc3339(since_rfc3339);
  if (!since) return "-";
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - *since).count();
  if (seconds < 0) return "0s";
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (seconds < 2 * 3600) return fmt::format("{}m", seconds / 60);
  if (seconds < 2 * 86400) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86400);
}

}  // namespace vmferry::cli
