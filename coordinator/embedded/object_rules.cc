#include "coordinator/embedded/object_rules.h"

#include <random>

#include "common/catalogue.h"
#include "common/http_client.h"
#include "common/id.h"
#include "coordinator/embedded/metadata_check.h"
#include "coordinator/embedded/schema.h"

namespace vmferry::embedded {
namespace {

using nlohmann::json;

// What etcd takes by default; kept here so that nothing works embedded and fails on a cluster.
constexpr std::size_t kMaxObjectBytes = 1536 * 1024;

// The API's suffix: no vowels, so that no words come out.
std::string generated_name(const std::string& prefix) {
  constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
  constexpr std::size_t kMaxPrefix = 58;
  std::random_device random;
  std::uniform_int_distribution<std::size_t> letter(0, kLetters.size() - 1);
  std::string name = prefix.substr(0, kMaxPrefix);
  for (int i = 0; i < 5; ++i) name += kLetters[letter(random)];
  return name;
}

// Secrets are written with plain stringData and read with base64 data.
Result<void> merge_string_data(json& secret) {
  const auto plain = secret.find("stringData");
  if (plain != secret.end() && plain->is_object()) {
    for (const auto& [key, value] : plain->items()) {
      if (value.is_null()) continue;
      if (!value.is_string()) return invalid_field("stringData." + key, "must be a string");
      secret["data"][key] = base64_encode(value.get_ref<const std::string&>());
    }
  }
  secret.erase("stringData");
  const auto data = secret.find("data");
  if (data == secret.end()) return {};
  if (!data->is_object()) return invalid_field("data", "must be an object");
  for (const auto& [key, value] : data->items()) {
    if (!value.is_string() || !base64_decode(value.get_ref<const std::string&>())) {
      return invalid_field("data." + key, "must be base64; plain text goes under stringData");
    }
  }
  if (!secret.contains("type")) secret["type"] = "Opaque";
  return {};
}

// A null is an absent member, in objects of every kind.
void drop_nulls(json& value) {
  if (value.is_array()) {
    for (json& item : value) drop_nulls(item);
  }
  if (!value.is_object()) return;
  for (auto it = value.begin(); it != value.end();) {
    if (it->is_null()) {
      it = value.erase(it);
    } else {
      drop_nulls(*it);
      ++it;
    }
  }
}

// The checks that every write ends with; prunes unknown fields of our kinds.
Result<void> finish(const kube::ResourceType& type, kube::Object& object) {
  if (type == kube::types::kSecret) TRY(merge_string_data(object.json()));
  TRY(check_metadata(type, object));
  if (const Schema* schema = schema_of(type)) TRY(schema->prune_and_validate(object.json()));
  if (object.json().dump(-1, ' ', false, json::error_handler_t::replace).size() > kMaxObjectBytes) {
    return invalid_field(object.name(), "is larger than the 1.5 MiB that the API takes");
  }
  return {};
}

Result<void> check_kind(const kube::ResourceType& type, const kube::Object& object) {
  const std::string kind = object.kind();
  const std::string version = object.api_version();
  if (!kind.empty() && kind != type.kind) {
    return invalid_field("kind", fmt::format("must be {}, not '{}'", type.kind, kind));
  }
  if (!version.empty() && kube::find_type(version, type.kind) == nullptr) {
    return invalid_field("apiVersion",
                         fmt::format("must be {}, not '{}'", type.api_version, version));
  }
  return {};
}

json without_metadata_and_status(json object) {
  object.erase("metadata");
  object.erase("status");
  return object;
}

}  // namespace

bool has_status_subresource(const kube::ResourceType& type) {
  using namespace kube::types;
  return type == kVirtualMachineImport || type == kResourceMapping || type == kVirtualMachine ||
         type == kPersistentVolumeClaim || type == kDataVolume;
}

Result<void> check_key(const kube::ResourceType& type, const kube::ObjectKey& key) {
  if (type.namespaced && key.ns.empty()) {
    return invalid_field("metadata.namespace", "is missing for a " + type.kind);
  }
  if (!type.namespaced && !key.ns.empty()) {
    return invalid_field("metadata.namespace", "must be absent: a " + type.kind + " has none");
  }
  if (key.name.empty()) return invalid_field("metadata.name", "is missing");
  return {};
}

Result<kube::Object> for_create(const kube::ResourceType& type, const kube::Object& object,
                                WallTime now) {
  kube::Object result = object;
  json& all = result.json();
  if (!all.is_object()) return invalid_field("the text", "must be an object");
  TRY(check_kind(type, object));
  drop_nulls(all);
  all["apiVersion"] = type.api_version;
  all["kind"] = type.kind;
  json& metadata = all["metadata"];
  if (metadata.is_null()) metadata = json::object();
  if (!metadata.is_object()) return invalid_field("metadata", "must be an object");
  if (result.name().empty() && metadata.contains("generateName") &&
      metadata["generateName"].is_string()) {
    metadata["name"] = generated_name(metadata["generateName"].get<std::string>());
  }
  // The server's own.
  for (const char* name : {"deletionTimestamp", "deletionGracePeriodSeconds", "selfLink",
                           "managedFields", "resourceVersion", "generation"}) {
    metadata.erase(name);
  }
  metadata["uid"] = random_uuid();
  metadata["creationTimestamp"] = to_rfc3339(now);
  if (has_status_subresource(type)) {
    metadata["generation"] = 1;
    all.erase("status");
  }
  TRY(finish(type, result));
  return result;
}

Result<void> check_preconditions(const kube::Object& object, const kube::Preconditions& wanted) {
  if (!wanted.uid.empty() && wanted.uid != object.uid()) {
    return make_error(ErrorKind::Aborted, "{} '{}' has uid {}, not {}", object.kind(),
                      object.key().to_string(), object.uid(), wanted.uid);
  }
  if (!wanted.resource_version.empty() && wanted.resource_version != object.resource_version()) {
    return make_error(ErrorKind::Aborted,
                      "{} '{}' was changed in between (resourceVersion {}, not {})", object.kind(),
                      object.key().to_string(), object.resource_version(), wanted.resource_version);
  }
  return {};
}

namespace {

// What the patch says about the object's identity: preconditions, or attempts to rename it.
Result<void> check_identity(const kube::Object& before, const json& merge_patch) {
  if (!merge_patch.is_object()) return invalid_field("the patch", "must be an object");
  const kube::Object patch(merge_patch);
  TRY(check_preconditions(before,
                          {.uid = patch.uid(), .resource_version = patch.resource_version()}));
  if (!patch.name().empty() && patch.name() != before.name()) {
    return invalid_field("metadata.name", "cannot be changed");
  }
  if (!patch.ns().empty() && patch.ns() != before.ns()) {
    return invalid_field("metadata.namespace", "cannot be changed");
  }
  return {};
}

}  // namespace

Result<kube::Object> patched(const kube::ResourceType& type, const kube::Object& before,
                             const json& merge_patch) {
  TRY(check_identity(before, merge_patch));
  TRY(check_kind(type, kube::Object(merge_patch)));
  kube::Object after = before;
  json& all = after.json();
  all.merge_patch(merge_patch);
  drop_nulls(all);  // inside lists a merge patch leaves them
  if (!all.contains("metadata") || !all["metadata"].is_object()) {
    return invalid_field("metadata", "must be an object");
  }
  all["apiVersion"] = type.api_version;
  all["kind"] = type.kind;
  for (const char* name :
       {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp",
        "deletionGracePeriodSeconds", "generation", "resourceVersion", "generateName"}) {
    const json& old = before.json().at("metadata");
    if (old.contains(name)) {
      all["metadata"][name] = old.at(name);
    } else {
      all["metadata"].erase(name);
    }
  }
  if (has_status_subresource(type)) {
    all.erase("status");
    if (before.json().contains("status")) all["status"] = before.json().at("status");
  }
  if (before.deleting()) {
    for (const std::string& finalizer : after.finalizers()) {
      if (before.has_finalizer(finalizer)) continue;
      return invalid_field("metadata.finalizers",
                           "cannot get '" + finalizer + "': the object is being deleted");
    }
  }
  TRY(finish(type, after));
  if (has_status_subresource(type) &&
      without_metadata_and_status(before.json()) != without_metadata_and_status(all)) {
    all["metadata"]["generation"] = before.generation() + 1;
  }
  return after;
}

Result<kube::Object> status_patched(const kube::ResourceType& type, const kube::Object& before,
                                    const json& merge_patch) {
  if (!has_status_subresource(type)) {
    return make_error(ErrorKind::InvalidArgument, "a {} has no status that can be written",
                      type.kind);
  }
  TRY(check_identity(before, merge_patch));
  kube::Object after = before;
  const auto status = merge_patch.find("status");
  if (status == merge_patch.end()) return after;
  after.json().merge_patch(json{{"status", *status}});
  drop_nulls(after.json());
  TRY(finish(type, after));
  return after;
}

}  // namespace vmferry::embedded
