#pragma once

#include <cstdint>

namespace vmferry {

// What the reading of one disk takes of its source at once (source-vmware.md 6.3, 8.5). 0: nothing
// that is counted.
struct SourceBudget {
  std::uint64_t host_bytes =
      0;                     // of the host's memory for reads: requests in flight and their size
  int host_connections = 0;  // over HTTPS, to the host itself
  int provider_connections = 0;  // over HTTPS, to the vCenter that relays the bytes
  friend bool operator==(const SourceBudget&, const SourceBudget&) = default;
};

}  // namespace vmferry
