#include "coordinator/embedded/schema.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <regex>
#include <set>

#include "common/catalogue.h"
#include "common/clock.h"
#include "coordinator/api/yaml.h"
#include "coordinator/embedded/crd_texts.h"
#include "coordinator/embedded/schema_rules.h"

namespace vmferry::embedded {
namespace {

using nlohmann::json;

constexpr const char* kPreserve = "x-kubernetes-preserve-unknown-fields";
constexpr const char* kIntOrString = "x-kubernetes-int-or-string";
constexpr const char* kListType = "x-kubernetes-list-type";
constexpr const char* kListMapKeys = "x-kubernetes-list-map-keys";
constexpr const char* kRules = "x-kubernetes-validations";
constexpr std::size_t kMaxProblems = 10;

const json& member(const json& schema, const char* name) {
  static const json null;
  const auto found = schema.find(name);
  return found == schema.end() ? null : *found;
}

bool flag(const json& schema, const char* name) { return member(schema, name) == true; }

std::string text_of(const json& schema, const char* name) {
  const json& value = member(schema, name);
  return value.is_string() ? value.get<std::string>() : "";
}

std::string path_to(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

// ---- Reading a schema: everything that we would not enforce is refused, so that a cluster and
// this store never differ silently.

Result<void> check_schema(const json& schema, const std::string& path) {
  static const std::set<std::string> kKnown{"type",      "properties", "additionalProperties",
                                            "items",     "required",   "enum",
                                            "nullable",  "minLength",  "maxLength",
                                            "pattern",   "minimum",    "maximum",
                                            "format",    kRules,       "description",
                                            kPreserve,   kIntOrString, kListType,
                                            kListMapKeys};
  const auto refuse = [&](const std::string& what) {
    return make_error(ErrorKind::InvalidArgument, "schema at '{}': {}", path, what);
  };
  if (!schema.is_object()) return refuse("must be an object");
  for (const auto& [key, value] : schema.items()) {
    if (!kKnown.contains(key)) return refuse("cannot enforce '" + key + "'");
  }
  const json& properties = member(schema, "properties");
  if (!properties.is_null() && !properties.is_object()) return refuse("properties");
  if (properties.is_object()) {
    for (const auto& [name, child] : properties.items()) {
      TRY(check_schema(child, path_to(path, name)));
    }
  }
  for (const char* name : {"items", "additionalProperties"}) {
    const json& child = member(schema, name);
    if (!child.is_null()) TRY(check_schema(child, path_to(path, name)));
  }
  if (const auto known = check_rules_are_known(member(schema, kRules)); !known) {
    return refuse(known.error().message());
  }
  return {};
}

// ---- Pruning

void prune(const json& schema, json& value) {
  if (value.is_array()) {
    const json& items = member(schema, "items");
    if (!items.is_object()) return;
    for (json& item : value) prune(items, item);
  }
  if (!value.is_object()) return;
  const json& properties = member(schema, "properties");
  const json& additional = member(schema, "additionalProperties");
  for (auto it = value.begin(); it != value.end();) {
    const auto known = properties.is_object() ? properties.find(it.key()) : properties.end();
    if (properties.is_object() && known != properties.end()) {
      prune(*known, *it);
    } else if (additional.is_object()) {
      prune(additional, *it);
    } else if (!flag(schema, kPreserve)) {
      it = value.erase(it);
      continue;
    }
    ++it;
  }
}

// ---- Validation

class Validator {
 public:
  void check(const json& schema, const json& value, const std::string& path);
  std::vector<std::string> take() { return std::move(problems_); }

 private:
  void problem(const std::string& path, std::string_view what) {
    problems_.push_back(fmt::format("{}: {}", path, what));
  }
  bool has_type(const json& schema, const json& value, const std::string& path);
  void check_text(const json& schema, const json& value, const std::string& path);
  void check_object(const json& schema, const json& value, const std::string& path);
  void check_list(const json& schema, const json& value, const std::string& path);

  std::vector<std::string> problems_;
};

bool Validator::has_type(const json& schema, const json& value, const std::string& path) {
  if (flag(schema, kIntOrString)) {
    if (value.is_string() || value.is_number_integer()) return true;
    problem(path, "must be a number or a string");
    return false;
  }
  const std::string type = text_of(schema, "type");
  if (type.empty() || (type == "object" && value.is_object()) ||
      (type == "array" && value.is_array()) || (type == "string" && value.is_string()) ||
      (type == "boolean" && value.is_boolean()) || (type == "number" && value.is_number()) ||
      (type == "integer" && value.is_number_integer())) {
    return true;
  }
  // The commonest slip: a bare yes or 007 where text is wanted.
  const bool quote = type == "string" && value.is_primitive();
  problem(path, fmt::format("must be {} {}, not {}{}",
                            type == "object" || type == "array" || type == "integer" ? "an" : "a",
                            type, value.type_name(), quote ? ": quote it" : ""));
  return false;
}

void Validator::check_text(const json& schema, const json& value, const std::string& path) {
  const std::string& text = value.get_ref<const std::string&>();
  const auto characters =
      static_cast<std::uint64_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
      }));
  const json& longest = member(schema, "maxLength");
  if (longest.is_number() && characters > longest.get<std::uint64_t>()) {
    problem(path, fmt::format("must have at most {} characters, has {}",
                              longest.get<std::uint64_t>(), characters));
  }
  const json& shortest = member(schema, "minLength");
  if (shortest.is_number() && characters < shortest.get<std::uint64_t>()) {
    problem(path, characters == 0 ? "must not be empty" : "is too short");
  }
  const std::string pattern = text_of(schema, "pattern");
  // Bounded before matching: std::regex recurses for each character.
  if (!pattern.empty() && (text.size() > 1024 || !std::regex_match(text, std::regex(pattern)))) {
    problem(path, "must match " + pattern);
  }
  if (text_of(schema, "format") == "date-time" && !parse_rfc3339(text)) {
    problem(path, "must be a time such as 2026-01-31T12:00:00Z");
  }
}

void Validator::check_object(const json& schema, const json& value, const std::string& path) {
  for (const json& name : member(schema, "required")) {
    const std::string& text = name.get_ref<const std::string&>();
    if (!value.contains(text)) problem(path_to(path, text), "is required");
  }
  for (const json& rule : member(schema, kRules)) {
    if (const std::string broken = broken_rule(rule, value); !broken.empty()) {
      problem(path, broken);
    }
  }
  const json& properties = member(schema, "properties");
  const json& additional = member(schema, "additionalProperties");
  for (const auto& [key, child] : value.items()) {
    if (properties.is_object() && properties.contains(key)) {
      check(properties.at(key), child, path_to(path, key));
    } else if (additional.is_object()) {
      check(additional, child, path_to(path, key));
    }
  }
}

void Validator::check_list(const json& schema, const json& value, const std::string& path) {
  const json& items = member(schema, "items");
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (items.is_object()) check(items, value[i], fmt::format("{}[{}]", path, i));
  }
  if (text_of(schema, kListType) != "map") return;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!value[i].is_object()) continue;
    std::string key;
    for (const json& name : member(schema, kListMapKeys)) {
      const auto found = value[i].find(name.get_ref<const std::string&>());
      key += (found == value[i].end() ? "" : found->dump()) + "/";
    }
    if (!seen.insert(key).second) problem(fmt::format("{}[{}]", path, i), "is there twice");
  }
}

void Validator::check(const json& schema, const json& value, const std::string& path) {
  if (problems_.size() >= kMaxProblems) return;
  if (value.is_null() && flag(schema, "nullable")) return;
  if (!has_type(schema, value, path)) return;
  const json& allowed = member(schema, "enum");
  if (allowed.is_array() && std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    std::string list;
    for (const json& item : allowed) list += (list.empty() ? "" : ", ") + item.get<std::string>();
    problem(path, "must be one of " + list);
  }
  if (value.is_number()) {
    const json& least = member(schema, "minimum");
    if (least.is_number() && value < least) problem(path, "must be at least " + least.dump());
    const json& most = member(schema, "maximum");
    if (most.is_number() && value > most) problem(path, "must be at most " + most.dump());
  }
  if (value.is_string()) check_text(schema, value, path);
  if (value.is_object()) check_object(schema, value, path);
  if (value.is_array()) check_list(schema, value, path);
}

Schema built_in(std::string_view text, const char* name) {
  Result<std::vector<api::YamlDocument>> documents = api::parse_yaml(text, name);
  VMFERRY_CHECK(documents.ok() && documents->size() == 1);  // a test reads both files
  Result<Schema> schema = Schema::of_storage_version(documents->front().value);
  VMFERRY_CHECK(schema.ok());
  return *std::move(schema);
}

}  // namespace

Result<Schema> Schema::of_storage_version(const json& definition) {
  static const json::json_pointer kVersions("/spec/versions");
  static const json::json_pointer kSchema("/schema/openAPIV3Schema");
  if (!definition.is_object() || !definition.contains(kVersions)) {
    return Error(ErrorKind::InvalidArgument, "not a CustomResourceDefinition with versions");
  }
  for (const json& version : definition.at(kVersions)) {
    if (!version.is_object() || version.value("storage", false) != true) continue;
    if (!version.contains(kSchema)) break;
    json root = version.at(kSchema);
    TRY(check_schema(root, ""));
    // The API server's own: never pruned, checked elsewhere.
    root["properties"]["apiVersion"] = {{"type", "string"}};
    root["properties"]["kind"] = {{"type", "string"}};
    root["properties"]["metadata"] = {{"type", "object"}, {kPreserve, true}};
    return Schema(std::move(root));
  }
  return Error(ErrorKind::InvalidArgument, "no storage version with a schema");
}

Result<void> Schema::prune_and_validate(json& object) const {
  prune(root_, object);
  Validator validator;
  validator.check(root_, object, "");
  const std::vector<std::string> problems = validator.take();
  if (problems.empty()) return {};
  return coded_error(ErrorKind::InvalidArgument, code::kManifest, "{}", fmt::join(problems, "; "));
}

const Schema* schema_of(const kube::ResourceType& type) {
  static const Schema imports = built_in(kImportCrd, "virtualmachineimports.yaml");
  static const Schema mappings = built_in(kMappingCrd, "resourcemappings.yaml");
  if (type == kube::types::kVirtualMachineImport) return &imports;
  if (type == kube::types::kResourceMapping) return &mappings;
  return nullptr;
}

}  // namespace vmferry::embedded
