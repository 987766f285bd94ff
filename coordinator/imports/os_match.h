#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/result.h"
#include "coordinator/kube/object.h"
#include "coordinator/provider/source_vm.h"

namespace vmferry::imports {

// os-and-templates.md 1: guest agent distribution -> prefix, source OS id -> common OS name.
struct OsMaps {
  std::map<std::string, std::string> guestos2common;
  std::map<std::string, std::string> osinfo2common;
};
OsMaps builtin_os_maps();
// Adds or replaces entries by those of the user's ConfigMap; an empty value removes one.
Result<OsMaps> overlay_os_maps(OsMaps base, const kube::Object& config_map);

struct OsMatch {
  std::string os;   // the common OS name: "rhel8.1", "win2k19"
  std::string why;  // what in the source told it: "guest id 'rhel8_64Guest' stands for it"
  friend bool operator==(const OsMatch&, const OsMatch&) = default;
};
// os-and-templates.md 2, per provider. NotFound when nothing in the source tells.
Result<OsMatch> match_os(const SourceVm& vm, const OsMaps& maps);
// Its name alone.
Result<std::string> find_os(const SourceVm& vm, const OsMaps& maps);

}  // namespace vmferry::imports
