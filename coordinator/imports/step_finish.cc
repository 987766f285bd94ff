#include <algorithm>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/imports/disk_openings.h"
#include "coordinator/imports/progress.h"
#include "coordinator/imports/steps.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::seconds kNameRetry{10};
constexpr std::chrono::seconds kStartPoll{15};
constexpr std::chrono::seconds kClosePoll{1};
constexpr std::chrono::minutes kStartLimit{10};

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
    auto created = pass.create(kube::types::kVirtualMachine, kube::Object(pass.memory.plan->vm));
    if (!created) {
      const ErrorKind kind = created.error().kind();
      if (kind == ErrorKind::AlreadyExists || is_retryable(kind)) return created.error();
      if (pass.waits_for(created.error())) {
        // Everything is copied and verified: not worth losing.
        const Error error = std::move(created).error().with_context(vm_key(pass).to_string());
        pass.set_processing("Pending", text_with_remedy(error));
        pass.event(kube::EventSeverity::Warning, "VMCreationFailed", text_with_remedy(error));
        TRY(pass.save_status(true));
        return StepResult::again(kNameRetry);
      }
      return StepResult::failed("VMCreationFailed", "VMCreationFailed",
                                std::move(created).error().with_context(vm_key(pass).to_string()));
    }
    existing = *std::move(created);
  }
  if (const api::Condition* valid = api::find_condition(pass.import.status.conditions, "Valid");
      valid != nullptr && valid->status == "False") {
    pass.set_condition("Valid", "True", "ValidationCompleted", "The target name is free");
  }
  TRY(own_disks(pass, *existing, true));
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
  // The claims belong to the VM alone, and the VM no more to us: deleting the import touches
  // neither.
  TRY(own_disks(pass, *vm, false));
  TRY(let_go_of(pass, *vm));
  // What is left open would keep the disks from others.
  while (!pass.ledger.openings.empty()) {
    const std::string disk = pass.ledger.openings.begin()->first;
    if (!TRY(release_done(pass, disk))) return StepResult::again(kClosePoll);
  }

  const std::string initial = pass.import.object.annotation(api::kInitialState).value_or("");
  const bool started =
      api::should_start(pass.import.spec, initial) && !pass.parts.settings.embedded;
  std::uint64_t moved = 0;
  for (const api::DiskStatus& disk : pass.import.status.disks) moved += disk.moved_bytes;
  std::string text = fmt::format("Virtual machine '{}' is {}: {} disks, {} moved and verified",
                                 vm_key(pass).to_string(), started ? "running" : "ready",
                                 pass.import.status.disks.size(), human_bytes(moved));
  for (const api::DiskStatus& disk : pass.import.status.disks) {
    if (!disk.last_error.empty()) text += "; but " + disk.last_error;
  }
  pass.set_condition("Processing", "True", "ProcessingCompleted", text);
  pass.set_condition("Succeeded", "True", started ? "VirtualMachineRunning" : "VirtualMachineReady",
                     text);
  TRY(pass.raise_progress(design_profile(false).done));
  TRY(pass.save_status(true));
  pass.event(kube::EventSeverity::Normal, "ImportSucceeded", text);
  pass.log.info("import succeeded", {{"bytes", moved}});
  return StepResult::done();
}

// Once for each import: its finalizers have just gone, so no pass comes here again.
void count_outcome(const Pass& pass) {
  if (pass.parts.outcomes == nullptr) return;
  const api::Condition* ended = api::find_condition(pass.import.status.conditions, "Succeeded");
  const ImportOutcome outcome = ended == nullptr          ? ImportOutcome::Cancelled
                                : ended->status == "True" ? ImportOutcome::Successful
                                                          : ImportOutcome::Failed;
  const std::string deleted =
      pass.import.object.json().value("/metadata/deletionTimestamp"_json_pointer, std::string());
  const auto end =
      deleted.empty() ? Result<WallTime>(pass.parts.clock.wall()) : parse_rfc3339(deleted);
  const auto start = parse_rfc3339(pass.import.object.creation_timestamp());
  if (!start || !end) return;  // not an API server's object
  pass.parts.outcomes->record(outcome, *end - *start);
}

// Nothing here changes the outcome, and our finalizer keeps the import until it is done (W8).
Result<bool> clean_up_finished(Pass& pass) {
  pass.parts.disks->keep_only(pass.uid(), {});
  if (!pass.import.object.has_finalizer(api::kCleanupFinalizer)) return true;
  const auto loaded = load_plan(pass);
  const bool damaged = !loaded && loaded.error().kind() == ErrorKind::DataLoss;
  if (!loaded && !damaged) return loaded.error();
  if (pass.memory.plan) {
    for (const PlannedDisk& disk : pass.memory.plan->disks) {
      pass.parts.fleet.forget(pass.job_of(disk));
      pass.parts.renewals.lock()->erase(pass.job_of(disk));
    }
  }
  if (pass.memory.plan || damaged) {
    const auto removed = pass.parts.writer.remove(kube::types::kConfigMap,
                                                  {pass.key().ns, plan_config_map_name(pass.uid())},
                                                  kube::Propagation::Background, {}, pass.stop);
    if (!removed && removed.error().kind() != ErrorKind::NotFound) return removed.error();
  }
  TRY(pass.drop_finalizers(
      {api::kCancelledFinalizer, api::kRestoreFinalizer, api::kCleanupFinalizer}));
  count_outcome(pass);
  return true;
}

}  // namespace vmferry::imports
