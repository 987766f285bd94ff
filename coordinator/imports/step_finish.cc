#include <algorithm>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/imports/progress.h"
#include "coordinator/imports/steps.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::seconds kNameRetry{10};
constexpr std::chrono::seconds kStartPoll{15};
constexpr std::chrono::minutes kStartLimit{10};

nlohmann::json reference_json(const kube::OwnerReference& owner) {
  return {{"apiVersion", owner.api_version},
          {"kind", owner.kind},
          {"name", owner.name},
          {"uid", owner.uid},
          {"controller", owner.controller},
          {"blockOwnerDeletion", owner.block_owner_deletion}};
}

// Sets the owners of an object that may have gone meanwhile.
Result<void> set_owners(Pass& pass, const kube::ResourceType& type, const kube::ObjectKey& key,
                        const std::vector<kube::OwnerReference>& owners) {
  nlohmann::json list = nlohmann::json::array();
  for (const kube::OwnerReference& owner : owners) list.push_back(reference_json(owner));
  const auto patched = pass.parts.writer.patch(
      type, key, {{"metadata", {{"ownerReferences", list}}}}, {}, pass.stop);
  if (!patched && patched.error().kind() != ErrorKind::NotFound) return patched.error();
  return {};
}

// The VM owns its claims from its creation on, beside the import; at the end alone.
Result<void> own_claims(Pass& pass, const kube::Object& vm, bool import_too) {
  const kube::OwnerReference by_vm{.api_version = kube::types::kVirtualMachine.api_version,
                                   .kind = kube::types::kVirtualMachine.kind,
                                   .name = vm.name(),
                                   .uid = vm.uid(),
                                   .controller = false,
                                   .block_owner_deletion = true};
  std::vector<kube::OwnerReference> owners{by_vm};
  if (import_too) owners.insert(owners.begin(), pass.owner());
  for (const PlannedDisk& disk : pass.memory.plan->disks) {
    TRY(set_owners(pass, kube::types::kPersistentVolumeClaim, {pass.key().ns, disk.claim}, owners));
  }
  return {};
}

kube::ObjectKey vm_key(const Pass& pass) { return {pass.key().ns, pass.memory.plan->vm_name}; }

}  // namespace

Result<StepResult> create_vm(Pass& pass) {
  auto existing = TRY(kube::get_if_exists(pass.parts.reader, kube::types::kVirtualMachine,
                                          vm_key(pass), pass.stop));
  // Without owners after a crash in finish_import, between letting go of it and Succeeded.
  if (existing && !pass.is_own_vm(*existing)) {
    pass.set_condition("Valid", "False", "DuplicateTargetVMName",
                       fmt::format("VirtualMachine '{}' was made by somebody else while the disks "
                                   "were copied; remove it and the import goes on by itself",
                                   vm_key(pass).to_string()));
    TRY(pass.save_status(true));
    return StepResult::again(kNameRetry);
  }
  if (!existing) {
    pass.set_processing("CreatingTargetVM",
                        fmt::format("Creating virtual machine '{}'", vm_key(pass).to_string()));
    TRY(pass.save_status(true));
    auto created = pass.parts.writer.create(kube::types::kVirtualMachine,
                                            kube::Object(pass.memory.plan->vm), {}, pass.stop);
    if (!created) {
      const ErrorKind kind = created.error().kind();
      if (kind == ErrorKind::AlreadyExists || is_retryable(kind)) return created.error();
      return StepResult::failed("VMCreationFailed", "VMCreationFailed",
                                std::move(created).error().with_context(vm_key(pass).to_string()));
    }
    existing = *std::move(created);
  }
  if (const api::Condition* valid = api::find_condition(pass.import.status.conditions, "Valid");
      valid != nullptr && valid->status == "False") {
    pass.set_condition("Valid", "True", "ValidationCompleted", "The target name is free");
  }
  TRY(own_claims(pass, *existing, true));
  return StepResult::done();
}

Result<StepResult> start_vm(Pass& pass) {
  const std::string initial = pass.import.object.annotation(api::kInitialState).value_or("");
  if (!api::should_start(pass.import.spec, initial)) return StepResult::done();
  TRY(pass.raise_progress(design_profile(false).starting));
  const kube::Object vm =
      TRY(pass.parts.reader.get(kube::types::kVirtualMachine, vm_key(pass), pass.stop));
  const bool on_failure = vm.annotation(api::kRunStrategy) == "RerunOnFailure";
  const std::string strategy = on_failure ? "RerunOnFailure" : "Always";
  if (vm.json().value("/spec/runStrategy"_json_pointer, std::string()) != strategy) {
    TRY(pass.parts.writer.patch(kube::types::kVirtualMachine, vm_key(pass),
                                {{"spec", {{"runStrategy", strategy}}}}, {}, pass.stop));
  }
  // Without KubeVirt the wish stands in the manifest: it starts where it is applied.
  if (pass.parts.settings.embedded) return StepResult::done();

  const auto instance = TRY(kube::get_if_exists(
      pass.parts.reader, kube::types::kVirtualMachineInstance, vm_key(pass), pass.stop));
  const std::string phase =
      instance ? instance->json().value("/status/phase"_json_pointer, std::string()) : "";
  if (phase == "Scheduled" || phase == "Running") return StepResult::done();
  const auto created = parse_rfc3339(vm.creation_timestamp());
  if (created && pass.parts.clock.wall() - *created > kStartLimit) {
    pass.event(kube::EventSeverity::Warning, "VMStartFailed",
               fmt::format("'{}' was created but does not run after 10 minutes; see its conditions",
                           vm_key(pass).to_string()));
    return StepResult::done();
  }
  pass.set_processing("Pending", "Waiting for the virtual machine to start");
  TRY(pass.save_status(true));
  return StepResult::again(kStartPoll);
}

Result<StepResult> finish_import(Pass& pass) {
  const auto vm = TRY(kube::get_if_exists(pass.parts.reader, kube::types::kVirtualMachine,
                                          vm_key(pass), pass.stop));
  if (!vm) {
    return StepResult::failed("VMNotFound", "VMNotFound",
                              make_error(ErrorKind::NotFound, "virtual machine '{}' has vanished",
                                         vm_key(pass).to_string()));
  }
  // The claims belong to the VM alone, and the VM to nobody: deleting the import touches neither.
  TRY(own_claims(pass, *vm, false));
  TRY(set_owners(pass, kube::types::kVirtualMachine, vm_key(pass), {}));

  const std::string initial = pass.import.object.annotation(api::kInitialState).value_or("");
  const bool started =
      api::should_start(pass.import.spec, initial) && !pass.parts.settings.embedded;
  std::uint64_t moved = 0;
  for (const api::DiskStatus& disk : pass.import.status.disks) moved += disk.moved_bytes;
  const std::string text = fmt::format(
      "Virtual machine '{}' is {}: {} disks, {} moved and verified", vm_key(pass).to_string(),
      started ? "running" : "ready", pass.import.status.disks.size(), human_bytes(moved));
  pass.set_condition("Processing", "True", "ProcessingCompleted", text);
  pass.set_condition("Succeeded", "True", started ? "VirtualMachineRunning" : "VirtualMachineReady",
                     text);
  TRY(pass.raise_progress(design_profile(false).done));
  TRY(pass.save_status(true));
  pass.event(kube::EventSeverity::Normal, "ImportSucceeded", text);
  pass.log.info("import succeeded", {{"bytes", moved}});
  return StepResult::done();
}

// Nothing here changes the outcome, and our finalizer keeps the import until it is done (W8).
Result<bool> clean_up_finished(Pass& pass) {
  if (!pass.import.object.has_finalizer(api::kCleanupFinalizer)) return true;
  TRY(load_plan(pass));
  if (pass.memory.plan) {
    for (const PlannedDisk& disk : pass.memory.plan->disks) {
      pass.parts.fleet.forget(pass.job_of(disk));
      pass.parts.renewals.lock()->erase(pass.job_of(disk));
    }
    const auto removed = pass.parts.writer.remove(kube::types::kConfigMap,
                                                  {pass.key().ns, plan_config_map_name(pass.uid())},
                                                  kube::Propagation::Background, {}, pass.stop);
    if (!removed && removed.error().kind() != ErrorKind::NotFound) return removed.error();
  }
  TRY(pass.drop_finalizers(
      {api::kCancelledFinalizer, api::kRestoreFinalizer, api::kCleanupFinalizer}));
  return true;
}

}  // namespace vmferry::imports
