#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iterator>

#include "coordinator/api/yaml.h"

namespace vmferry::api {
namespace {

using nlohmann::json;

constexpr std::string_view kNulls[] = {"", "~", "null", "Null", "NULL"};
constexpr std::string_view kTrue[] = {"y",  "Y",  "yes",  "Yes",  "YES", "on",
                                      "On", "ON", "true", "True", "TRUE"};
constexpr std::string_view kFalse[] = {"n",   "N",   "no",    "No",    "NO",   "off",
                                       "Off", "OFF", "false", "False", "FALSE"};

template <std::size_t N>
bool is_one_of(std::string_view text, const std::string_view (&list)[N]) {
  for (const std::string_view item : list) {
    if (item == text) return true;
  }
  return false;
}

// [+-] decimal, 0x hexadecimal, 0o or 0 octal, 0b binary; underscores between digits. Null: none.
json integer(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c != '_') digits += c;
  }
  std::string_view rest = digits;
  bool negative = false;
  if (rest.starts_with('-') || rest.starts_with('+')) {
    negative = rest.front() == '-';
    rest.remove_prefix(1);
  }
  int base = 10;
  if (rest.size() > 1 && rest.front() == '0') {
    const char mark = rest[1];
    base = mark == 'x' || mark == 'X' ? 16 : mark == 'b' || mark == 'B' ? 2 : 8;
    rest.remove_prefix(base != 8 || mark == 'o' || mark == 'O' ? 2 : 1);
  }
  std::uint64_t value = 0;
  const char* end = rest.data() + rest.size();
  const auto [stop, error] = std::from_chars(rest.data(), end, value, base);
  if (error != std::errc{} || stop != end || rest.empty()) return nullptr;
  if (!negative) return value;
  if (value > std::uint64_t{1} << 63) return nullptr;
  return static_cast<std::int64_t>(~value + 1);
}

// [+-] digits with a dot or an exponent; not inf or nan, which JSON lacks.
json real(const std::string& text) {
  std::size_t i = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  bool digits = false;
  bool exponent = false;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c >= '0' && c <= '9') {
      digits = true;
    } else if ((c == 'e' || c == 'E') && digits && !exponent) {
      exponent = true;
      digits = false;
      if (i + 1 < text.size() && (text[i + 1] == '-' || text[i + 1] == '+')) ++i;
    } else if (c != '.' || exponent || text.find('.') != i) {
      return nullptr;
    }
  }
  if (!digits) return nullptr;
  const char* begin = text.c_str() + (text.front() == '+' ? 1 : 0);
  double value = 0;
  const auto [end, error] = std::from_chars(begin, text.c_str() + text.size(), value);
  if (error != std::errc{} || end != text.c_str() + text.size() || !std::isfinite(value)) {
    return nullptr;
  }
  return value;
}

}  // namespace

json plain_scalar(const std::string& text) {
  if (is_one_of(text, kNulls)) return nullptr;
  if (is_one_of(text, kTrue)) return true;
  if (is_one_of(text, kFalse)) return false;
  const char first = text.front();
  if ((first >= '0' && first <= '9') || first == '-' || first == '+' || first == '.') {
    if (json number = integer(text); !number.is_null()) return number;
    if (json number = real(text); !number.is_null()) return number;
  }
  return text;
}

}  // namespace vmferry::api
