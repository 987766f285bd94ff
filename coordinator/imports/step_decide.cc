#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/imports/copied.h"
#include "coordinator/imports/decision.h"
#include "coordinator/imports/disk_ways.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/observe.h"
#include "coordinator/imports/plan_store.h"
#include "coordinator/imports/progress.h"
#include "coordinator/imports/reference_rights.h"
#include "coordinator/imports/steps.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::milliseconds kAgentsPoll{500};

// What blocks an import before the rulebook's own checks, and the reason of Valid=False for it: the
// first failure's (lifecycle.md 3.10).
struct EarlyFindings {
  std::vector<Finding> findings;
  std::string_view reason;

  void fail(std::string_view why) {
    if (reason.empty()) reason = why;
  }
};

// An invalid name is decide_import()'s finding.
Result<void> check_target_name(Pass& pass, EarlyFindings& early) {
  const auto name = target_vm_name(pass.import.spec, *pass.memory.vm);
  if (!name) {
    early.fail("InvalidTargetVMName");
    return {};
  }
  auto conflict = TRY(name_conflict(pass.parts.reader, pass.import, *name, pass.stop));
  if (!conflict) return {};
  early.fail("DuplicateTargetVMName");
  early.findings.push_back(*std::move(conflict));
  return {};
}

std::vector<api::DiskStatus> initial_disks(const ImportPlan& plan) {
  std::vector<api::DiskStatus> disks;
  for (const PlannedDisk& planned : plan.disks) {
    api::DiskStatus disk;
    disk.name = planned.name;
    disk.source_disk = planned.source_id;
    disk.claim = planned.claim;
    disk.phase = "Pending";
    disk.virtual_bytes = planned.size_bytes;
    disks.push_back(std::move(disk));
  }
  return disks;
}

// Also of a plan that was kept just before a crash, and never shown.
void show_plan(Pass& pass) {
  const ImportPlan& plan = *pass.memory.plan;
  pass.import.status.target_vm_name = plan.vm_name;
  if (pass.import.status.disks.empty()) pass.import.status.disks = initial_disks(plan);
}

// An import that has been planned was valid; what has made it invalid since, a secret that was away
// or an object that could not be read, is over when a pass comes as far as here. The name is
// create_vm's.
void forget_mended(Pass& pass) {
  const api::Condition* valid = api::find_condition(pass.import.status.conditions, "Valid");
  if (valid == nullptr || valid->status != "False") return;
  if (valid->reason == "DuplicateTargetVMName") return;
  pass.set_condition("Valid", "True", "ValidationCompleted", "What was wrong has been mended");
}

// Blocks what an agent with VDDK could read; one may be about to say hello.
bool an_agent_may_mend(const std::vector<Finding>& findings) {
  constexpr std::string_view kRules[] = {"vmware.vm.encryption", "vmware.disk.backing",
                                         "vmware.disk.snapshot"};
  return std::ranges::any_of(findings, [&](const Finding& finding) {
    return finding.level == FindingLevel::Block &&
           std::ranges::find(kRules, finding.rule) != std::end(kRules);
  });
}

// The VM of an import that has begun was deleted on the source.
StepResult without_source(const Pass& pass, const Error& error) {
  const auto& disks = pass.import.status.disks;
  const bool all_done = !disks.empty() && std::ranges::all_of(disks, [](const auto& disk) {
    return disk.phase == "Done";
  });
  if (all_done) return StepResult::done();  // nothing is read of it any more
  return StepResult::failed("DataVolumeCreationFailed", "DVCreationFailed",
                            error.with_context("the source VM was deleted meanwhile"));
}

}  // namespace

Result<StepResult> read_source(Pass& pass) {
  const bool decided = pass.memory.plan.has_value();
  if (decided && (pass.memory.vm || is_copied(pass))) return StepResult::done();
  VmRef wanted = source_reference(pass.import, has_vddk(pass));
  if (pass.parts.settings.vddk) wanted.ways.try_emplace("*", DiskWay::Vddk);
  if (decided) wanted.id = pass.memory.plan->source_native_id;  // it may have another name by now
  auto vm = pass.provider->find_vm(wanted, pass.stop);
  if (!vm) {
    const Error error = std::move(vm).error();
    const bool final_answer =
        error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::InvalidArgument;
    if (decided && error.code() == code::kVmNotFound) return without_source(pass, error);
    if (!decided && error.kind() != ErrorKind::Canceled) {
      pass.set_condition("Valid", "False", "SourceVMNotFound", text_with_remedy(error));
      TRY(pass.save_status(true));
      if (final_answer) {
        pass.event(kube::EventSeverity::Warning, "ImportBlocked", text_with_remedy(error));
        return again_when_blocked(pass);
      }
    }
    return error;
  }
  pass.memory.vm = *std::move(vm);
  return StepResult::done();
}

Result<StepResult> validate_import(Pass& pass) {
  if (pass.memory.plan) return StepResult::done();
  const SourceVm& vm = *pass.memory.vm;
  EarlyFindings early;
  ObservedMappings mappings = TRY(observe_mappings(pass.parts.reader, pass.import, pass.stop));
  if (mappings.missing) early.fail("ResourceMappingNotFound");
  if (pass.parts.access != nullptr) {
    TRY(add_network_rights(*pass.parts.access, pass.key().ns, mappings.merged, pass.rights,
                           pass.stop));
  }
  const Observation seen = TRY(observe(pass.parts.reader, pass.scope(), pass.stop));
  TRY(check_target_name(pass, early));

  ImportDecision decision = TRY(decide_import({.import = pass.import,
                                               .vm = vm,
                                               .mappings = mappings.merged,
                                               .facts = seen.facts,
                                               .config = seen.config,
                                               .os_maps = seen.os_maps,
                                               .mapping_findings = std::move(mappings.findings),
                                               .more_findings = std::move(early.findings),
                                               .rights = pass.rights}));
  if (an_agent_may_mend(decision.findings) && !pass.parts.fleet.settled()) {
    return StepResult::again(kAgentsPoll);
  }
  pass.report_findings(decision.findings);
  for (api::Condition& condition : conditions_from(decision.findings, vm.provider)) {
    if (condition.type == "Valid" && !early.reason.empty()) condition.reason = early.reason;
    pass.set_condition(condition.type, condition.status, condition.reason, condition.message);
  }
  if (decision.blocked()) {
    pass.clear_pending();  // what was in the way before is not what is now
    pass.event(kube::EventSeverity::Warning, "ImportBlocked",
               blocked_text(fmt::format("{}/{}", pass.key().ns, vm.name), decision.findings));
    TRY(pass.save_status(true));
    return again_when_blocked(pass);
  }
  pass.memory.blocked_passes = 0;
  pass.decision = std::move(decision);
  return StepResult::done();
}

Result<StepResult> decide_plan(Pass& pass) {
  if (pass.memory.plan) {
    show_plan(pass);
    forget_mended(pass);
    return StepResult::done();
  }
  const SourceVm& vm = *pass.memory.vm;
  const ProgressProfile profile = design_profile(false);
  pass.set_processing("VMTemplateMatching",
                      "Looking for a template for the source VM's operating system");
  TRY(pass.save_status(true));
  TRY(pass.raise_progress(profile.start));

  ImportDecision& decision = *pass.decision;
  if (!decision.base) {
    return StepResult::failed("VMTemplateMatchingFailed", "VMTemplateMatchingFailed",
                              *decision.base_problem);
  }
  ImportPlan plan{.vm_name = decision.vm_name,
                  .source_native_id = vm.native_id,
                  .template_note = decision.base->note,
                  .disks = decision.disks,
                  .vm = decision.vm->json(),
                  .data_volumes = pass.decision->data_volumes};
  const auto accepted = pass.create(kube::types::kVirtualMachine, *decision.vm, {.dry_run = true});
  if (!accepted && accepted.error().kind() != ErrorKind::AlreadyExists) {
    const Error error = accepted.error().with_context(
        fmt::format("VirtualMachine '{}/{}'", pass.key().ns, decision.vm_name));
    if (is_retryable(error.kind())) return error;
    // Nothing was done yet, so that whatever the cluster has against it may still be mended:
    // KubeVirt installed or upgraded, a policy changed. The next pass decides anew.
    const bool other_fields = error.code() == code::kManifest && !pass.parts.settings.embedded;
    if (pass.waits_for(error) || other_fields) {
      const std::string text =
          other_fields ? error.message() +
                             "; this KubeVirt takes other fields than VMFerry makes: upgrade the "
                             "older of the two; the import goes on by itself"
                       : text_with_remedy(error);
      pass.set_processing("Pending", text);
      pass.event(kube::EventSeverity::Warning, "VMCreationFailed", text);
      TRY(pass.save_status(true));
      return again_when_blocked(pass);
    }
    return StepResult::failed("VMCreationFailed", "VMCreationFailed", accepted.error());
  }

  // From here on the plan counts, not what it was made from.
  const auto kept = pass.create(kube::types::kConfigMap, plan_object(pass, plan));
  if (!kept && kept.error().kind() != ErrorKind::AlreadyExists) return kept.error();
  if (kept) {
    pass.memory.plan = std::move(plan);
  } else {
    // Made just before a crash; or by somebody who knew its name.
    const StepResult read = TRY(read_plan(pass));
    if (read.kind != StepResult::Kind::Done) return read;
    if (!pass.memory.plan) return Error(ErrorKind::Aborted, "the plan has just been removed");
  }
  show_plan(pass);
  pass.set_processing("CreatingTargetVM",
                      fmt::format("Virtual machine '{}' is planned; {}", pass.memory.plan->vm_name,
                                  pass.memory.plan->template_note));
  TRY(pass.save_status(true));
  TRY(pass.raise_progress(profile.vm_built));
  pass.event(kube::EventSeverity::Normal, "ImportScheduled",
             fmt::format("Import of '{}' into '{}/{}' is scheduled", vm.name, pass.key().ns,
                         pass.memory.plan->vm_name));
  return StepResult::done();
}

}  // namespace vmferry::imports
