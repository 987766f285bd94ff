#include "coordinator/volumes/cluster/claim_objects.h"

#include <algorithm>
#include <array>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/kube/default_class.h"

namespace vmferry::volumes {
namespace {

using nlohmann::json;

// minikube, kind and k3s, MicroK8s, Docker Desktop, and KubeVirt's first host path provisioner.
constexpr std::array<std::string_view, 6> kHostPathProvisioners{"k8s.io/minikube-hostpath",
                                                                "rancher.io/local-path",
                                                                "microk8s.io/hostpath",
                                                                "docker.io/hostpath",
                                                                "kubevirt.io/hostpath-provisioner",
                                                                "kubernetes.io/host-path"};

std::string text_at(const kube::Object& object, const char* pointer) {
  const json::json_pointer path(pointer);
  const json& all = object.json();
  return all.contains(path) && all.at(path).is_string() ? all.at(path).get<std::string>() : "";
}

json owner_json(const kube::OwnerReference& owner) {
  return {{"apiVersion", owner.api_version},
          {"kind", owner.kind},
          {"name", owner.name},
          {"uid", owner.uid},
          {"controller", true},
          {"blockOwnerDeletion", owner.block_owner_deletion}};
}

}  // namespace

Result<kube::Object> choose_class(const std::vector<kube::Object>& classes,
                                  const std::string& name) {
  const kube::DefaultClass marked = kube::default_class(classes);
  const std::string wanted = name.empty() ? marked.name() : name;
  std::string names;
  for (const kube::Object& item : classes) {
    if (!wanted.empty() && item.name() == wanted) return item;
    names += (names.empty() ? "" : ", ") + item.name();
  }
  const std::string there =
      names.empty() ? std::string("the cluster has none") : "there are: " + names;
  if (marked.ambiguous() && name.empty()) {
    return coded_error(ErrorKind::NotFound, code::kStorageClass,
                       "several storage classes are the default: {}",
                       fmt::join(marked.names, ", "));
  }
  if (name.empty()) {
    return coded_error(ErrorKind::NotFound, code::kStorageClass,
                       "no storage class is the default ({}: \"true\"); {}", kube::kDefaultClass,
                       there);
  }
  return coded_error(ErrorKind::NotFound, code::kStorageClass,
                     "storage class '{}' does not exist; {}", name, there);
}

bool waits_for_first_consumer(const kube::Object& storage_class) {
  return text_at(storage_class, "/volumeBindingMode") == "WaitForFirstConsumer";
}

bool makes_host_paths(const kube::Object& storage_class) {
  return std::ranges::find(kHostPathProvisioners, text_at(storage_class, "/provisioner")) !=
         kHostPathProvisioners.end();
}

bool is_host_path(const kube::Object& persistent_volume) {
  return persistent_volume.json().contains("/spec/hostPath"_json_pointer);
}

kube::Object claim_object(const ClaimSpec& spec, const kube::Object& storage_class) {
  json annotations(spec.annotations);
  if (annotations.is_null()) annotations = json::object();
  if (!spec.scheduling.is_null() && !spec.scheduling.empty()) {
    annotations[std::string(kSchedulingAnnotation)] = spec.scheduling.dump();
  }
  annotations[std::string(kDiskBytesAnnotation)] = std::to_string(spec.disk_bytes);
  if (waits_for_first_consumer(storage_class)) {
    annotations[std::string(kPlacedAnnotation)] = "true";
  }
  const bool block = spec.volume_mode == VolumeMode::Block;
  return kube::Object(
      {{"apiVersion", "v1"},
       {"kind", "PersistentVolumeClaim"},
       {"metadata",
        {{"name", spec.key.name},
         {"namespace", spec.key.ns},
         {"labels", spec.labels},
         {"annotations", std::move(annotations)},
         {"ownerReferences", json::array({owner_json(spec.owner)})}}},
       {"spec",
        {{"accessModes", {spec.access_mode}},
         {"resources", {{"requests", {{"storage", std::to_string(spec.request_bytes)}}}}},
         {"storageClassName", storage_class.name()},
         {"volumeMode", block ? "Block" : "Filesystem"}}}});
}

bool is_block_claim(const kube::Object& claim) {
  return text_at(claim, "/spec/volumeMode") == "Block";
}

bool is_bound(const kube::Object& claim) { return text_at(claim, "/status/phase") == "Bound"; }

bool is_owned_by(const kube::Object& object, std::string_view uid) {
  return std::ranges::any_of(object.owners(),
                             [&](const kube::OwnerReference& owner) { return owner.uid == uid; });
}

std::string volume_of(const kube::Object& claim) { return text_at(claim, "/spec/volumeName"); }

Result<void> check_capacity(const kube::Object& claim) {
  const auto capacity = parse_quantity(text_at(claim, "/status/capacity/storage"));
  const auto needed = parse_quantity(claim.annotation(kDiskBytesAnnotation).value_or(""));
  if (!capacity || !needed || *capacity >= *needed) return {};
  return coded_error(ErrorKind::ResourceExhausted, code::kTargetTooSmall,
                     "claim '{}' got a volume of {}, the disk needs {}", claim.key().to_string(),
                     human_bytes(*capacity), human_bytes(*needed));
}

}  // namespace vmferry::volumes
