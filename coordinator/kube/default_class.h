#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/kube/object.h"

// Which StorageClass a claim that names none gets: one rule for checks, sizes and claims.
namespace vmferry::kube {

inline constexpr const char* kDefaultClass = "storageclass.kubernetes.io/is-default-class";
// What clusters upgraded from before 1.6 still carry; Kubernetes reads both.
inline constexpr const char* kBetaDefaultClass = "storageclass.beta.kubernetes.io/is-default-class";
// KubeVirt's: for disks of virtual machines it goes before the cluster's default.
inline constexpr const char* kVirtDefaultClass = "storageclass.kubevirt.io/is-default-virt-class";

struct NamedClass {
  std::string_view name;
  const Object* object;
};

// Names of the classes with the mark that counts, sorted: one is the default, none means that there
// is none, several that it is ambiguous. Kubernetes would take the youngest of several; for disks
// that cannot be moved without downtime afterwards that is no basis (validation.md 5).
struct DefaultClass {
  std::vector<std::string> names;

  bool none() const { return names.empty(); }
  bool ambiguous() const { return names.size() > 1; }
  // Empty unless there is exactly one.
  std::string name() const { return names.size() == 1 ? names.front() : std::string(); }
};
DefaultClass default_class(const std::vector<NamedClass>& classes);
DefaultClass default_class(const std::vector<Object>& classes);

}  // namespace vmferry::kube
