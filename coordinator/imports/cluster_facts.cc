#include "coordinator/imports/cluster_facts.h"

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

}  // namespace vmferry::imports
