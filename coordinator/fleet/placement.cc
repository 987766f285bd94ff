#include "coordinator/fleet/placement.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "common/error.h"
#include "common/protocol.h"

namespace vmferry {
namespace {

// What is in use of each capped thing.
class Usage {
 public:
  explicit Usage(const PlacementLimits& limits) : limits_(limits) {}

  template <typename Job>
  void add(const Job& job) {
    ++datastores_[job.datastore];
    Use& provider = providers_[job.provider];
    ++provider.jobs;
    provider.connections += static_cast<std::uint64_t>(job.budget.provider_connections);
    Use& host = hosts_[job.source_host];
    ++host.jobs;
    host.connections += static_cast<std::uint64_t>(job.budget.host_connections);
    host.bytes += job.budget.host_bytes;
  }
  // The name of what is used up; empty: there is room.
  std::string full(const PlacementJob& job) const {
    const SourceBudget& takes = job.budget;
    const auto store = datastores_.find(job.datastore);
    if (store != datastores_.end() && exceeds(limits_.jobs_per_datastore, store->second, 1) &&
        !job.datastore.empty()) {
      return "datastore " + job.datastore;
    }
    const Use provider = use_of(providers_, job.provider);
    if (exceeds(limits_.jobs_per_provider, provider.jobs, 1)) return "provider " + job.provider;
    if (exceeds(limits_.connections_per_provider, provider.connections,
                takes.provider_connections)) {
      return "connections to provider " + job.provider;
    }
    const Use host = use_of(hosts_, job.source_host);
    if (exceeds(limits_.jobs_per_source_host, host.jobs, 1)) {
      return "source host " + job.source_host;
    }
    if (exceeds(limits_.connections_per_source_host, host.connections, takes.host_connections)) {
      return "connections to source host " + job.source_host;
    }
    if (exceeds(limits_.bytes_per_source_host, host.bytes, takes.host_bytes)) {
      return "source host " + job.source_host + "'s memory for reads";
    }
    return "";
  }

 private:
  struct Use {
    std::uint64_t jobs = 0, connections = 0, bytes = 0;
  };
  using Uses = std::unordered_map<std::string, Use>;
  static Use use_of(const Uses& uses, const std::string& name) {
    const auto found = uses.find(name);
    return name.empty() || found == uses.end() ? Use{} : found->second;
  }
  template <typename Limit, typename More>
  static bool exceeds(Limit limit, std::uint64_t used, More more) {
    return limit > 0 && used > 0 && more > 0 &&
           used + static_cast<std::uint64_t>(more) > static_cast<std::uint64_t>(limit);
  }

  PlacementLimits limits_;
  std::unordered_map<std::string, std::uint64_t> datastores_;
  Uses providers_;
  Uses hosts_;
};

// The agents with free slots, and how the running jobs lie on them.
class Slots {
 public:
  Slots(const std::vector<PlacementAgent>& agents, const std::vector<PlacementRunning>& running)
      : agents_(agents) {
    for (std::size_t i = 0; i < agents_.size(); ++i) {
      index_[agents_[i].id.value] = i;
      if (agents_[i].free_slots > 0) {
        by_node_[agents_[i].node].push_back(i);
        free_.push_back(i);
        if (!protocol::is_mover_node(agents_[i].node)) roaming_.push_back(i);
      }
    }
    load_.resize(agents_.size());
    for (const PlacementRunning& job : running) {
      const auto agent = index_.find(job.agent.value);
      if (agent == index_.end()) continue;
      ++load_[agent->second];
      ++imports_[job.import_key][agent->second];
    }
  }

  bool none_free() const { return free_.empty(); }

  std::optional<std::size_t> best_for(const PlacementJob& job) const {
    std::optional<std::size_t> best;
    const auto import = imports_.find(job.import_key);
    const auto rank = [&](std::size_t i) {
      int same_import = 0;
      if (import != imports_.end()) {
        const auto on_agent = import->second.find(i);
        if (on_agent != import->second.end()) same_import = on_agent->second;
      }
      return std::tuple(job.avoid.contains(agents_[i].id), same_import, load_[i],
                        std::numeric_limits<std::uint32_t>::max() - agents_[i].free_slots, i);
    };
    decltype(rank(0)) best_rank{};
    const auto consider = [&](const std::vector<std::size_t>& candidates) {
      for (const std::size_t i : candidates) {
        if (agents_[i].free_slots == 0 || job.blocked.contains(agents_[i].id)) continue;
        if (job.needs_vddk && !agents_[i].vddk) continue;
        const auto its_rank = rank(i);
        if (best && best_rank <= its_rank) continue;
        best = i;
        best_rank = its_rank;
      }
    };
    if (job.nodes.empty()) {
      consider(roaming_);
    } else {
      for (const std::string& node : job.nodes) {
        const auto found = by_node_.find(node);
        if (found != by_node_.end()) consider(found->second);
      }
    }
    return best;
  }

  const AgentId& take(std::size_t agent, const PlacementJob& job) {
    ++load_[agent];
    ++imports_[job.import_key][agent];
    if (--agents_[agent].free_slots == 0) {
      std::erase(free_, agent);
      std::erase(roaming_, agent);
      std::erase(by_node_[agents_[agent].node], agent);
    }
    return agents_[agent].id;
  }

 private:
  std::vector<PlacementAgent> agents_;
  std::unordered_map<std::string, std::size_t> index_;
  std::unordered_map<std::string, std::vector<std::size_t>> by_node_;
  std::vector<std::size_t> free_;
  std::vector<std::size_t> roaming_;  // of them, those that no job has to name: no movers
  std::vector<std::uint32_t> load_;
  std::unordered_map<std::string, std::unordered_map<std::size_t, int>> imports_;
};

// The stretch of the queue that belongs to one namespace and priority, and how far it is looked at.
struct Lane {
  std::string ns;
  std::size_t next = 0;
  std::size_t end = 0;
};

// Inactive namespaces are dropped and new ones start level with the least served.
void level(NamespaceBytes& served, const std::set<std::string>& active) {
  std::erase_if(served, [&](const auto& entry) { return !active.contains(entry.first); });
  std::uint64_t least = 0;
  if (!served.empty()) {
    least = std::min_element(served.begin(), served.end(), [](const auto& a, const auto& b) {
              return a.second < b.second;
            })->second;
  }
  for (const std::string& ns : active) served.try_emplace(ns, least);
}

}  // namespace

bool reaches(const std::string& node, const std::vector<std::string>& nodes) {
  if (nodes.empty()) return !protocol::is_mover_node(node);
  return std::ranges::find(nodes, node) != nodes.end();
}

bool PlacementOrder::operator()(const PlacementJob* a, const PlacementJob* b) const {
  // Larger first within an import: its last disk shall not trail.
  return std::tie(b->priority, a->ns, a->arrival, a->import_key, b->size_bytes, a->job) <
         std::tie(a->priority, b->ns, b->arrival, b->import_key, a->size_bytes, b->job);
}

std::vector<Assignment> place(const std::vector<const PlacementJob*>& queue,
                              const std::vector<PlacementAgent>& agents,
                              const std::vector<PlacementRunning>& running,
                              const PlacementLimits& limits, NamespaceBytes& served) {
  std::vector<Assignment> assignments;
  Slots slots(agents, running);
  Usage usage(limits);
  std::set<std::string> active;
  for (const PlacementRunning& job : running) {
    usage.add(job);
    active.insert(job.ns);
  }
  // Priorities, each with its lanes.
  std::vector<std::vector<Lane>> priorities;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    const bool new_priority = i == 0 || queue[i]->priority != queue[i - 1]->priority;
    if (new_priority) priorities.emplace_back();
    if (new_priority || queue[i]->ns != queue[i - 1]->ns) {
      priorities.back().push_back({queue[i]->ns, i, i});
      active.insert(queue[i]->ns);
    }
    priorities.back().back().end = i + 1;
  }
  level(served, active);

  for (std::vector<Lane>& lanes : priorities) {
    // While caps only fill up, a job that cannot go now cannot go later in this round: each is
    // looked at once.
    while (!lanes.empty() && !slots.none_free()) {
      const auto lane = std::min_element(
          lanes.begin(), lanes.end(),
          [&](const auto& a, const auto& b) { return served[a.ns] < served[b.ns]; });
      bool assigned = false;
      while (lane->next < lane->end && !assigned) {
        const PlacementJob& job = *queue[lane->next++];
        if (!usage.full(job).empty()) continue;
        const std::optional<std::size_t> agent = slots.best_for(job);
        if (!agent) continue;
        assignments.push_back({&job, slots.take(*agent, job)});
        usage.add(job);
        served[job.ns] += std::max<std::uint64_t>(job.size_bytes, 1);
        assigned = true;
      }
      if (!assigned) lanes.erase(lane);
    }
  }
  return assignments;
}

std::string why_waiting(const PlacementJob& job, const std::vector<PlacementAgent>& agents,
                        const std::vector<PlacementRunning>& running,
                        const PlacementLimits& limits) {
  bool reachable = false, free = false;
  for (const PlacementAgent& agent : agents) {
    if (job.needs_vddk && !agent.vddk) continue;
    if (!reaches(agent.node, job.nodes)) continue;
    reachable = true;
    free = free || (agent.free_slots > 0 && !job.blocked.contains(agent.id));
  }
  if (!reachable) {
    std::string where;
    for (const std::string& node : job.nodes) where += (where.empty() ? "" : ", ") + node;
    if (!where.empty()) where = " on a node that reaches the target (" + where + ")";
    if (job.needs_vddk) {
      return fmt::format(
          "an agent with VDDK{}: disk '{}' is read by VDDK and no agent there has it; start one "
          "with --vddk-libdir",
          where, job.disk);
    }
    return where.empty() ? "no agent is connected" : "no agent" + where;  // or movers only
  }
  Usage usage(limits);
  for (const PlacementRunning& other : running) usage.add(other);
  if (const std::string what = usage.full(job); !what.empty()) return "limit of " + what;
  return free ? "its turn" : "no free slot";
}

}  // namespace vmferry
