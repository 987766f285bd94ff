#include "coordinator/imports/cluster_facts.h"

namespace vmferry::imports {

kube::DefaultClass ClusterFacts::default_class() const {
  std::vector<kube::NamedClass> classes;
  for (const auto& [name, storage_class] : storage_classes) {
    classes.push_back({name, &storage_class});
  }
  return kube::default_class(classes);
}

std::string ClusterFacts::effective_class(const std::string& name) const {
  return name.empty() ? default_class().name() : name;
}

}  // namespace vmferry::imports
