#pragma once

#include <optional>

#include "coordinator/provider/source_vm.h"
#include "coordinator/provider/vmware/client.h"
#include "coordinator/provider/vmware/properties.h"

// Power operations (source-vmware.md 3.1, 3.2). None waits for its effect: the caller reads the
// power state again later.
namespace vmferry::vmware {

// Why a task failed, by its info.state and info.error; nothing while it runs or when it succeeded.
std::optional<SoapFault> task_failure(const ObjectProperties& task);

// The newest event of the VM's being started or resumed, as far as the server remembers: its key
// and its time. Empty: none. Nothing: the server or the account's rights give no events.
Result<std::optional<std::string>> read_last_start(Exchange& exchange, const MoRef& vm);

Result<PowerState> read_power(Exchange& exchange, const MoRef& vm);

// ShutdownGuest, or PowerOffVM_Task with `force`. Success when the VM is off already.
// InvalidArgument with VMF-SRC-VM-STATE when the guest has no running tools to ask.
Result<void> stop_vm(Exchange& exchange, const MoRef& vm, bool force);

// PowerOnVM_Task. Success when the VM runs already. Unavailable with VMF-SRC-DISK-LOCKED while a
// file of the VM is locked.
Result<void> start_vm(Exchange& exchange, const MoRef& vm);

}  // namespace vmferry::vmware
