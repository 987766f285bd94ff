#include <algorithm>
#include <cctype>

#include "coordinator/api/manifest.h"
#include "coordinator/api/yaml.h"

namespace vmferry::api {
namespace {

using nlohmann::json;

// Deeper values are written as JSON in one line, which YAML reads as well.
constexpr int kMaxDepth = 50;

bool is_plain_safe(const std::string& text) {
  const auto alnum = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  if (text.empty() || !(alnum(text.front()) || text.front() == '/' || text.front() == '_')) {
    return false;
  }
  if (text.back() == ' ' || text.back() == ':' || text.size() > 4096) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (!alnum(c) && std::string_view("-_./ :@+=()#,%$^;<>~").find(c) == std::string_view::npos) {
      return false;
    }
    if ((c == ':' || c == ',') && next == ' ') return false;
    if (c == ' ' && (next == '#' || next == '-')) return false;
  }
  // Text that a reader would take for a number, a boolean, a time or null keeps its quotes.
  const bool like_time = std::isdigit(static_cast<unsigned char>(text.front())) != 0;
  return plain_scalar(text).is_string() && !like_time;
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Text that a block scalar (|) keeps exactly: whole lines, printable ASCII, no leading blank.
bool is_block_safe(const std::string& text) {
  if (text.find('\n') == std::string::npos || text.front() == ' ' || text.front() == '\n' ||
      text.find(" \n") != std::string::npos || text.find("\n\n\n") != std::string::npos ||
      text.ends_with("\n\n")) {
    return false;
  }
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); });
}

class Emitter {
 public:
  std::string take() { return std::move(out_); }

  void map_body(const json& object, int indent, bool first_in_place) {
    for (const std::string& key : keys_of(object, indent)) {
      if (!std::exchange(first_in_place, false)) pad(indent);
      out_ += is_plain_safe(key) ? key : dumped(key);
      out_ += ':';
      member(object.at(key), indent);
    }
  }

 private:
  // The order that people know at the top, by name elsewhere.
  static std::vector<std::string> keys_of(const json& object, int indent) {
    std::vector<std::string> keys;
    for (const auto& item : object.items()) keys.push_back(item.key());
    if (indent > 0) return keys;
    const auto rank = [](const std::string& key) {
      return key == "apiVersion" ? 0
             : key == "kind"     ? 1
             : key == "metadata" ? 2
             : key == "status"   ? 4
                                 : 3;
    };
    std::stable_sort(keys.begin(), keys.end(),
                     [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
    return keys;
  }

  void pad(int indent) { out_.append(static_cast<std::size_t>(indent), ' '); }

  // After "key:".
  void member(const json& value, int indent) {
    if (value.is_object() && !value.empty() && indent / 2 < kMaxDepth) {
      out_ += '\n';
      map_body(value, indent + 2, false);
    } else if (value.is_array() && !value.empty() && indent / 2 < kMaxDepth) {
      out_ += '\n';
      list_body(value, indent);
    } else {
      out_ += ' ';
      scalar(value, indent);
    }
  }

  void list_body(const json& list, int indent) {
    for (const json& item : list) {
      pad(indent);
      out_ += "- ";
      if (item.is_object() && !item.empty() && indent / 2 < kMaxDepth) {
        map_body(item, indent + 2, true);
      } else {
        scalar(item, indent);  // a list in a list is rare: in one line
      }
    }
  }

  void scalar(const json& value, int indent) {
    if (!value.is_string()) {
      out_ += dumped(value) + "\n";
      return;
    }
    const std::string& text = value.get_ref<const std::string&>();
    if (is_plain_safe(text)) {
      out_ += text + "\n";
    } else if (is_block_safe(text)) {
      block(text, indent + 2);
    } else {
      out_ += dumped(value) + "\n";
    }
  }

  void block(std::string_view text, int indent) {
    const bool ends = text.ends_with('\n');
    out_ += ends ? "|\n" : "|-\n";
    if (ends) text.remove_suffix(1);
    while (true) {
      const std::size_t end = text.find('\n');
      const std::string_view line = text.substr(0, end);
      if (!line.empty()) pad(indent);
      out_ += line;
      out_ += '\n';
      if (end == std::string_view::npos) return;
      text.remove_prefix(end + 1);
    }
  }

  std::string out_;
};

}  // namespace

std::string to_yaml(const kube::Object& object) {
  if (!object.json().is_object() || object.json().empty()) return dumped(object.json()) + "\n";
  Emitter emitter;
  emitter.map_body(object.json(), 0, false);
  return emitter.take();
}

}  // namespace vmferry::api
