#include "coordinator/kube/apply.h"

#include "common/catalogue.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;

// The merge patch that makes `now` into `wanted`: as `wanted`, with null for what it lacks.
json replacing_patch(const json& now, const json& wanted) {
  if (!now.is_object() || !wanted.is_object()) return wanted;
  json patch = wanted;
  for (const auto& [key, value] : now.items()) {
    if (!wanted.contains(key)) {
      patch[key] = nullptr;
    } else {
      patch[key] = replacing_patch(value, wanted.at(key));
    }
  }
  return patch;
}

bool is_replaced(const ResourceType& type) {
  return type == types::kVirtualMachineImport || type == types::kResourceMapping ||
         type == types::kSecret || type == types::kConfigMap;
}

json patch_for(const ResourceType& type, const Object& now, const Object& wanted) {
  json patch = wanted.json();
  patch.erase("status");
  for (const char* name : {"resourceVersion", "uid", "creationTimestamp", "generation",
                           "managedFields", "selfLink", "deletionTimestamp"}) {
    if (patch.contains("metadata")) patch["metadata"].erase(name);
  }
  if (!is_replaced(type)) return patch;
  for (const char* field : {"spec", "data", "binaryData"}) {
    json target = patch.value(field, json::object());
    const json existing = now.json().value(field, json::object());
    patch[field] = replacing_patch(existing, target);
    // What stringData gives must not be removed as missing in data.
    if (std::string_view(field) == "data" && patch.contains("stringData")) {
      for (const auto& item : patch["stringData"].items()) {
        if (!target.contains(item.key())) patch[field].erase(item.key());
      }
    }
    if (patch[field].empty()) patch.erase(field);
  }
  return patch;
}

}  // namespace

std::string_view to_string(Applied applied) {
  switch (applied) {
    case Applied::Created:
      return "created";
    case Applied::Configured:
      return "configured";
    case Applied::Unchanged:
      return "unchanged";
  }
  return "unknown";
}

Result<ApplyResult> apply(Reader& reader, Writer& writer, const Object& wanted,
                          std::stop_token stop) {
  const ResourceType* type = find_type(wanted.api_version(), wanted.kind());
  if (type == nullptr) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest, "{} of {} is not a known kind",
                       wanted.kind(), wanted.api_version());
  }
  Object object = wanted;
  object.json()["apiVersion"] = type->api_version;
  if (wanted.name().empty()) {  // generateName: always a new one
    return ApplyResult{Applied::Created, TRY(writer.create(*type, object, {}, stop))};
  }
  std::optional<Object> now = TRY(get_if_exists(reader, *type, wanted.key(), stop));
  if (!now) {
    Result<Object> made = writer.create(*type, object, {}, stop);
    if (made) return ApplyResult{Applied::Created, *std::move(made)};
    if (made.error().kind() != ErrorKind::AlreadyExists) return std::move(made).error();
    // Somebody was faster; the reader may be a cache, so ask it for what is there now.
    now = TRY(reader.get(*type, wanted.key(), stop));
  }
  Object after = TRY(writer.patch(*type, wanted.key(), patch_for(*type, *now, object), {}, stop));
  const bool same = after.resource_version() == now->resource_version();
  return ApplyResult{same ? Applied::Unchanged : Applied::Configured, std::move(after)};
}

}  // namespace vmferry::kube
