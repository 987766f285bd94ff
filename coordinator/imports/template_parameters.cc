#include <openssl/rand.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "common/catalogue.h"
#include "common/check.h"
#include "coordinator/imports/template_processing.h"
#include "coordinator/imports/vm_parts.h"
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
constexpr std::size_t kMostScanned = 256 << 20;    // a fraction of a second's work

bool is_name_char(char c) {
  return kLower.find(c) != kLower.npos || kUpper.find(c) != kUpper.npos ||
         kDigits.find(c) != kDigits.npos || c == '_';
}

Error pattern_error(std::string_view from, std::string_view cause) {
  return coded_error(ErrorKind::InvalidArgument, code::kTemplate, "generator '{}': {}", from,
                     cause);
}

bool is_alphanumeric(char c) { return is_name_char(c) && c != '_'; }

// A range in the order that OpenShift has: a-z, A-Z, 0-9, punctuation; so [a-Z] and [a-9] are
// ranges, and [A-z] is none. OpenShift leaves the last character out ([0-9] makes no 9), which its
// documentation does not say; a template gets here what it gets there.
Result<std::string> characters_between(std::string_view from, char first, char last) {
  const std::string all = std::string(kLower).append(kUpper).append(kDigits).append(kPunctuation);
  const std::size_t begin = all.find(first);
  const std::size_t end = all.rfind(last);
  if (begin == std::string::npos || end == std::string::npos || begin > end) {
    return pattern_error(from, fmt::format("has no range from '{}' to '{}'", first, last));
  }
  return all.substr(begin, end - begin);
}

Result<std::string> characters_of(std::string_view from, char first, char last) {
  if (first != '\\') return characters_between(from, first, last);
  switch (last) {
    case 'w':
      return std::string(kLower).append(kUpper).append(kDigits) + '_';
    case 'd':
      return std::string(kDigits);
    case 'a':
      return std::string(kLower).append(kUpper).append(kDigits);
    case 'A':
      return std::string(kPunctuation);
    default:
      return pattern_error(from, "knows only \\w, \\d, \\a and \\A");
  }
}

// What stands between [ and ]: the characters to choose from, each once. It begins with a class or
// ends in a range. Within it a piece is: backslash, one character, '-', one character, of which the
// character alone must be there; the first and the last of a piece count. As OpenShift reads it.
Result<std::string> alphabet_of(std::string_view from, std::string_view body) {
  constexpr std::string_view kClasses = "wdaA";
  const std::size_t size = body.size();
  const bool by_class = size >= 2 && body[0] == '\\' && kClasses.find(body[1]) != kClasses.npos;
  const bool by_range = size >= 3 && is_alphanumeric(body[size - 3]) && body[size - 2] == '-' &&
                        is_alphanumeric(body[size - 1]);
  if (!by_class && !by_range) {
    return pattern_error(from, "needs a range or one of \\w, \\d, \\a and \\A between [ and ]");
  }
  std::string alphabet;
  std::size_t at = 0;
  while (at < size) {
    const std::size_t begin = at;
    if (body[at] == '\\') ++at;
    if (at == size || !is_alphanumeric(body[at])) {
      at = begin + 1;
      continue;
    }
    ++at;
    if (at < size && body[at] == '-') ++at;
    if (at < size && is_alphanumeric(body[at])) ++at;
    if (body[at - 1] == '-') return pattern_error(from, "has a range without an end");
    for (const char c : TRY(characters_of(from, body[begin], body[at - 1]))) {
      if (alphabet.find(c) == std::string::npos) alphabet += c;
    }
  }
  if (alphabet.empty()) return pattern_error(from, "has no character to choose from");
  return alphabet;
}

// "[characters]{digits}" at the start of a text, cut in two; nothing where the text is no
// generator, and stands for itself.
struct Generator {
  std::string_view body, length;
  std::size_t size;
};
std::optional<Generator> generator_at(std::string_view text) {
  if (!text.starts_with('[')) return std::nullopt;
  std::size_t close = 1;
  while (close < text.size() &&
         (is_alphanumeric(text[close]) || text[close] == '-' || text[close] == '\\')) {
    ++close;
  }
  if (close == 1 || !text.substr(close).starts_with("]{")) return std::nullopt;
  std::size_t end = close + 2;
  while (end < text.size() && kDigits.find(text[end]) != kDigits.npos) ++end;
  if (end == close + 2 || end == text.size() || text[end] != '}') return std::nullopt;
  return Generator{text.substr(1, close - 1), text.substr(close + 2, end - close - 2), end + 1};
}

// Numbers as OpenShift has them once they came out of a parameter: with the precision of a double,
// and without a fraction where it is zero.
void round_numbers(json& value) {
  if (value.is_number()) {
    const auto rounded = value.get<double>();
    constexpr double kEnd = 9223372036854775808.0;  // 2^63
    const bool whole = rounded >= -kEnd && rounded < kEnd && std::trunc(rounded) == rounded;
    value = whole ? json(static_cast<std::int64_t>(rounded)) : json(rounded);
  } else if (value.is_structured()) {
    for (json& item : value) round_numbers(item);
  }
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
      for (const auto& [key, item] : from.items()) {
        json value = node(item);
        // A parameter that is null takes its key away; a null of the template stays.
        if (value.is_null() && !item.is_null()) continue;
        result[name(key)] = std::move(value);
      }
      return result;
    }
    return from;
  }
  // Both kinds of reference become text: labels are nothing else.
  std::string label(const std::string& from) {
    const std::string* const value = whole(from);
    if (value == nullptr) return text(from);
    made_ += value->size();
    return *value;
  }
  bool too_long() const { return made_ > kMostSubstituted || scanned_ > kMostScanned; }

 private:
  // The value of a text that is ${{NAME}} from end to end.
  const std::string* whole(const std::string& from) const {
    if (from.size() <= 5 || !from.starts_with("${{") || !from.ends_with("}}")) return nullptr;
    const std::string name = from.substr(3, from.size() - 5);
    const auto value = std::ranges::all_of(name, is_name_char) ? values_.find(name) : values_.end();
    return value == values_.end() ? nullptr : &value->second;
  }
  json string(const std::string& from) {
    const std::string* const value = whole(from);
    if (value == nullptr) return text(from);
    made_ += value->size();
    json parsed = kube::parse_bounded_json(*value);
    // A null is either "null" or no JSON that we take.
    if (parsed.is_null()) return is_null_text(*value) ? json() : json(*value);
    round_numbers(parsed);
    return parsed;
  }
  std::string name(const std::string& key) {
    if (whole(key) == nullptr) return text(key);
    const json value = string(key);
    return value.is_string() ? value.get<std::string>() : label(key);
  }
  static bool is_null_text(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    const std::size_t begin = text.find_first_not_of(kSpace);
    return begin != std::string_view::npos &&
           text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin) == "null";
  }
  // One reference of the text after another, each where it first stands in what has come out so
  // far: a value that holds a reference is looked into by those that follow, as OpenShift does.
  std::string text(const std::string& from) {
    std::string result = from;
    made_ += from.size();
    std::size_t at = 0;
    while (!too_long()) {
      const std::size_t start = from.find("${", at);
      if (start == std::string::npos) break;
      std::size_t end = start + 2;
      while (end < from.size() && is_name_char(from[end])) ++end;
      const auto value = values_.find(from.substr(start + 2, end - start - 2));
      const bool is_reference = end > start + 2 && end < from.size() && from[end] == '}';
      at = is_reference ? end + 1 : start + 2;
      if (!is_reference || value == values_.end()) continue;
      const std::string reference = from.substr(start, at - start);
      const std::size_t place = result.find(reference);
      VMFERRY_CHECK(place != std::string::npos);  // a reference goes only by being replaced
      result.replace(place, reference.size(), value->second);
      made_ += value->second.size();
      scanned_ += result.size();
    }
    return result;
  }

  const std::map<std::string, std::string>& values_;
  std::size_t made_ = 0, scanned_ = 0;
};

// Whether some ${NAME} stands in a text.
bool has_reference(const json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  for (std::size_t at = text.find("${"); at != text.npos; at = text.find("${", at + 2)) {
    std::size_t end = at + 2;
    while (end < text.size() && is_name_char(text[end])) ++end;
    if (end > at + 2 && end < text.size() && text[end] == '}') return true;
  }
  return false;
}

Error too_long_error() {
  return coded_error(ErrorKind::InvalidArgument, code::kTemplate,
                     "its parameters make it longer than {} bytes", kMostSubstituted);
}

std::string text_of(const json& parameter, const char* key) {
  const auto found = parameter.find(key);
  return found != parameter.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Error not_text(std::string_view what, const std::string& name, const json& value) {
  return coded_error(ErrorKind::InvalidArgument, code::kTemplate,
                     "{} '{}' has the value {}, which is no text; write it in quotes", what, name,
                     value.dump(-1, ' ', false, json::error_handler_t::replace));
}

// The default of a parameter, or what its generator makes; empty where it has neither.
Result<std::string> own_value(const json& parameter, const std::string& name,
                              const RandomBelow& random) {
  const auto value = parameter.find("value");
  if (value != parameter.end() && !value->is_null() && !value->is_string()) {
    return not_text("parameter", name, *value);
  }
  if (std::string text = text_of(parameter, "value"); !text.empty()) return text;
  const std::string generator = text_of(parameter, "generate");
  if (generator.empty()) return std::string();
  if (generator != "expression") {
    return coded_error(ErrorKind::InvalidArgument, code::kTemplate,
                       "parameter '{}' has the unknown generator '{}'; only 'expression' exists",
                       name, generator);
  }
  return generate_value(text_of(parameter, "from"), random);
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
    const auto generator = generator_at(std::string_view(from).substr(at));
    if (!generator) {
      value += from[at++];
      continue;
    }
    const std::string alphabet = TRY(alphabet_of(from, generator->body));
    int length = 0;
    const char* const end = generator->length.data() + generator->length.size();
    const auto [rest, error] = std::from_chars(generator->length.data(), end, length);
    if (error != std::errc() || rest != end || length < 1 || length > kLongestRun) {
      return pattern_error(from, "needs a length between 1 and 255");
    }
    for (int i = 0; i < length; ++i) {
      value += alphabet[random(static_cast<std::uint32_t>(alphabet.size()))];
    }
    at += generator->size;
  }
  return value;
}

Result<json> substitute_parameters(const json& node,
                                   const std::map<std::string, std::string>& values) {
  Substitution substitution(values);
  json result = substitution.node(node);
  if (substitution.too_long()) return too_long_error();
  return result;
}

Result<std::map<std::string, std::string>> template_labels(
    const json& labels, const std::map<std::string, std::string>& values) {
  std::map<std::string, std::string> result;
  if (!labels.is_object()) return result;
  Substitution substitution(values);
  for (const auto& [key, value] : labels.items()) {
    if (!value.is_string()) return not_text("label", key, value);
    result[substitution.label(key)] = substitution.label(value.get_ref<const std::string&>());
    if (substitution.too_long()) return too_long_error();
  }
  return result;
}

Result<json> expand_object(const json& object, const json& labels,
                           const std::map<std::string, std::string>& values) {
  json made = TRY(substitute_parameters(object, values));
  const auto metadata = object.find("metadata");
  if (metadata != object.end() && metadata->is_object() && metadata->contains("namespace")) {
    const json& ns = (*metadata)["namespace"];
    if (ns.is_string() && ns != "") {
      if (!has_reference(ns)) made["metadata"].erase("namespace");
    } else {
      made["metadata"]["namespace"] = "";
    }
  }
  if (!labels.is_object()) return made;
  const auto added = TRY(template_labels(labels, values));
  json& own = object_at(object_at(made, "metadata"), "labels");
  // OpenShift reads labels as a whole: one that is no text hides them all.
  if (!std::ranges::all_of(own, [](const json& value) { return value.is_string(); })) {
    own = json::object();
  }
  for (const auto& [key, value] : added) own[key] = value;
  return made;
}

json filled_parameters(const json& parameters, const std::string& vm_name) {
  json filled = json::array();
  if (!parameters.is_array()) return filled;
  for (json parameter : parameters) {
    if (!parameter.is_object()) continue;
    if (text_of(parameter, "name") == "NAME") {
      if (!vm_name.empty()) parameter["value"] = vm_name;
    } else if (text_of(parameter, "generate").empty()) {
      json& value = parameter["value"];
      if (value.is_null() || value == json("")) value = "other";
    }
    filled.push_back(std::move(parameter));
  }
  return filled;
}

Result<std::map<std::string, std::string>> parameter_values(const json& parameters,
                                                            const RandomBelow& random) {
  std::map<std::string, std::string> values;
  if (!parameters.is_array()) return values;
  for (const json& parameter : parameters) {
    if (!parameter.is_object()) continue;
    const std::string name = text_of(parameter, "name");
    std::string& value = values[name] = TRY(own_value(parameter, name, random));
    if (!value.empty() || parameter.value("required", json(false)) != json(true)) continue;
    const bool generated = !text_of(parameter, "generate").empty();
    return coded_error(ErrorKind::InvalidArgument, code::kTemplate,
                       "required parameter '{}' has no value{}", name,
                       name == "NAME" ? "; set spec.targetVmName"
                       : generated    ? ": its generator makes none"
                                      : "");
  }
  return values;
}

}  // namespace vmferry::imports
