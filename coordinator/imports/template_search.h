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

// What steers the search beside the source.
struct TemplateSearch {
  std::vector<std::string> namespaces;  // the one whose templates to prefer first
  // What a source is taken for that says "Linux" or "Windows" and no more (controller config).
  std::string generic_linux = "rhel8.2";
  std::string generic_windows = "win10";
};

// The OS itself; without a third version part; the newest minor of its major release among
// `known`; the major release; the newest of a family whose version is unknown; the family; at last
// "windows" or "linux"; for a source that says no more than these, the configured system and its
// relatives. `known` are the OS labels that some template carries.
std::vector<std::string> os_candidates(const std::string& os, const std::set<std::string>& known,
                                       const TemplateSearch& search = {});

// (workload, flavor): oVirt's own workload first, VMware's small before medium.
std::vector<std::pair<std::string, std::string>> workload_flavors(const SourceVm& vm);

}  // namespace vmferry::imports
