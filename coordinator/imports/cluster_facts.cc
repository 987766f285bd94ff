#include "coordinator/imports/cluster_facts.h"

#include "common/bytes.h"

namespace vmferry::imports {

std::vector<std::string> ClusterFacts::default_classes() const {
  std::vector<std::string> names;
  for (const auto& [name, storage_class] : storage_classes) {
    const std::optional<std::string> marked =
        storage_class.annotation("storageclass.kubernetes.io/is-default-class");
    // The beta key is what clusters upgraded from before 1.6 still carry; Kubernetes reads both.
    const std::optional<std::string> beta =
        storage_class.annotation("storageclass.beta.kubernetes.io/is-default-class");
    if (marked == "true" || beta == "true") names.push_back(name);
  }
  return names;
}

std::string ClusterFacts::effective_class(const std::string& name) const {
  if (!name.empty()) return name;
  for (const auto& [candidate, storage_class] : storage_classes) {
    if (storage_class.annotation("storageclass.kubevirt.io/is-default-virt-class") == "true") {
      return candidate;
    }
  }
  const std::vector<std::string> defaults = default_classes();
  return defaults.size() == 1 ? defaults.front() : "";
}

ClassProfile profile_from(const kube::Object& storage_profile) {
  const nlohmann::json& all = storage_profile.json();
  ClassProfile profile;
  for (const char* where : {"/spec/claimPropertySets", "/status/claimPropertySets"}) {
    const nlohmann::json sets =
        all.value(nlohmann::json::json_pointer(where), nlohmann::json::array());
    if (!sets.is_array() || sets.empty() || !sets.front().is_object()) continue;
    const nlohmann::json& best = sets.front();
    if (best.contains("volumeMode") && best["volumeMode"].is_string()) {
      profile.volume_mode = best["volumeMode"].get<std::string>();
    }
    for (const auto& mode : best.value("accessModes", nlohmann::json::array())) {
      if (mode.is_string()) profile.access_modes.push_back(mode.get<std::string>());
    }
    break;
  }
  const auto minimum = parse_quantity(
      storage_profile.annotation("cdi.kubevirt.io/minimumSupportedPvcSize").value_or(""));
  if (minimum) profile.minimum_bytes = *minimum;
  return profile;
}

}  // namespace vmferry::imports
