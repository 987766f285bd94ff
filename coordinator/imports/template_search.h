#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/provider/source_vm.h"

// What a template is looked for by, in order of preference (os-and-templates.md 1.3, 3), pure.
namespace vmferry::imports {

inline constexpr std::string_view kOsLabel = "os.template.kubevirt.io/";
inline constexpr std::string_view kWorkloadLabel = "workload.template.kubevirt.io/";
inline constexpr std::string_view kFlavorLabel = "flavor.template.kubevirt.io/";

// The OS itself; without a third version part; the newest minor of its major release among
// `known`; the major release; the newest of a family whose version is unknown; the family; at last
// "windows" or "linux". `known` are the OS labels that some template carries.
std::vector<std::string> os_candidates(const std::string& os, const std::set<std::string>& known);

// (workload, flavor): oVirt's own workload first, VMware's small before medium.
std::vector<std::pair<std::string, std::string>> workload_flavors(const SourceVm& vm);

}  // namespace vmferry::imports
