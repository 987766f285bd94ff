#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/imports/disk_openings.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/observe.h"
#include "coordinator/imports/os_match.h"
#include "coordinator/imports/progress.h"
#include "coordinator/imports/steps.h"
#include "coordinator/imports/templates.h"
#include "coordinator/imports/validation.h"
#include "coordinator/imports/vm_builder.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::seconds kBlockedRetry{5};

Result<StepResult> blocked(Pass& pass, std::string_view reason, const std::string& text) {
  pass.set_condition("Valid", "False", reason, text);
  pass.event(kube::EventSeverity::Warning, "ImportBlocked", text);
  TRY(pass.save_status(true));
  return StepResult::again(kBlockedRetry);
}

// Whether another import of the namespace has decided for the same name and still works on it.
Result<std::optional<std::string>> import_with_name(Pass& pass, const std::string& vm_name) {
  const kube::ObjectList list = TRY(pass.parts.reader.list(
      kube::types::kVirtualMachineImport, {.ns = pass.key().ns, .label_selector = {}}, pass.stop));
  for (const kube::Object& object : list.items) {
    if (object.uid() == pass.uid()) continue;
    const auto other = api::parse_import(object);
    if (!other || other->status.target_vm_name != vm_name) continue;
    if (api::find_condition(other->status.conditions, "Succeeded") == nullptr) {
      return std::optional(object.name());
    }
  }
  return std::optional<std::string>();
}

// A foreign VM, or another import, that has the name; nothing when it is free or ours.
Result<std::optional<std::string>> name_conflict(Pass& pass, const std::string& vm_name) {
  const auto vm = TRY(kube::get_if_exists(pass.parts.reader, kube::types::kVirtualMachine,
                                          {pass.key().ns, vm_name}, pass.stop));
  if (vm && !vm->controlled_by(pass.uid())) {
    return std::optional(fmt::format(
        "VirtualMachine '{}/{}' exists already; set spec.targetVmName to another name or remove it",
        pass.key().ns, vm_name));
  }
  const auto other = TRY(import_with_name(pass, vm_name));
  if (other) {
    return std::optional(fmt::format(
        "import '{}' makes VirtualMachine '{}' already; set spec.targetVmName to another name",
        *other, vm_name));
  }
  return std::optional<std::string>();
}

Result<OsMaps> os_maps(Pass& pass) {
  OsMaps maps = builtin_os_maps();
  if (pass.config.os_config_map_name.empty()) return maps;
  const kube::ObjectKey key{pass.config.os_config_map_namespace.empty()
                                ? pass.parts.settings.config_namespace
                                : pass.config.os_config_map_namespace,
                            pass.config.os_config_map_name};
  const kube::Object user = TRY(pass.parts.reader.get(kube::types::kConfigMap, key, pass.stop));
  return overlay_os_maps(std::move(maps), user);
}

// The cluster's own templates before the built-in ones.
Result<TemplateMatch> matching_template(const Pass& pass, const std::string& os) {
  auto match = find_template(pass.facts.templates, os, *pass.memory.vm);
  if (match || match.error().kind() != ErrorKind::NotFound) return match;
  return find_template(builtin_templates(), os, *pass.memory.vm);
}

// What the template that the import would use demands of the source; none without a template.
std::vector<Finding> template_findings(Pass& pass) {
  const auto maps = os_maps(pass);
  const auto os = maps ? find_os(*pass.memory.vm, *maps) : Result<std::string>(maps.error());
  if (!os) return {};  // deciding the plan reports it
  const auto match = matching_template(pass, *os);
  if (!match) return {};
  return check_template(*pass.memory.vm, match->object);
}

struct BaseVm {
  kube::Object object;
  std::string os, note;
};

// The template for the source's OS, the cluster's own before the built-in ones; else an empty base
// where that is allowed.
Result<BaseVm> base_vm(Pass& pass, const std::string& vm_name) {
  const SourceVm& vm = *pass.memory.vm;
  const OsMaps maps = TRY(os_maps(pass));
  auto os = find_os(vm, maps);
  Error why = make_error(ErrorKind::NotFound, "no template");
  if (os) {
    auto match = matching_template(pass, *os);
    if (match) {
      auto processed = process_template(*match, vm_name);
      if (processed) return BaseVm{*std::move(processed), *os, match->why};
      why = std::move(processed).error();
    } else {
      why = std::move(match).error();
    }
  } else {
    why = os.error();
  }
  if (!pass.config.import_without_template) return std::move(why).with_code(code::kTemplate);
  return BaseVm{empty_base_vm(vm_name), os ? *os : "", "no template: " + why.message()};
}

nlohmann::json plan_object(const Pass& pass, const ImportPlan& plan) {
  const kube::OwnerReference owner = pass.owner();
  return {{"apiVersion", "v1"},
          {"kind", "ConfigMap"},
          {"metadata",
           {{"name", plan_config_map_name(pass.uid())},
            {"namespace", pass.key().ns},
            {"labels", {{api::kImportUid, pass.uid()}}},
            {"ownerReferences",
             {{{"apiVersion", owner.api_version},
               {"kind", owner.kind},
               {"name", owner.name},
               {"uid", owner.uid},
               {"blockOwnerDeletion", true}}}}}},
          {"data", {{"plan", to_json(plan).dump()}}}};
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

}  // namespace

Result<StepResult> read_source(Pass& pass) {
  const bool decided = pass.memory.plan.has_value();
  if (decided && pass.memory.vm) return StepResult::done();
  const api::SourceSection& source = pass.source();
  auto vm = pass.provider->find_vm({.id = source.vm_id,
                                    .name = source.vm_name,
                                    .cluster_id = source.cluster_id,
                                    .cluster_name = source.cluster_name,
                                    .vddk = has_vddk(pass),
                                    .warm = pass.import.spec.warm},
                                   pass.stop);
  if (!vm) {
    const Error error = std::move(vm).error();
    const bool final_answer =
        error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::InvalidArgument;
    if (!decided && error.kind() != ErrorKind::Canceled) {
      pass.set_condition("Valid", "False", "SourceVMNotFound", text_with_remedy(error));
      TRY(pass.save_status(true));
      if (final_answer) {
        pass.event(kube::EventSeverity::Warning, "ImportBlocked", text_with_remedy(error));
        return StepResult::again(kBlockedRetry);
      }
    }
    return error;
  }
  pass.memory.vm = *std::move(vm);
  return StepResult::done();
}

Result<StepResult> validate_import(Pass& pass) {
  if (pass.memory.plan) return StepResult::done();
  if (auto observed = observe_mappings(pass); !observed) {
    const Error error = std::move(observed).error();
    if (error.code() != code::kMappingMissing) return error;
    return blocked(pass, "ResourceMappingNotFound", text_with_remedy(error));
  }
  TRY(observe_cluster(pass));

  const SourceVm& vm = *pass.memory.vm;
  const auto name = target_vm_name(pass.import.spec, vm);
  if (!name) return blocked(pass, "InvalidTargetVMName", text_with_remedy(name.error()));
  const auto conflict = TRY(name_conflict(pass, *name));
  if (conflict) return blocked(pass, "DuplicateTargetVMName", *conflict);

  std::vector<Finding> findings = check_mappings(vm, pass.mappings, pass.facts, pass.key().ns);
  findings.insert(findings.end(), vm.findings.begin(), vm.findings.end());
  for (Finding& finding : template_findings(pass)) findings.push_back(std::move(finding));
  findings = apply_overrides(std::move(findings), pass.config);
  for (const Finding& finding : findings) {
    if (finding.level == FindingLevel::Log) {
      pass.log.info("finding", {{"rule", finding.rule}, {"text", finding.text}});
    }
  }
  bool is_blocked = false;
  std::string texts;
  for (const api::Condition& condition : conditions_from(findings, vm.provider)) {
    pass.set_condition(condition.type, condition.status, condition.reason, condition.message);
    if (condition.status != "False") continue;
    is_blocked = true;
    texts += (texts.empty() ? "" : "; ") + condition.message;
  }
  if (is_blocked) {
    pass.event(kube::EventSeverity::Warning, "ImportBlocked",
               fmt::format("{}/{}: {}", pass.key().ns, vm.name, texts));
    TRY(pass.save_status(true));
    return StepResult::again(kBlockedRetry);
  }
  return StepResult::done();
}

Result<StepResult> decide_plan(Pass& pass) {
  if (pass.memory.plan) return StepResult::done();
  const SourceVm& vm = *pass.memory.vm;
  const ProgressProfile profile = design_profile(false);
  pass.set_processing("VMTemplateMatching",
                      "Looking for a template for the source VM's operating system");
  TRY(pass.save_status(true));
  TRY(pass.raise_progress(profile.start));

  ImportPlan plan;
  plan.vm_name = TRY(target_vm_name(pass.import.spec, vm));
  plan.source_native_id = vm.native_id;
  plan.disks = plan_disks(pass.uid(), vm, pass.mappings, pass.facts);
  auto base = base_vm(pass, plan.vm_name);
  if (!base) {
    if (base.error().code() != code::kTemplate) return std::move(base).error();
    return StepResult::failed("VMTemplateMatchingFailed", "VMTemplateMatchingFailed", base.error());
  }
  plan.template_note = base->note;
  std::vector<std::string> claims;
  for (const PlannedDisk& disk : plan.disks) claims.push_back(disk.claim);
  const kube::Object built = build_vm({.import = pass.import,
                                       .vm = vm,
                                       .mappings = pass.mappings,
                                       .base = base->object,
                                       .vm_name = plan.vm_name,
                                       .os = base->os,
                                       .claims = claims,
                                       .data_volumes = false});
  plan.vm = built.json();
  const auto accepted =
      pass.parts.writer.create(kube::types::kVirtualMachine, built, {.dry_run = true}, pass.stop);
  if (!accepted && accepted.error().kind() != ErrorKind::AlreadyExists) {
    if (is_retryable(accepted.error().kind())) return accepted.error();
    return StepResult::failed("VMCreationFailed", "VMCreationFailed", accepted.error());
  }

  // From here on the plan counts, not what it was made from.
  const auto kept = pass.parts.writer.create(kube::types::kConfigMap,
                                             kube::Object(plan_object(pass, plan)), {}, pass.stop);
  if (!kept && kept.error().kind() != ErrorKind::AlreadyExists) return kept.error();
  if (!kept) return load_plan(pass);  // made just before a crash
  pass.memory.plan = std::move(plan);
  pass.import.status.target_vm_name = pass.memory.plan->vm_name;
  pass.import.status.disks = initial_disks(*pass.memory.plan);
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
