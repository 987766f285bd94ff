#include "coordinator/embedded/metadata_check.h"

#include <algorithm>

#include "common/catalogue.h"

namespace vmferry::embedded {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxAnnotationBytes = 256 * 1024;  // of all annotations together

bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_alnum(char c) { return is_lower_alnum(c) || (c >= 'A' && c <= 'Z'); }

bool is_dns_label(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_lower_alnum(text.front()) &&
         is_lower_alnum(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
           return is_lower_alnum(c) || c == '-';
         });
}

bool is_dns_subdomain(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  while (true) {
    const std::size_t dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    // Only the whole is bounded, not its parts.
    if (part.empty() || !is_lower_alnum(part.front()) || !is_lower_alnum(part.back()) ||
        !std::all_of(part.begin(), part.end(),
                     [](char c) { return is_lower_alnum(c) || c == '-'; })) {
      return false;
    }
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// A label's value, or the name part of a key.
bool is_label_text(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_alnum(text.front()) && is_alnum(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool is_qualified_name(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return is_label_text(text);
  return is_dns_subdomain(text.substr(0, slash)) && is_label_text(text.substr(slash + 1));
}

std::string lowered(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// A map of strings under `metadata`, or null.
Result<const json*> text_map(const json& metadata, const char* name) {
  const auto found = metadata.find(name);
  if (found == metadata.end()) return nullptr;
  const std::string path = std::string("metadata.") + name;
  if (!found->is_object()) return invalid_field(path, "must be a map of strings");
  for (const auto& [key, value] : found->items()) {
    if (!value.is_string()) {
      return invalid_field(path + "['" + key + "']",
                           fmt::format("must be a string, not {}: quote it", value.type_name()));
    }
  }
  return &*found;
}

Result<void> check_labels(const json& metadata) {
  const json* labels = TRY(text_map(metadata, "labels"));
  if (labels == nullptr) return {};
  for (const auto& [key, value] : labels->items()) {
    if (!is_qualified_name(key)) {
      return invalid_field("metadata.labels", "has the malformed key '" + key + "'");
    }
    const std::string& text = value.get_ref<const std::string&>();
    if (!text.empty() && !is_label_text(text)) {
      return invalid_field("metadata.labels['" + key + "']",
                           "must be at most 63 letters, digits, '-', '_' and '.', beginning and "
                           "ending with a letter or digit");
    }
  }
  return {};
}

Result<void> check_annotations(const json& metadata) {
  const json* annotations = TRY(text_map(metadata, "annotations"));
  if (annotations == nullptr) return {};
  std::size_t bytes = 0;
  for (const auto& [key, value] : annotations->items()) {
    if (!is_qualified_name(lowered(key))) {
      return invalid_field("metadata.annotations", "has the malformed key '" + key + "'");
    }
    bytes += key.size() + value.get_ref<const std::string&>().size();
  }
  if (bytes > kMaxAnnotationBytes) {
    return invalid_field("metadata.annotations", "are larger than the 256 KiB that the API takes");
  }
  return {};
}

Result<void> check_finalizers(const json& metadata) {
  const auto found = metadata.find("finalizers");
  if (found == metadata.end()) return {};
  if (!found->is_array()) return invalid_field("metadata.finalizers", "must be a list");
  for (const json& item : *found) {
    if (!item.is_string() || !is_qualified_name(item.get_ref<const std::string&>())) {
      return invalid_field("metadata.finalizers", "must hold qualified names");
    }
  }
  return {};
}

Result<void> check_owners(const json& metadata, const kube::Object& object) {
  const auto found = metadata.find("ownerReferences");
  if (found == metadata.end()) return {};
  if (!found->is_array()) return invalid_field("metadata.ownerReferences", "must be a list");
  for (const json& item : *found) {
    for (const char* name : {"apiVersion", "kind", "name", "uid"}) {
      const bool there = item.is_object() && item.contains(name) && item[name].is_string() &&
                         !item[name].get_ref<const std::string&>().empty();
      if (!there) {
        return invalid_field("metadata.ownerReferences", std::string("lacks the ") + name);
      }
    }
  }
  int controllers = 0;
  for (const kube::OwnerReference& owner : object.owners()) {
    if (owner.uid == object.uid()) {
      return invalid_field("metadata.ownerReferences", "names the object itself");
    }
    controllers += owner.controller ? 1 : 0;
  }
  if (controllers > 1) {
    return invalid_field("metadata.ownerReferences", "has more than one controller");
  }
  return {};
}

}  // namespace

Error invalid_field(std::string_view path, std::string_view what) {
  return coded_error(ErrorKind::InvalidArgument, code::kManifest, "{} {}", path, what);
}

Result<void> check_metadata(const kube::ResourceType& type, const kube::Object& object) {
  const json& metadata = object.json().at("metadata");
  for (const char* name : {"name", "namespace", "generateName"}) {
    if (metadata.contains(name) && !metadata[name].is_string()) {
      return invalid_field(
          std::string("metadata.") + name,
          fmt::format("must be a string, not {}: quote it", metadata[name].type_name()));
    }
  }
  const bool is_label_kind = type == kube::types::kNamespace;
  if (object.name().empty()) return invalid_field("metadata.name", "is missing");
  if (is_label_kind ? !is_dns_label(object.name()) : !is_dns_subdomain(object.name())) {
    return invalid_field("metadata.name",
                         "'" + object.name() +
                             "' must be lower-case letters, digits, '-' and '.', beginning and "
                             "ending with a letter or digit");
  }
  if (type.namespaced && !is_dns_label(object.ns())) {
    return invalid_field("metadata.namespace", "'" + object.ns() + "' is not a namespace's name");
  }
  TRY(check_labels(metadata));
  TRY(check_annotations(metadata));
  TRY(check_finalizers(metadata));
  return check_owners(metadata, object);
}

}  // namespace vmferry::embedded
