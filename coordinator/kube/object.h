#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>
#include <nlohmann/json_fwd.hpp>

#include "common/result.h"

namespace vmferry::kube {

// A kind of object as the API serves it.
struct ResourceType {
  std::string api_version;  // "v1", "v2v.kubevirt.io/v1beta1"
  std::string kind;         // "VirtualMachineImport"
  std::string plural;       // "virtualmachineimports"
  bool namespaced = true;

  std::string group() const;  // "" for the core group
  std::string version() const;
  friend auto operator<=>(const ResourceType&, const ResourceType&) = default;
};

// The kinds that we touch, each spelled once (object.cc).
namespace types {
extern const ResourceType kVirtualMachineImport, kResourceMapping, kSecret, kConfigMap, kEvent,
    kPersistentVolumeClaim, kStorageClass, kTemplate, kVirtualMachine, kVirtualMachineInstance,
    kDataVolume, kNetworkAttachmentDefinition, kNamespace, kLease, kPod, kCdiConfig, kKubeVirt,
    kPersistentVolume, kVolumeAttachment, kStorageProfile;
}
// By kind, plural, short name or "plural.group", case-insensitively: "vmimport", "imports", "vm".
const ResourceType* find_type(std::string_view name);
const ResourceType* find_type(std::string_view api_version, std::string_view kind);
const std::vector<const ResourceType*>& all_types();

struct ObjectKey {
  std::string ns;  // empty for cluster-scoped kinds
  std::string name;
  std::string to_string() const;  // "ns/name"
  friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
};

struct OwnerReference {
  std::string api_version, kind, name, uid;
  bool controller = false;
  bool block_owner_deletion = false;
  friend bool operator==(const OwnerReference&, const OwnerReference&) = default;
};

// An object as JSON, with readers for its metadata. Readers are total: absent is empty.
class Object {
 public:
  Object() : json_(nlohmann::json::object()) {}
  explicit Object(nlohmann::json json) : json_(std::move(json)) {}

  const nlohmann::json& json() const { return json_; }
  nlohmann::json& json() { return json_; }

  std::string api_version() const;
  std::string kind() const;
  std::string name() const;
  std::string ns() const;
  ObjectKey key() const;
  std::string uid() const;
  std::string resource_version() const;
  std::int64_t generation() const;
  std::string creation_timestamp() const;
  std::string deletion_timestamp() const;  // empty: nobody has deleted it
  bool deleting() const;
  std::map<std::string, std::string> labels() const;
  std::map<std::string, std::string> annotations() const;
  std::optional<std::string> annotation(std::string_view name) const;
  std::vector<std::string> finalizers() const;
  bool has_finalizer(std::string_view name) const;
  std::vector<OwnerReference> owners() const;
  bool controlled_by(std::string_view uid) const;

  friend bool operator==(const Object&, const Object&) = default;

 private:
  nlohmann::json json_;
};

}  // namespace vmferry::kube
