#include "coordinator/cluster/metrics.h"

#include <nlohmann/json.hpp>

#include "coordinator/dashboard/views.h"

namespace vmferry::cluster {
namespace {

class Text {
 public:
  void family(std::string_view name, std::string_view kind, std::string_view help) {
    name_ = name;
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, kind);
  }
  void value(double value, std::string_view label = "", std::string_view labelled = "") {
    text_ += name_;
    if (!label.empty()) text_ += fmt::format("{{{}=\"{}\"}}", label, escaped(labelled));
    text_ += fmt::format(" {}\n", value);
  }
  // One sample of the family `name` + suffix with these labels.
  void sample(std::string_view suffix, std::string_view labels, double value) {
    text_ += fmt::format("{}{}{{{}}} {}\n", name_, suffix, labels, value);
  }
  std::string take() { return std::move(text_); }

 private:
  static std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == '\n') {
        out += "\\n";
        continue;
      }
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out;
  }
  std::string name_, text_;
};

std::string reason_of(const nlohmann::json& import, std::string_view type) {
  const auto conditions = import.value("/status/conditions"_json_pointer, nlohmann::json::array());
  for (const nlohmann::json& condition : conditions) {
    if (condition.is_object() && condition.value("type", "") == type) {
      return condition.value("status", "") == "False" && type == "Succeeded"
                 ? "Failed"
                 : condition.value("reason", "");
    }
  }
  return {};
}

// Under the names that vm-import-operator's dashboards know (lifecycle.md 10).
void tell_outcomes(const imports::Outcomes::Counts& counts, Text& text) {
  text.family("kubevirt_vmimport_counter", "counter", "Imports that ended, by result");
  for (std::size_t i = 0; i < counts.size(); ++i) {
    text.value(static_cast<double>(counts[i].imports), "result",
               imports::to_string(static_cast<imports::ImportOutcome>(i)));
  }
  text.family("kubevirt_vmimport_duration", "histogram", "Seconds from creation to end, by result");
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const imports::Outcomes::Count& count = counts[i];
    const std::string result =
        fmt::format("result=\"{}\"", imports::to_string(static_cast<imports::ImportOutcome>(i)));
    for (std::size_t b = 0; b < imports::Outcomes::kBuckets.size(); ++b) {
      text.sample("_bucket",
                  fmt::format("{},le=\"{}\"", result, imports::Outcomes::kBuckets[b].count()),
                  static_cast<double>(count.within[b]));
    }
    text.sample("_bucket", result + ",le=\"+Inf\"", static_cast<double>(count.imports));
    text.sample("_sum", result, count.seconds);
    text.sample("_count", result, static_cast<double>(count.imports));
  }
}

// Node by node: what an agent would tell by itself, had it a port. Movers are many and short-lived;
// they are in the sums alone.
void tell_nodes(const MetricsInput& input, Text& text) {
  std::map<std::string, const AgentView*> nodes;
  for (const AgentView& agent : input.agents) {
    if (agent.node.empty() || protocol::is_mover_node(agent.node)) continue;
    nodes[agent.node] = &agent;
  }
  std::map<std::string, double> retries;  // by agent
  for (const TransferView& transfer : input.transfers) {
    retries[transfer.agent] += static_cast<double>(transfer.status.retries);
  }
  const auto tell = [&](std::string_view name, std::string_view kind, std::string_view help,
                        const auto& value) {
    text.family(name, kind, help);
    for (const auto& [node, agent] : nodes) text.value(value(*agent), "node", node);
  };
  tell("vmferry_node_connected", "gauge", "1 where the node's agent is heard",
       [](const AgentView& agent) { return agent.connected ? 1.0 : 0.0; });
  tell("vmferry_node_jobs", "gauge", "Disks that the node's agent copies",
       [](const AgentView& agent) { return static_cast<double>(agent.jobs); });
  tell("vmferry_node_bytes_per_second", "gauge", "Present rate of the node's agent",
       [](const AgentView& agent) { return agent.bytes_per_second; });
  tell("vmferry_node_bytes_moved_total", "counter",
       "Bytes of disks that the node's agent moved, since this coordinator began to act",
       [](const AgentView& agent) { return static_cast<double>(agent.bytes_moved); });
  tell("vmferry_node_request_retries", "gauge",
       "Reads that running transfers of the node's agent repeated", [&](const AgentView& agent) {
         const auto found = retries.find(agent.agent.value);
         return found == retries.end() ? 0.0 : found->second;
       });
}

}  // namespace

std::string phase_of(const nlohmann::json& import) {
  for (const char* type : {"Succeeded", "Processing", "Valid"}) {
    if (std::string reason = reason_of(import, type); !reason.empty()) return reason;
  }
  return "New";
}

std::string metrics_text(const MetricsInput& input) {
  Text text;
  text.family("vmferry_leader", "gauge", "1 where this coordinator is the one that acts");
  text.value(input.leader ? 1 : 0);
  text.family("vmferry_queue_imports", "gauge", "Imports that wait for a pass");
  text.value(static_cast<double>(input.queue));
  text.family("vmferry_imports", "gauge", "Imports by phase");
  for (const auto& [phase, count] : input.imports) {
    text.value(static_cast<double>(count), "phase", phase);
  }
  tell_outcomes(input.outcomes, text);

  std::map<bool, std::uint64_t> connected{{false, 0}, {true, 0}};
  double slots = 0, free_slots = 0, rate = 0;
  auto moved = static_cast<double>(input.bytes_moved_by_forgotten);
  for (const AgentView& agent : input.agents) {
    ++connected[agent.connected];
    slots += agent.connected ? agent.slots : 0;
    free_slots += agent.free_slots;
    rate += agent.bytes_per_second;
    moved += static_cast<double>(agent.bytes_moved);
  }
  text.family("vmferry_agents", "gauge", "Agents, movers among them");
  text.value(static_cast<double>(connected[true]), "state", "connected");
  text.value(static_cast<double>(connected[false]), "state", "lost");
  text.family(
      "vmferry_agent_hellos_total", "counter",
      "Agents that showed a token, by what it was worth; unanswered: it could not be found out");
  text.value(static_cast<double>(input.hellos.admitted), "answer", "admitted");
  text.value(static_cast<double>(input.hellos.refused), "answer", "refused");
  text.value(static_cast<double>(input.hellos.unanswered), "answer", "unanswered");
  text.family("vmferry_slots", "gauge", "Disks that connected agents can copy at once");
  text.value(slots - free_slots, "state", "used");
  text.value(free_slots, "state", "free");
  text.family("vmferry_bytes_moved_total", "counter",
              "Bytes of disks moved, since this coordinator began to act");
  text.value(moved);
  text.family("vmferry_bytes_per_second", "gauge", "Present rate of all agents");
  text.value(rate);

  std::map<std::string, std::uint64_t> jobs;
  for (const TransferState state :
       {TransferState::Queued, TransferState::Assigned, TransferState::Running,
        TransferState::Succeeded, TransferState::Failed}) {
    jobs[std::string(dashboard::to_string(state))] = 0;
  }
  double again = 0, retries = 0;
  for (const TransferView& transfer : input.transfers) {
    ++jobs[std::string(dashboard::to_string(transfer.state))];
    again += transfer.attempt > 1 ? transfer.attempt - 1 : 0;
    retries += static_cast<double>(transfer.status.retries);
  }
  text.family("vmferry_transfers", "gauge", "Disks that are known, by state");
  for (const auto& [state, count] : jobs) text.value(static_cast<double>(count), "state", state);
  text.family("vmferry_transfer_attempts_again", "gauge",
              "Attempts beyond the first of the disks that are known");
  text.value(again);
  text.family("vmferry_transfer_request_retries", "gauge",
              "Reads repeated by running transfers after passing errors");
  text.value(retries);

  tell_nodes(input, text);
  text.family("vmferry_api_requests_total", "counter",
              "Requests to the API server by status; 0: no answer");
  for (const auto& [status, count] : input.api_answers) {
    text.value(static_cast<double>(count), "status", std::to_string(status));
  }
  return text.take();
}

}  // namespace vmferry::cluster
