#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/kube/object.h"

namespace vmferry::imports {

// What the decisions need to know of the cluster, read by the reconciler before it decides.
struct ClusterFacts {
  std::map<std::string, kube::Object> storage_classes;  // by name
  std::map<kube::ObjectKey, kube::Object> network_attachments;
  std::vector<kube::Object> templates;
  bool has_template_api = true;
  std::map<std::string, double> overhead_by_class;
  double overhead_global = 0.055;
  bool overhead_known = false;  // a CDIConfig was read; else claims are files of exact size

  // Classes annotated storageclass.kubernetes.io/is-default-class: "true", sorted by name.
  std::vector<std::string> default_classes() const;
};

}  // namespace vmferry::imports
