#pragma once

#include <span>
#include <string_view>

// The data of os-and-templates.md 1.2 and 1.3. Code uses builtin_os_maps() of os_match.h.
namespace vmferry::imports {

struct OsMapEntry {
  std::string_view key, value;
};

// Upstream's content, oddities included: 6 distributions, 35 oVirt and 49 VMware identifiers.
std::span<const OsMapEntry> upstream_guest_os();
std::span<const OsMapEntry> upstream_os_info();
// What we add; no key of it is in the lists above.
std::span<const OsMapEntry> added_guest_os();
std::span<const OsMapEntry> added_os_info();

}  // namespace vmferry::imports
