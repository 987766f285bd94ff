#pragma once

#include <string>
#include <string_view>

namespace vmferry::ovirt {

// The CPU model of a custom CPU, "Skylake-Client-IBRS,+spec-ctrl", by the name that libvirt, and so
// KubeVirt, knows it by: without the features behind the comma, and empty for a name that no
// release knows. KubeVirt would never schedule a VM with one of those (mapping-ovirt.md 4).
std::string known_cpu_model(std::string_view custom);

}  // namespace vmferry::ovirt
