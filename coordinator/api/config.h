#pragma once

#include <map>
#include <optional>
#include <string>

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
};
ControllerConfig parse_controller_config(const std::optional<kube::Object>& config_map,
                                         const std::optional<kube::Object>& kubevirt_config_map,
                                         const std::optional<kube::Object>& kubevirt);

}  // namespace vmferry::api
