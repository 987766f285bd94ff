#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/kube/object.h"

namespace vmferry::imports {

// One class's StorageProfile, as far as claims need it.
struct ClassProfile {
  std::string volume_mode;                // empty: not said
  std::vector<std::string> access_modes;  // best first
  std::uint64_t minimum_bytes = 0;        // of a claim
  friend bool operator==(const ClassProfile&, const ClassProfile&) = default;
};
// The first of its property sets; those in spec, which an administrator wrote, count before those
// in status. Pure.
ClassProfile profile_from(const kube::Object& storage_profile);

// What the decisions need to know of the cluster, read by the reconciler before it decides.
struct ClusterFacts {
  std::map<std::string, kube::Object> storage_classes;  // by name
  std::map<kube::ObjectKey, kube::Object> network_attachments;
  std::vector<kube::Object> templates;
  bool has_template_api = true;
  std::map<std::string, double> overhead_by_class;
  double overhead_global = 0.055;
  bool overhead_known = false;  // a CDIConfig was read; else claims are files of exact size
  bool has_cdi = false;         // finished claims are adopted by DataVolumes
  // What CDI knows to work with a class (its StorageProfile), best first.
  std::map<std::string, ClassProfile> profiles;

  // Classes annotated storageclass.kubernetes.io/is-default-class: "true", sorted by name.
  std::vector<std::string> default_classes() const;
  // The class that a claim for `name` gets: itself; for the empty name the default one for virtual
  // machines, else the cluster's if there is exactly one. Empty: not known.
  std::string effective_class(const std::string& name) const;
};

}  // namespace vmferry::imports
