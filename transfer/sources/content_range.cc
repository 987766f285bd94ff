#include "transfer/sources/content_range.h"

#include <charconv>

namespace vmferry {

std::optional<std::uint64_t> parse_decimal(std::string_view text) {
  std::uint64_t value = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<ContentRange> parse_content_range(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return make_error(ErrorKind::InvalidArgument, "Content-Range '{}' {}", text.substr(0, 80), why);
  };
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return refuse("is not in bytes");
  const std::string_view body = text.substr(kUnit.size());
  const std::size_t slash = body.find('/');
  if (slash == std::string_view::npos) return refuse("has no total");
  const std::string_view range = body.substr(0, slash);
  const std::string_view total = body.substr(slash + 1);

  ContentRange parsed;
  if (total != "*") {
    parsed.total = parse_decimal(total);
    if (!parsed.total) return refuse("has a bad total");
  }
  if (range == "*") {
    if (!parsed.total) return refuse("says nothing");
    return parsed;
  }
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return refuse("has no range");
  const std::optional<std::uint64_t> first = parse_decimal(range.substr(0, dash));
  const std::optional<std::uint64_t> last = parse_decimal(range.substr(dash + 1));
  if (!first || !last) return refuse("has bad numbers");
  if (*first > *last) return refuse("ends before it starts");
  if (parsed.total && *last >= *parsed.total) return refuse("reaches beyond its total");
  parsed.satisfied = true;
  parsed.first = *first;
  parsed.last = *last;
  return parsed;
}

}  // namespace vmferry
