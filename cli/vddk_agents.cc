#include "cli/vddk_agents.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace vmferry::cli {
namespace {

using nlohmann::json;

bool is_ready(const kube::Object& pod) {
  const json conditions = pod.json().value("/status/conditions"_json_pointer, json::array());
  return std::ranges::any_of(conditions, [](const json& condition) {
    return condition.is_object() && condition.value("type", "") == "Ready" &&
           condition.value("status", "") == "True";
  });
}

bool names_vddk(const json& container) {
  for (const char* list : {"command", "args"}) {
    for (const json& word : container.value(list, json::array())) {
      if (word.is_string() && word.get_ref<const std::string&>().starts_with("--vddk-"))
        return true;
    }
  }
  return false;
}

}  // namespace

VddkAgents vddk_agents(const std::vector<AgentView>& agents) {
  VddkAgents result;
  for (const AgentView& agent : agents) {
    if (!agent.connected) continue;
    ++result.all;
    if (agent.vddk) ++result.with;
  }
  return result;
}

VddkAgents vddk_agents_of_pods(const std::vector<kube::Object>& pods) {
  VddkAgents result{.said = false, .unknown_why = {}};
  for (const kube::Object& pod : pods) {
    if (!is_ready(pod)) continue;
    ++result.all;
    const json containers = pod.json().value("/spec/containers"_json_pointer, json::array());
    if (std::ranges::any_of(containers, names_vddk)) ++result.with;
  }
  return result;
}

std::string vddk_note(const VddkAgents& agents) {
  if (!agents.unknown_why.empty()) {
    return fmt::format(
        "whether an agent has VDDK could not be asked ({}): where only that reads a disk, the "
        "verdict stays open",
        agents.unknown_why);
  }
  if (agents.with == 0) {
    return fmt::format(
        "none of {} agents has VDDK: disks are read in other ways, and what it alone can read is "
        "blocked",
        agents.all);
  }
  if (agents.said) {
    return fmt::format("{} of {} agents can read disks through VDDK", agents.with, agents.all);
  }
  return fmt::format(
      "{} of {} agents' pods were given VDDK; an agent whose nbdkit does not load it reads disks "
      "in "
      "other ways, as its log tells",
      agents.with, agents.all);
}

}  // namespace vmferry::cli
