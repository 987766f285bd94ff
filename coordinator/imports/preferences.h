#pragma once

#include <string>
#include <vector>

#include "coordinator/kube/object.h"
#include "coordinator/provider/source_vm.h"

// KubeVirt's preferences and instance types, where a cluster has the common ones, pure.
namespace vmferry::imports {

// Names that the common preferences have for an OS, the best first: rhel8.1 is "rhel.8", then
// "rhel"; win2k19 is "windows.2k19"; centos-stream9 is "centos.stream9".
std::vector<std::string> preference_candidates(const std::string& os);

// None when no name fits: another system's preference would do more harm than none.
const kube::Object* find_preference(const std::vector<kube::Object>& preferences,
                                    const std::string& os);

// A plain instance type (CPUs and memory, nothing else) of exactly the source's size, the first by
// name; none when there is none, or when the source asks for more of its CPUs or memory (a model,
// pinning, huge pages), which KubeVirt refuses beside an instance type.
const kube::Object* find_instancetype(const std::vector<kube::Object>& instancetypes,
                                      const SourceVm& vm);

}  // namespace vmferry::imports
