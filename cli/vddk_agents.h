#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "coordinator/fleet/fleet.h"
#include "coordinator/kube/object.h"

// How many agents can read disks through VMware's library, as far as `vmferry validate` can tell:
// what a VM with encrypted disks or snapshots may do depends on it. Pure; Stage asks.
namespace vmferry::cli {

struct VddkAgents {
  std::size_t with = 0, all = 0;
  bool said = true;         // by the agents themselves; false: by how their pods were started
  std::string unknown_why;  // nobody could be asked
  friend bool operator==(const VddkAgents&, const VddkAgents&) = default;
};

// Connected agents, as they told the coordinator.
VddkAgents vddk_agents(const std::vector<AgentView>& agents);
// Agents' pods that are ready: an argument names VDDK's folder. Whether it loads they alone know.
VddkAgents vddk_agents_of_pods(const std::vector<kube::Object>& pods);

// A sentence for people: what is known, and what the answer was made with.
std::string vddk_note(const VddkAgents& agents);

}  // namespace vmferry::cli
