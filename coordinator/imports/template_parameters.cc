#include <openssl/rand.h>

#include <charconv>
#include <limits>

#include "common/catalogue.h"
#include "common/check.h"
#include "coordinator/imports/template_processing.h"
#include "coordinator/kube/bounded_json.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kPunctuation = "~!@#$%^&*()-_+={}[]\\|<,>.?/\"';:`";
constexpr int kLongestRun = 255;
constexpr std::size_t kMostSubstituted = 4 << 20;  // an object in a cluster has 1.5 MiB at most

bool is_name_char(char c) {
  return kLower.find(c) != kLower.npos || kUpper.find(c) != kUpper.npos ||
         kDigits.find(c) != kDigits.npos || c == '_';
}

Error pattern_error(std::string_view from, std::string_view cause) {
  return coded_error(ErrorKind::InvalidArgument, code::kTemplate, "generator '{}': {}", from,
                     cause);
}

// What stands between [ and ]: the characters to choose from. Characters given twice count twice,
// as in OpenShift.
Result<std::string> alphabet_of(std::string_view from, std::string_view ranges) {
  std::string alphabet;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i] == '\\') {
      if (++i == ranges.size()) return pattern_error(from, "ends in a backslash");
      switch (ranges[i]) {
        case 'w':
          alphabet.append(kLower).append(kUpper).append(kDigits) += '_';
          break;
        case 'd':
          alphabet.append(kDigits);
          break;
        case 'a':
          alphabet.append(kLower).append(kUpper).append(kDigits);
          break;
        case 'A':
          alphabet.append(kPunctuation);
          break;
        default:
          return pattern_error(from, "knows only \\w, \\d, \\a and \\A");
      }
    } else if (i + 2 < ranges.size() && ranges[i + 1] == '-') {
      const char first = ranges[i];
      const char last = ranges[i + 2];
      if (!is_name_char(first) || !is_name_char(last) || first > last) {
        return pattern_error(from, "has a range that is not ascending");
      }
      for (int c = first; c <= last; ++c) alphabet += static_cast<char>(c);
      i += 2;
    } else if (is_name_char(ranges[i])) {
      alphabet += ranges[i];
    } else {
      return pattern_error(from, "has a character that is no letter or digit between [ and ]");
    }
  }
  if (alphabet.empty()) return pattern_error(from, "has nothing between [ and ]");
  return alphabet;
}

// Values go into a copy of the tree. Whoever writes a template can make a short text name a long
// value many times, so what comes out is bounded.
class Substitution {
 public:
  explicit Substitution(const std::map<std::string, std::string>& values) : values_(values) {}

  json node(const json& from) {
    if (too_long()) return nullptr;
    if (from.is_string()) return string(from.get_ref<const std::string&>());
    if (from.is_array()) {
      json result = json::array();
      for (const json& item : from) result.push_back(node(item));
      return result;
    }
    if (from.is_object()) {
      json result = json::object();
      for (const auto& [key, item] : from.items()) result[text(key)] = node(item);
      return result;
    }
    return from;
  }
  bool too_long() const { return made_ > kMostSubstituted; }

 private:
  json string(const std::string& from) {
    if (from.size() > 5 && from.starts_with("${{") && from.ends_with("}}")) {
      const auto value = values_.find(from.substr(3, from.size() - 5));
      if (value == values_.end()) return from;
      made_ += value->second.size();
      json parsed = kube::parse_bounded_json(value->second);
      // A null is either "null" or no JSON that we take.
      return parsed.is_null() && value->second != "null" ? json(value->second) : parsed;
    }
    return text(from);
  }
  std::string text(const std::string& from) {
    std::string result;
    std::size_t at = 0;
    while (!too_long()) {
      const std::size_t start = from.find("${", at);
      if (start == std::string::npos) break;
      std::size_t end = start + 2;
      while (end < from.size() && is_name_char(from[end])) ++end;
      const auto value = values_.find(from.substr(start + 2, end - start - 2));
      const bool known = end < from.size() && from[end] == '}' && value != values_.end();
      const std::size_t next = known ? end + 1 : start + 2;
      result.append(from, at, (known ? start : next) - at);
      if (known) {
        result += value->second;
        made_ += value->second.size();
      }
      at = next;
    }
    made_ += from.size() - at;
    return result.append(from, at);
  }

  const std::map<std::string, std::string>& values_;
  std::size_t made_ = 0;
};

std::string text_of(const json& parameter, const char* key) {
  const auto found = parameter.find(key);
  return found != parameter.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

RandomBelow system_random() {
  return [](std::uint32_t limit) {
    VMFERRY_CHECK(limit > 0);
    constexpr std::uint32_t kMax = std::numeric_limits<std::uint32_t>::max();
    const std::uint32_t fair = kMax - kMax % limit;  // beyond it, small numbers would be likelier
    std::uint32_t number = kMax;
    do {
      VMFERRY_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&number), sizeof number) == 1);
    } while (number >= fair);
    return number % limit;
  };
}

Result<std::string> generate_value(const std::string& from, const RandomBelow& random) {
  std::string value;
  std::size_t at = 0;
  while (at < from.size()) {
    if (from[at] != '[') {
      value += from[at++];
      continue;
    }
    const std::size_t close = from.find(']', at);
    const std::size_t brace = close == std::string::npos ? close : close + 1;
    const std::size_t end =
        brace < from.size() && from[brace] == '{' ? from.find('}', brace) : std::string::npos;
    if (end == std::string::npos) return pattern_error(from, "needs {length} after [characters]");
    const std::string alphabet =
        TRY(alphabet_of(from, std::string_view(from).substr(at + 1, close - at - 1)));
    int length = 0;
    const auto [rest, error] = std::from_chars(from.data() + brace + 1, from.data() + end, length);
    if (error != std::errc() || rest != from.data() + end || length < 1 || length > kLongestRun) {
      return pattern_error(from, "needs a length between 1 and 255");
    }
    for (int i = 0; i < length; ++i) {
      value += alphabet[random(static_cast<std::uint32_t>(alphabet.size()))];
    }
    at = end + 1;
  }
  return value;
}

Result<json> substitute_parameters(const json& node,
                                   const std::map<std::string, std::string>& values) {
  Substitution substitution(values);
  json result = substitution.node(node);
  if (!substitution.too_long()) return result;
  return coded_error(ErrorKind::InvalidArgument, code::kTemplate,
                     "its parameters make it longer than {} bytes", kMostSubstituted);
}

Result<std::map<std::string, std::string>> parameter_values(const json& parameters,
                                                            const std::string& vm_name,
                                                            const RandomBelow& random) {
  std::map<std::string, std::string> values;
  if (!parameters.is_array()) return values;
  for (const json& parameter : parameters) {
    if (!parameter.is_object()) continue;
    const std::string name = text_of(parameter, "name");
    if (name == "NAME" && !vm_name.empty()) {
      values[name] = vm_name;
    } else if (std::string value = text_of(parameter, "value"); !value.empty()) {
      values[name] = std::move(value);
    } else if (const std::string generator = text_of(parameter, "generate"); !generator.empty()) {
      if (generator != "expression") {
        return coded_error(
            ErrorKind::InvalidArgument, code::kTemplate,
            "parameter '{}' has the unknown generator '{}'; only 'expression' exists", name,
            generator);
      }
      values[name] = TRY(generate_value(text_of(parameter, "from"), random));
    } else if (name == "NAME") {
      if (parameter.value("required", json(false)) == json(true)) {
        return coded_error(ErrorKind::InvalidArgument, code::kTemplate,
                           "required parameter 'NAME' has no value; set spec.targetVmName");
      }
      values[name] = "";
    } else {
      values[name] = "other";
    }
  }
  return values;
}

}  // namespace vmferry::imports
