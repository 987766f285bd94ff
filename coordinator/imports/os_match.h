#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/result.h"
#include "coordinator/api/config.h"
#include "coordinator/kube/object.h"
#include "coordinator/provider/source_vm.h"

namespace vmferry::imports {

// os-and-templates.md 1: guest agent distribution -> prefix, source OS id -> common OS name.
struct OsMaps {
  std::map<std::string, std::string> guestos2common;
  std::map<std::string, std::string> osinfo2common;
  // For a source that says no more than "Linux" or "Windows"; empty: as upstream, rhel8.2 and win10
  // for oVirt, rhel8 and windows for VMware.
  std::string default_linux, default_windows;
};
OsMaps builtin_os_maps();
// With what the controller's configuration says of systems: the defaults, and the switch that makes
// windows9Server64Guest the Server 2016 that it is.
OsMaps configured_os_maps(const api::ControllerConfig& config);
// Adds or replaces entries by those of the user's ConfigMap; an empty value removes one.
Result<OsMaps> overlay_os_maps(OsMaps base, const kube::Object& config_map);

// The maps with the user's ConfigMap in them. Where that cannot be used, `problem` says why, the
// maps are the built-in ones, and no OS is detected (os-and-templates.md 1.1).
struct UserOsMaps {
  OsMaps maps;
  std::optional<Error> problem;
  std::optional<Finding> note;  // the configuration names no map though it seems to want one
};

struct OsMatch {
  std::string os;   // the common OS name: "rhel8.1", "win2k19"
  std::string why;  // what in the source told it: "the configured guest id is 'rhel8_64Guest'"
  friend bool operator==(const OsMatch&, const OsMatch&) = default;
};
// os-and-templates.md 2, per provider. NotFound when nothing in the source tells.
Result<OsMatch> match_os(const SourceVm& vm, const OsMaps& maps);
// Its name alone.
Result<std::string> find_os(const SourceVm& vm, const OsMaps& maps);

}  // namespace vmferry::imports
