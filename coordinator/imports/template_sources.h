#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/kube/object.h"
#include "coordinator/provider/source_vm.h"

// Templates for clusters without OpenShift's Template API, as ConfigMaps or files.
namespace vmferry::imports {

// Each key of a ConfigMap with this label holds Templates, as YAML or JSON.
inline constexpr std::string_view kTemplatesLabel = "vmimport.v2v.kubevirt.io/templates";

struct ShippedTemplates {
  std::vector<kube::Object> templates;
  std::vector<Finding> findings;  // rule "template.source": what could not be read
};

// Its Templates, in the ConfigMap's namespace. A key that is no Template costs a finding, not the
// other keys.
ShippedTemplates templates_of(const kube::Object& config_map);

// The Templates of the files *.yaml, *.yml and *.json of a directory, in order of their names; in
// no namespace unless they say so. A directory that does not exist has none.
ShippedTemplates templates_in(const std::string& directory);

}  // namespace vmferry::imports
