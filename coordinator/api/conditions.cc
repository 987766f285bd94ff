#include <algorithm>

#include "coordinator/api/import.h"

namespace vmferry::api {

const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type) {
  const auto found = std::find_if(conditions.begin(), conditions.end(),
                                  [type](const Condition& c) { return c.type == type; });
  return found == conditions.end() ? nullptr : &*found;
}

void upsert_condition(std::vector<Condition>& conditions, std::string_view type,
                      std::string_view status, std::string_view reason, std::string_view message,
                      WallTime now) {
  const std::string time = to_rfc3339(now);
  const auto found = std::find_if(conditions.begin(), conditions.end(),
                                  [type](const Condition& c) { return c.type == type; });
  if (found == conditions.end()) {
    conditions.push_back({.type = std::string(type),
                          .status = std::string(status),
                          .reason = std::string(reason),
                          .message = std::string(message),
                          .last_heartbeat_time = time,
                          .last_transition_time = time});
    return;
  }
  found->reason = reason;
  found->message = message;
  found->last_heartbeat_time = time;
  if (found->status != status) {
    found->status = status;
    found->last_transition_time = time;
  }
}

bool is_true(const std::vector<Condition>& conditions, std::string_view type) {
  const Condition* condition = find_condition(conditions, type);
  return condition != nullptr && condition->status == "True";
}

bool should_start(const ImportSpec& spec, std::string_view initial_state) {
  if (spec.start_vm) return *spec.start_vm;
  // A warm import keeps the source up while it copies, so a source that ran goes on as the target.
  return spec.warm && initial_state == "up";
}

bool finished(const VirtualMachineImport& import) {
  const Condition* succeeded = find_condition(import.status.conditions, "Succeeded");
  if (succeeded == nullptr) return false;
  const std::string initial_state = import.object.annotation(kInitialState).value_or("");
  return !(succeeded->reason == "VirtualMachineReady" && should_start(import.spec, initial_state));
}

bool disks_done(const std::vector<Condition>& conditions) {
  const Condition* succeeded = find_condition(conditions, "Succeeded");
  return succeeded != nullptr && (succeeded->reason == "VirtualMachineReady" ||
                                  succeeded->reason == "VirtualMachineRunning");
}

}  // namespace vmferry::api
