#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/kube/object.h"

namespace vmferry::api {

// ConfigMap vm-import-controller-config (api.md 8.1) and the feature gates (8.2), with defaults for
// whatever is missing or unparsable.
struct ControllerConfig {
  std::string os_config_map_name, os_config_map_namespace;
  int warm_max_failures = 10;
  int warm_consecutive_failures = 5;
  int warm_interval_minutes = 60;
  bool import_without_template = false;
  std::map<std::string, std::string> severity_overrides;  // rule id -> log|warn|block (ours)
  bool time_zone_blocks = false;
  // Ours. Where templates are looked for first, and what an unknown system counts as
  // (os-and-templates.md 2.2, 3); empty defaults: as upstream, different for each provider.
  std::vector<std::string> template_namespaces = {"openshift"};
  std::optional<bool> builtin_templates;  // absent: where there is no template API
  std::string default_linux, default_windows;
  bool server_2016 = false;      // windows9Server64Guest is Server 2016 and not, as upstream, 2019
  bool use_preferences = false;  // a VirtualMachineClusterPreference instead of a template
  bool live_migration = true;    // false: this KubeVirt has the gate, and it is off
};
ControllerConfig parse_controller_config(const std::optional<kube::Object>& config_map,
                                         const std::optional<kube::Object>& kubevirt_config_map,
                                         const std::optional<kube::Object>& kubevirt);

}  // namespace vmferry::api
