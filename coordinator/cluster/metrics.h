#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "coordinator/fleet/fleet.h"
#include "coordinator/imports/outcomes.h"

namespace vmferry::cluster {

struct MetricsInput {
  bool leader = false;
  std::size_t queue = 0;                         // imports that wait for a pass
  std::map<std::string, std::uint64_t> imports;  // by phase
  imports::Outcomes::Counts outcomes;            // since this coordinator began to act
  std::vector<AgentView> agents;
  std::uint64_t bytes_moved_by_forgotten = 0;  // by agents that are not among them any more
  std::vector<TransferView> transfers;
  Fleet::GateCounts hellos;
  std::map<int, std::uint64_t> api_answers;  // by HTTP status; 0: none came
};

// Prometheus' text format. Pure. Imports and disks do not become labels: they are without bound.
std::string metrics_text(const MetricsInput& input);

// What an import is at, in one word: its Succeeded, else its Processing or Valid condition's
// reason, as people see it; "New" before the first.
std::string phase_of(const nlohmann::json& import);

}  // namespace vmferry::cluster
