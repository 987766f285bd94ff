#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/id.h"
#include "coordinator/provider/source_budget.h"

// Which queued transfer goes to which agent next: a pure function. Higher priority first; between
// namespaces of one priority the one that got fewest bytes; within a namespace the import that came
// first, its large disks first, spread over different agents. Caps are never exceeded.
namespace vmferry {

struct PlacementJob {
  JobId job;
  std::string import_key;
  std::string ns;
  std::string disk;       // its name, for people
  std::string datastore;  // empty: none
  std::string provider;
  std::string source_host;
  SourceBudget budget{};
  std::vector<std::string> nodes;  // that reach the target; empty: any but movers
  int priority = 0;
  std::uint64_t arrival = 0;  // of its import: lower came first
  std::uint64_t size_bytes = 0;
  bool needs_vddk = false;    // only an agent that has it can read the source
  std::set<AgentId> avoid;    // only if there is nobody else: it failed there
  std::set<AgentId> blocked;  // not at all: they refused it a moment ago
};

// Whether an agent on `node` may take a job of those nodes. A mover may take what names it.
bool reaches(const std::string& node, const std::vector<std::string>& nodes);

// The order of the queue.
struct PlacementOrder {
  bool operator()(const PlacementJob* a, const PlacementJob* b) const;
};

struct PlacementAgent {
  AgentId id;
  std::string node;
  std::uint32_t free_slots = 0;
  bool vddk = false;
};

struct PlacementRunning {
  AgentId agent;
  std::string import_key;
  std::string ns;
  std::string datastore;
  std::string provider;
  std::string source_host;
  SourceBudget budget{};
};

// 0: no cap. What one job alone takes more of than a cap goes when nothing else does.
struct PlacementLimits {
  int jobs_per_datastore = 0;
  int jobs_per_provider = 0;
  int jobs_per_source_host = 0;
  // Sums of SourceBudget.
  std::uint64_t bytes_per_source_host = 0;
  int connections_per_source_host = 0;
  int connections_per_provider = 0;
};

// Bytes given to each active namespace so far. One that becomes active starts level with the one
// that got least, so that neither its past nor its absence counts.
using NamespaceBytes = std::map<std::string, std::uint64_t>;

struct Assignment {
  const PlacementJob* job = nullptr;
  AgentId agent;
};

// `queue` in PlacementOrder. Charges `served` with the sizes of what it assigns.
std::vector<Assignment> place(const std::vector<const PlacementJob*>& queue,
                              const std::vector<PlacementAgent>& agents,
                              const std::vector<PlacementRunning>& running,
                              const PlacementLimits& limits, NamespaceBytes& served);

// Why `job` waits, in a few words; for people.
std::string why_waiting(const PlacementJob& job, const std::vector<PlacementAgent>& agents,
                        const std::vector<PlacementRunning>& running,
                        const PlacementLimits& limits);

}  // namespace vmferry
