#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/kube/default_class.h"
#include "coordinator/kube/object.h"
#include "coordinator/provider/source_vm.h"

namespace vmferry::imports {

// What the decisions need to know of the cluster, read by observe.cc before they are made.
struct ClusterFacts {
  std::map<std::string, kube::Object> storage_classes;   // by name
  std::map<std::string, kube::Object> storage_profiles;  // by the name of their class; CDI's
  std::map<kube::ObjectKey, kube::Object> network_attachments;
  // OpenShift's Templates and those that ConfigMaps and files ship, of the namespaces that count.
  std::vector<kube::Object> templates;
  std::vector<std::string> template_namespaces;  // the same, the one to prefer first
  bool has_template_api = true;
  std::vector<kube::Object> preferences, instancetypes;  // only where they are to be used
  std::map<std::string, double> overhead_by_class;
  double overhead_global = 0.055;
  bool overhead_known = false;  // a CDIConfig was read; else claims are files of exact size
  bool has_cdi = false;         // finished claims are adopted by DataVolumes
  // What copies is this machine's and the user's own: its sockets and files may be named as
  // sources.
  bool local_sources = true;
  // What is wrong with what the administrator wrote for all imports (template ConfigMaps).
  std::vector<Finding> findings;

  kube::DefaultClass default_class() const;
  // The class that a claim for `name` gets: itself; for the empty name the default one. Empty:
  // there is none, or it is ambiguous.
  std::string effective_class(const std::string& name) const;
};

}  // namespace vmferry::imports
