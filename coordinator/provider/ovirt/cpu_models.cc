#include "coordinator/provider/ovirt/cpu_models.h"

#include <algorithm>

namespace vmferry::ovirt {
namespace {

// The families that libvirt's CPU maps for x86, POWER and Arm have; a version or a mitigation may
// follow with a dash ("-IBRS", "-noTSX", "-v2").
constexpr std::string_view kModels[] = {
    "486",           "pentium",        "pentium2",       "pentium3",       "pentiumpro",
    "coreduo",       "n270",           "core2duo",       "qemu32",         "qemu64",
    "kvm32",         "kvm64",          "cpu64-rhel5",    "cpu64-rhel6",    "Conroe",
    "Penryn",        "Nehalem",        "Westmere",       "SandyBridge",    "IvyBridge",
    "Haswell",       "Broadwell",      "Skylake-Client", "Skylake-Server", "Cascadelake-Server",
    "Cooperlake",    "Icelake-Client", "Icelake-Server", "Snowridge",      "SapphireRapids",
    "GraniteRapids", "SierraForest",   "athlon",         "phenom",         "Opteron_G1",
    "Opteron_G2",    "Opteron_G3",     "Opteron_G4",     "Opteron_G5",     "EPYC",
    "EPYC-Rome",     "EPYC-Milan",     "EPYC-Genoa",     "Dhyana",         "POWER6",
    "POWER7",        "POWER8",         "POWER9",         "POWER10",        "cortex-a53",
    "cortex-a57",    "cortex-a72",     "Kunpeng-920",    "FT-2000plus",    "Neoverse-N1",
};
constexpr std::string_view kSuffixes[] = {"-IBRS", "-IBPB", "-noTSX", "-noTSX-IBRS", "-v1", "-v2",
                                          "-v3",   "-v4",   "-v5",    "-v6",         "-v7"};

}  // namespace

std::string known_cpu_model(std::string_view custom) {
  const std::string_view name = custom.substr(0, custom.find(','));
  for (const std::string_view model : kModels) {
    if (!name.starts_with(model)) continue;
    const std::string_view rest = name.substr(model.size());
    if (rest.empty() || std::ranges::find(kSuffixes, rest) != std::end(kSuffixes)) {
      return std::string(name);
    }
  }
  return {};
}

}  // namespace vmferry::ovirt
