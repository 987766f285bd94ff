#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/api/import.h"
#include "coordinator/provider/source_vm.h"

namespace vmferry::cli {

// Where the rate of an estimate comes from.
struct AssumedRate {
  double bytes_per_second = 0;
  std::string how;  // "assumed", "--rate", "measured: ..."
  friend bool operator==(const AssumedRate&, const AssumedRate&) = default;
};

// What the latest import of that provider reached from its creation to its end, verification and
// waiting included; pure. Nothing when none moved enough, or lasted long enough, to tell: times
// are whole seconds.
std::optional<AssumedRate> measured_rate(const std::vector<api::VirtualMachineImport>& imports,
                                         ProviderKind provider);

}  // namespace vmferry::cli
