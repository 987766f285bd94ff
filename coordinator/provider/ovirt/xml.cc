#include "coordinator/provider/ovirt/xml.h"

#include <charconv>
#include <cstring>

#include <nlohmann/json.hpp>

#include "common/catalogue.h"

namespace vmferry::ovirt {
namespace {

constexpr int kMaxJsonDepth = 64;

bool is_element(pugi::xml_node node) { return node.type() == pugi::node_element; }

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

Error malformed(std::string_view why) {
  return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                     "the engine's answer cannot be read: {}", why);
}

std::string scalar_text(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return {};
  return value.dump();
}

// Members become children, members of arrays children of one name; id and href are attributes in
// XML (source-ovirt.md 1.4). The depth was bounded by the parser.
void fill(pugi::xml_node node, const nlohmann::json& tree) {
  if (!tree.is_object()) {
    node.append_child(pugi::node_pcdata).set_value(scalar_text(tree).c_str());
    return;
  }
  for (const auto& [name, value] : tree.items()) {
    if ((name == "id" || name == "href") && !value.is_structured()) {
      node.append_attribute(name.c_str()).set_value(scalar_text(value).c_str());
    } else if (value.is_array()) {
      for (const nlohmann::json& member : value) fill(node.append_child(name.c_str()), member);
    } else {
      fill(node.append_child(name.c_str()), value);
    }
  }
}

template <typename T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace

Element Element::child(std::string_view path) const {
  pugi::xml_node node = node_;
  while (node && !path.empty()) {
    const std::size_t dot = path.find('.');
    const std::string name(path.substr(0, dot));
    node = node.child(name.c_str());
    path = dot == std::string_view::npos ? std::string_view{} : path.substr(dot + 1);
  }
  return Element(node);
}

std::vector<Element> Element::children(const char* name) const {
  std::vector<Element> result;
  for (const pugi::xml_node node : node_.children(name)) result.emplace_back(node);
  return result;
}

std::vector<Element> Element::children() const {
  std::vector<Element> result;
  for (const pugi::xml_node node : node_.children()) {
    if (is_element(node)) result.emplace_back(node);
  }
  return result;
}

std::string Element::attribute(const char* name) const {
  if (const pugi::xml_attribute found = node_.attribute(name)) return found.value();
  return std::string(trimmed(node_.child_value(name)));
}

std::optional<std::string> Element::text(std::string_view path) const {
  const Element found = child(path);
  if (!found) return std::nullopt;
  return found.own_text();
}

std::string Element::text_or(std::string_view path, std::string_view otherwise) const {
  return text(path).value_or(std::string(otherwise));
}

std::string Element::own_text() const { return std::string(trimmed(node_.child_value())); }

std::optional<std::int64_t> Element::integer(std::string_view path) const {
  return number<std::int64_t>(text_or(path, ""));
}

std::optional<std::uint64_t> Element::bytes(std::string_view path) const {
  return number<std::uint64_t>(text_or(path, ""));
}

std::optional<bool> Element::boolean(std::string_view path) const {
  const std::string word = lower(text_or(path, ""));
  if (word == "true" || word == "1") return true;
  if (word == "false" || word == "0") return false;
  return std::nullopt;
}

bool Element::is_reference() const {
  for (const pugi::xml_node node : node_.children()) {
    if (!is_element(node)) continue;
    if (std::strcmp(node.name(), "link") != 0 && std::strcmp(node.name(), "actions") != 0 &&
        std::strcmp(node.name(), "id") != 0 && std::strcmp(node.name(), "href") != 0) {
      return false;
    }
  }
  return true;
}

std::optional<std::string> Element::link(std::string_view rel) const {
  for (const Element& link : children("link")) {
    if (link.attribute("rel") == rel) return link.href();
  }
  return std::nullopt;
}

Document::Document() : document_(std::make_unique<pugi::xml_document>()) {}

Result<Document> Document::parse_xml(std::string_view text) {
  if (text.size() > kMaxDocumentBytes) return malformed("it is too large");
  Document document;
  // Document types are parsed as nodes only so that they are seen and refused.
  const unsigned int options = pugi::parse_default | pugi::parse_doctype;
  const pugi::xml_parse_result parsed =
      document.document_->load_buffer(text.data(), text.size(), options, pugi::encoding_utf8);
  if (!parsed) return malformed(parsed.description());
  for (const pugi::xml_node node : document.document_->children()) {
    if (node.type() == pugi::node_doctype) return malformed("it has a document type declaration");
  }
  if (!document.root()) return malformed("it is empty");
  return document;
}

Result<Document> Document::parse_json(std::string_view text, std::string_view root) {
  if (text.size() > kMaxDocumentBytes) return malformed("it is too large");
  bool too_deep = false;
  const auto guard = [&too_deep](int depth, nlohmann::json::parse_event_t,
                                 nlohmann::json&) -> bool {
    if (depth > kMaxJsonDepth) too_deep = true;
    return !too_deep;  // what is not kept does not nest
  };
  const nlohmann::json tree =
      nlohmann::json::parse(text.begin(), text.end(), guard, /*allow_exceptions=*/false);
  if (tree.is_discarded() || too_deep) return malformed("it is not JSON");
  if (!tree.is_object()) return malformed("it is not a JSON object");
  Document document;
  fill(document.document_->append_child(std::string(root).c_str()), tree);
  return document;
}

Element Document::root() const { return Element(document_->document_element()); }

Element Document::append(Element parent, const Document& part, const std::string& name) {
  pugi::xml_node copy = parent.node_.append_copy(part.root().node_);
  copy.set_name(name.c_str());
  return Element(copy);
}

Element Document::replace(Element old, Element part) {
  pugi::xml_node parent = old.node_.parent();
  pugi::xml_node copy = parent.insert_copy_before(part.node_, old.node_);
  copy.set_name(old.node_.name());
  parent.remove_child(old.node_);
  return Element(copy);
}

void Document::remove(Element old) { old.node_.parent().remove_child(old.node_); }

std::string xml_escape(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

}  // namespace vmferry::ovirt
