#include "coordinator/kube/object.h"

#include <algorithm>
#include <cctype>

#include "coordinator/kube/optional_types.h"

namespace vmferry::kube {

std::string ResourceType::group() const {
  const std::size_t slash = api_version.find('/');
  return slash == std::string::npos ? "" : api_version.substr(0, slash);
}

std::string ResourceType::version() const {
  const std::size_t slash = api_version.find('/');
  return slash == std::string::npos ? api_version : api_version.substr(slash + 1);
}

namespace types {
// The versions are those of api.md 8.6.
const ResourceType kVirtualMachineImport{"v2v.kubevirt.io/v1beta1", "VirtualMachineImport",
                                         "virtualmachineimports", true};
const ResourceType kResourceMapping{"v2v.kubevirt.io/v1beta1", "ResourceMapping",
                                    "resourcemappings", true};
const ResourceType kSecret{"v1", "Secret", "secrets", true};
const ResourceType kConfigMap{"v1", "ConfigMap", "configmaps", true};
const ResourceType kEvent{"v1", "Event", "events", true};
const ResourceType kPersistentVolumeClaim{"v1", "PersistentVolumeClaim", "persistentvolumeclaims",
                                          true};
const ResourceType kStorageClass{"storage.k8s.io/v1", "StorageClass", "storageclasses", false};
const ResourceType kTemplate{"template.openshift.io/v1", "Template", "templates", true};
const ResourceType kVirtualMachine{"kubevirt.io/v1", "VirtualMachine", "virtualmachines", true};
const ResourceType kVirtualMachineInstance{"kubevirt.io/v1", "VirtualMachineInstance",
                                           "virtualmachineinstances", true};
const ResourceType kDataVolume{"cdi.kubevirt.io/v1beta1", "DataVolume", "datavolumes", true};
const ResourceType kNetworkAttachmentDefinition{"k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition",
                                                "network-attachment-definitions", true};
const ResourceType kNamespace{"v1", "Namespace", "namespaces", false};
const ResourceType kLease{"coordination.k8s.io/v1", "Lease", "leases", true};
const ResourceType kPod{"v1", "Pod", "pods", true};
const ResourceType kCdiConfig{"cdi.kubevirt.io/v1beta1", "CDIConfig", "cdiconfigs", false};
const ResourceType kKubeVirt{"kubevirt.io/v1", "KubeVirt", "kubevirts", true};
const ResourceType kPersistentVolume{"v1", "PersistentVolume", "persistentvolumes", false};
const ResourceType kVolumeAttachment{"storage.k8s.io/v1", "VolumeAttachment", "volumeattachments",
                                     false};
const ResourceType kStorageProfile{"cdi.kubevirt.io/v1beta1", "StorageProfile", "storageprofiles",
                                   false};
const ResourceType kClusterPreference{"instancetype.kubevirt.io/v1beta1",
                                      "VirtualMachineClusterPreference",
                                      "virtualmachineclusterpreferences", false};
const ResourceType kClusterInstancetype{"instancetype.kubevirt.io/v1beta1",
                                        "VirtualMachineClusterInstancetype",
                                        "virtualmachineclusterinstancetypes", false};
}  // namespace types

namespace {

struct Alias {
  std::string_view name;
  const ResourceType* type;
};

// Short names as the API servers announce them, and the words of our own command line.
const std::vector<Alias>& aliases() {
  static const std::vector<Alias> list{
      {"vmimport", &types::kVirtualMachineImport},
      {"vmimports", &types::kVirtualMachineImport},
      {"import", &types::kVirtualMachineImport},
      {"imports", &types::kVirtualMachineImport},
      {"mapping", &types::kResourceMapping},
      {"mappings", &types::kResourceMapping},
      {"vm", &types::kVirtualMachine},
      {"vms", &types::kVirtualMachine},
      {"vmi", &types::kVirtualMachineInstance},
      {"vmis", &types::kVirtualMachineInstance},
      {"dv", &types::kDataVolume},
      {"dvs", &types::kDataVolume},
      {"pvc", &types::kPersistentVolumeClaim},
      {"pvcs", &types::kPersistentVolumeClaim},
      {"claim", &types::kPersistentVolumeClaim},
      {"claims", &types::kPersistentVolumeClaim},
      {"sc", &types::kStorageClass},
      {"cm", &types::kConfigMap},
      {"ev", &types::kEvent},
      {"ns", &types::kNamespace},
      {"po", &types::kPod},
      {"net-attach-def", &types::kNetworkAttachmentDefinition},
      {"kv", &types::kKubeVirt},
  };
  return list;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

// Versions besides ours that the API serves for the same objects: manifests written for them work.
bool is_also_served(std::string_view api_version) {
  return api_version == "v2v.kubevirt.io/v1alpha1" || api_version == "kubevirt.io/v1alpha3" ||
         api_version == "cdi.kubevirt.io/v1alpha1";
}

const nlohmann::json& member(const nlohmann::json& json, const char* name) {
  static const nlohmann::json null;
  if (!json.is_object()) return null;
  const auto found = json.find(name);
  return found == json.end() ? null : *found;
}

std::string text(const nlohmann::json& json) {
  return json.is_string() ? json.get_ref<const std::string&>() : "";
}

bool truth(const nlohmann::json& json) { return json.is_boolean() && json.get<bool>(); }

const nlohmann::json& metadata(const nlohmann::json& object) { return member(object, "metadata"); }

std::map<std::string, std::string> text_map(const nlohmann::json& json) {
  std::map<std::string, std::string> result;
  if (!json.is_object()) return result;
  for (const auto& [key, value] : json.items()) {
    if (value.is_string()) result.emplace(key, value.get_ref<const std::string&>());
  }
  return result;
}

}  // namespace

const std::vector<const ResourceType*>& all_types() {
  static const std::vector<const ResourceType*> list{
      &types::kVirtualMachineImport,
      &types::kResourceMapping,
      &types::kSecret,
      &types::kConfigMap,
      &types::kEvent,
      &types::kPersistentVolumeClaim,
      &types::kStorageClass,
      &types::kTemplate,
      &types::kVirtualMachine,
      &types::kVirtualMachineInstance,
      &types::kDataVolume,
      &types::kNetworkAttachmentDefinition,
      &types::kNamespace,
      &types::kLease,
      &types::kPod,
      &types::kCdiConfig,
      &types::kKubeVirt,
      &types::kPersistentVolume,
      &types::kVolumeAttachment,
      &types::kStorageProfile,
      &types::kClusterPreference,
      &types::kClusterInstancetype,
  };
  return list;
}

const ResourceType* find_type(std::string_view name) {
  std::string wanted = lower(name);
  for (const Alias& alias : aliases()) {
    if (alias.name == wanted) return alias.type;
  }
  // "plural.group" and "plural.version.group"; no kind or plural of ours holds a dot.
  const std::size_t dot = wanted.find('.');
  const std::string suffix = dot == std::string::npos ? "" : wanted.substr(dot + 1);
  wanted.resize(std::min(dot, wanted.size()));
  for (const ResourceType* type : all_types()) {
    if (wanted != type->plural && wanted != lower(type->kind)) continue;
    if (dot == std::string::npos || suffix == type->group() ||
        suffix == type->version() + "." + type->group()) {
      return type;
    }
  }
  return nullptr;
}

const ResourceType* find_type(std::string_view api_version, std::string_view kind) {
  for (const ResourceType* type : all_types()) {
    if (type->kind != kind) continue;
    if (type->api_version == api_version) return type;
    const std::string_view group = api_version.substr(0, api_version.find('/'));
    if (is_also_served(api_version) && group == type->group()) return type;
  }
  return nullptr;
}

std::string ObjectKey::to_string() const { return ns.empty() ? name : ns + "/" + name; }

std::string Object::api_version() const { return text(member(json_, "apiVersion")); }
std::string Object::kind() const { return text(member(json_, "kind")); }
std::string Object::name() const { return text(member(metadata(json_), "name")); }
std::string Object::ns() const { return text(member(metadata(json_), "namespace")); }
ObjectKey Object::key() const { return {ns(), name()}; }
std::string Object::uid() const { return text(member(metadata(json_), "uid")); }

std::string Object::resource_version() const {
  return text(member(metadata(json_), "resourceVersion"));
}

std::int64_t Object::generation() const {
  const nlohmann::json& value = member(metadata(json_), "generation");
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

std::string Object::creation_timestamp() const {
  return text(member(metadata(json_), "creationTimestamp"));
}

std::string Object::deletion_timestamp() const {
  return text(member(metadata(json_), "deletionTimestamp"));
}

bool Object::deleting() const { return !deletion_timestamp().empty(); }

std::map<std::string, std::string> Object::labels() const {
  return text_map(member(metadata(json_), "labels"));
}

std::map<std::string, std::string> Object::annotations() const {
  return text_map(member(metadata(json_), "annotations"));
}

std::optional<std::string> Object::annotation(std::string_view name) const {
  const nlohmann::json& all = member(metadata(json_), "annotations");
  if (!all.is_object()) return std::nullopt;
  const auto found = all.find(name);
  if (found == all.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

std::vector<std::string> Object::finalizers() const {
  std::vector<std::string> result;
  const nlohmann::json& list = member(metadata(json_), "finalizers");
  if (!list.is_array()) return result;
  for (const nlohmann::json& item : list) {
    if (item.is_string()) result.push_back(item.get<std::string>());
  }
  return result;
}

bool Object::has_finalizer(std::string_view name) const {
  const std::vector<std::string> all = finalizers();
  return std::find(all.begin(), all.end(), name) != all.end();
}

std::vector<OwnerReference> Object::owners() const {
  std::vector<OwnerReference> result;
  const nlohmann::json& list = member(metadata(json_), "ownerReferences");
  if (!list.is_array()) return result;
  for (const nlohmann::json& item : list) {
    if (!item.is_object()) continue;
    result.push_back({.api_version = text(member(item, "apiVersion")),
                      .kind = text(member(item, "kind")),
                      .name = text(member(item, "name")),
                      .uid = text(member(item, "uid")),
                      .controller = truth(member(item, "controller")),
                      .block_owner_deletion = truth(member(item, "blockOwnerDeletion"))});
  }
  return result;
}

bool Object::controlled_by(std::string_view uid) const {
  const std::vector<OwnerReference> all = owners();
  return std::any_of(all.begin(), all.end(), [uid](const OwnerReference& owner) {
    return owner.controller && owner.uid == uid;
  });
}

}  // namespace vmferry::kube
