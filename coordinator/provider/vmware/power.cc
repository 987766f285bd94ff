#include "coordinator/provider/vmware/power.h"

#include <optional>
#include <string>
#include <utility>

#include "common/catalogue.h"
#include "coordinator/provider/vmware/translate.h"

namespace vmferry::vmware {
namespace {

std::string_view word_of(PowerState state) {
  return state == PowerState::Up ? "poweredOn" : "poweredOff";
}

// Looks at the task once. What fails at once is an error now; what runs on is accepted.
Result<void> check_task(Exchange& exchange, const MoRef& task, const MoRef& vm,
                        std::string_view method, PowerState wanted) {
  const Result<ObjectProperties> info = retrieve_one(exchange, task, {"info.state", "info.error"});
  if (!info) {
    if (info.error().kind() != ErrorKind::NotFound) return info.error();
    // Finished tasks are forgotten after a while: then only the effect can tell.
    if (TRY(read_power(exchange, vm)) == wanted) return {};
    return coded_error(ErrorKind::Aborted, code::kVmState,
                       "{} on VM '{}': the task is gone and the VM is not {}", method, vm.value,
                       word_of(wanted));
  }
  const std::optional<SoapFault> fault = task_failure(*info);
  if (!fault) return {};
  if (fault->type == "InvalidPowerState" && power_state_of(fault->existing_state) == wanted) {
    return {};
  }
  return fault_error(*fault, method, "VM '" + vm.value + "'");
}

Result<void> run_task(Exchange& exchange, std::string method, const MoRef& vm, PowerState wanted) {
  const SoapReply reply = TRY(exchange.call(method_call(method, vm)));
  if (reply.fault()) {
    if (reply.fault()->type == "InvalidPowerState" &&
        power_state_of(reply.fault()->existing_state) == wanted) {
      return {};
    }
    return fault_error(*reply.fault(), method, "VM '" + vm.value + "'");
  }
  return check_task(exchange, moref_of(reply.returnval()), vm, method, wanted);
}

}  // namespace

std::optional<SoapFault> task_failure(const ObjectProperties& task) {
  if (task.text("info.state") != "error") return std::nullopt;
  const pugi::xml_node error = task.value("info.error");
  SoapFault fault;
  fault.type = xsi_type(child(error, "fault"));
  if (fault.type.empty()) fault.type = "unnamed fault";
  fault.message = child_text(error, "localizedMessage");
  fault.existing_state = child_text(child(error, "fault"), "existingState");
  return fault;
}

Result<std::optional<std::string>> read_last_start(Exchange& exchange, const MoRef& vm) {
  const MoRef& manager = exchange.content().event_manager;
  if (manager.empty()) return std::optional<std::string>();
  Node entity = structure("entity", "EventFilterSpecByEntity");
  entity.add(reference("entity", vm)).add(leaf("recursion", "self"));
  Node filter = structure("filter", "EventFilterSpec");
  filter.add(std::move(entity));
  for (const char* type : {"VmPoweredOnEvent", "DrsVmPoweredOnEvent", "VmResumingEvent"}) {
    filter.add(leaf("eventTypeId", type));
  }
  Node query = method_call("QueryEvents", manager);
  query.add(std::move(filter));
  const SoapReply reply = TRY(exchange.call(query));
  if (reply.fault()) {
    Error error = fault_error(*reply.fault(), "QueryEvents", "VM '" + vm.value + "'");
    if (is_retryable(error.kind())) return error;
    return std::optional<std::string>();
  }
  // Keys grow with time.
  std::string newest;
  std::int64_t newest_key = -1;
  for (const pugi::xml_node event : reply.returnvals()) {
    const std::int64_t key = integer_of(child(event, "key")).value_or(-1);
    if (key <= newest_key) continue;
    newest_key = key;
    newest = fmt::format("{} at {}", key, child_text(event, "createdTime"));
  }
  return std::optional(std::move(newest));
}

Result<PowerState> read_power(Exchange& exchange, const MoRef& vm) {
  const Result<ObjectProperties> p = retrieve_one(exchange, vm, {"runtime.powerState"});
  if (!p) {
    if (p.error().kind() != ErrorKind::NotFound) return p.error();
    return coded_error(ErrorKind::NotFound, code::kVmNotFound,
                       "VM '{}' does not exist any more on the server", vm.value);
  }
  return power_state_of(p->text("runtime.powerState"));
}

Result<void> stop_vm(Exchange& exchange, const MoRef& vm, bool force) {
  if (TRY(read_power(exchange, vm)) == PowerState::Down) return {};
  if (force) return run_task(exchange, "PowerOffVM_Task", vm, PowerState::Down);

  const SoapReply reply = TRY(exchange.call(method_call("ShutdownGuest", vm)));
  if (!reply.fault()) return {};
  const SoapFault& fault = *reply.fault();
  if (fault.type == "InvalidPowerState" &&
      power_state_of(fault.existing_state) == PowerState::Down) {
    return {};
  }
  if (fault.type == "ToolsUnavailable") {
    return coded_error(ErrorKind::InvalidArgument, code::kVmState,
                       "VM '{}' cannot be asked to shut down: VMware Tools do not run in the guest "
                       "(ToolsUnavailable); shut it down by hand",
                       vm.value);
  }
  return fault_error(fault, "ShutdownGuest", "VM '" + vm.value + "'");
}

Result<void> start_vm(Exchange& exchange, const MoRef& vm) {
  if (TRY(read_power(exchange, vm)) == PowerState::Up) return {};
  return run_task(exchange, "PowerOnVM_Task", vm, PowerState::Up);
}

}  // namespace vmferry::vmware
