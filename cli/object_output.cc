#include "cli/object_output.h"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

#include "coordinator/api/manifest.h"

namespace vmferry::cli {
namespace {

constexpr const char* kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

}  // namespace

Result<OutputForm> parse_output_form(std::string_view text) {
  if (text.empty()) return OutputForm::Table;
  if (text == "wide") return OutputForm::Wide;
  if (text == "yaml") return OutputForm::Yaml;
  if (text == "json") return OutputForm::Json;
  if (text == "name") return OutputForm::Name;
  return make_error(ErrorKind::InvalidArgument, "-o {}: use yaml, json, name or wide", text);
}

kube::Object masked(kube::Object object) {
  if (object.kind() != kube::types::kSecret.kind) return object;
  for (const char* section : {"data", "stringData"}) {
    const auto found = object.json().find(section);
    if (found == object.json().end()) continue;
    if (!found->is_object()) {
      *found = "***";
      continue;
    }
    for (auto& [key, value] : found->items()) value = "***";
  }
  if (object.annotation(kLastApplied)) {
    object.json()["metadata"]["annotations"][kLastApplied] = "***";
  }
  return object;
}

std::string object_name(const kube::ResourceType& type, const std::string& name) {
  std::string kind = type.kind;
  std::ranges::transform(kind, kind.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return kind + (type.group().empty() ? "" : "." + type.group()) + "/" + name;
}

std::string objects_text(const std::vector<kube::Object>& objects, bool as_list, OutputForm form) {
  if (form == OutputForm::Yaml) {
    std::string text;
    for (const kube::Object& object : objects) {
      if (!text.empty()) text += "---\n";
      text += api::to_yaml(object);
    }
    return text;
  }
  nlohmann::json value;
  if (as_list || objects.size() != 1) {
    value = {{"apiVersion", "v1"}, {"kind", "List"}, {"items", nlohmann::json::array()}};
    for (const kube::Object& object : objects) value["items"].push_back(object.json());
  } else {
    value = objects.front().json();
  }
  return value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace vmferry::cli
