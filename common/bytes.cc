#include "common/bytes.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

namespace vmferry {
namespace {

constexpr std::array<std::string_view, 7> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

// The number at the front of `text` and what follows it.
Result<std::pair<double, std::string_view>> leading_number(std::string_view text) {
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || !std::isfinite(number) || number < 0) {
    return make_error(ErrorKind::InvalidArgument, "'{}' is not a size", text);
  }
  return std::pair(number, text.substr(static_cast<std::size_t>(end - text.data())));
}

Result<std::uint64_t> checked_bytes(double number, double unit, std::string_view text) {
  const double bytes = number * unit;
  if (bytes >= static_cast<double>(std::numeric_limits<std::int64_t>::max())) {
    return make_error(ErrorKind::InvalidArgument, "'{}' is too large a size", text);
  }
  return static_cast<std::uint64_t>(std::ceil(bytes));
}

}  // namespace

std::string human_bytes(std::uint64_t bytes) {
  if (bytes < kKiB) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_rate(double bytes_per_second) {
  if (!(bytes_per_second > 0)) return "0 B/s";
  return human_bytes(static_cast<std::uint64_t>(bytes_per_second)) + "/s";
}

std::string human_duration(double seconds) {
  if (!(seconds >= 0) || !std::isfinite(seconds) || seconds > 1e9) return "unknown";
  const auto total = static_cast<std::uint64_t>(std::llround(seconds));
  if (total < 60) return fmt::format("{} s", total);
  if (total < 3600) return fmt::format("{} min {:02} s", total / 60, total % 60);
  return fmt::format("{} h {:02} min", total / 3600, total / 60 % 60);
}

Result<std::uint64_t> parse_size(std::string_view text) {
  auto [number, suffix] = TRY(leading_number(text));
  if (suffix.empty() || suffix == "B") return checked_bytes(number, 1, text);
  constexpr std::string_view kLetters = "KMGTPE";
  const char letter =
      suffix.front() >= 'a' ? static_cast<char>(suffix.front() - 32) : suffix.front();
  const std::size_t power = kLetters.find(letter);
  const std::string_view rest = suffix.substr(1);
  if (power == std::string_view::npos ||
      !(rest.empty() || rest == "B" || rest == "iB" || rest == "i")) {
    return make_error(ErrorKind::InvalidArgument,
                      "'{}' is not a size: use bytes or a unit such as 200M or 1.5G", text);
  }
  return checked_bytes(number, std::pow(1024.0, static_cast<double>(power + 1)), text);
}

Result<std::uint64_t> parse_quantity(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, double>, 15> kSuffixes{
      {{"", 1},
       {"m", 1e-3},
       {"k", 1e3},
       {"M", 1e6},
       {"G", 1e9},
       {"T", 1e12},
       {"P", 1e15},
       {"E", 1e18},
       {"Ki", 1024.0},
       {"Mi", 1048576.0},
       {"Gi", 1073741824.0},
       {"Ti", 1099511627776.0},
       {"Pi", 1125899906842624.0},
       {"Ei", 1152921504606846976.0},
       {"u", 1e-6}}};
  auto [number, suffix] = TRY(leading_number(text));
  for (const auto& [name, unit] : kSuffixes) {
    if (name == suffix) return checked_bytes(number, unit, text);
  }
  return make_error(ErrorKind::InvalidArgument, "'{}' is not a Kubernetes quantity", text);
}

}  // namespace vmferry
