#include "coordinator/imports/decision.h"

#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/imports/disk_overrides.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/vm_builder.h"
#include "coordinator/rules/findings.h"

namespace vmferry::imports {

namespace {

void append(std::vector<Finding>& findings, std::vector<Finding> more) {
  std::ranges::move(more, std::back_inserter(findings));
}

kube::Object built_vm(const DecisionInput& input, const ImportDecision& decision) {
  std::vector<std::string> claims;
  for (const PlannedDisk& disk : decision.disks) claims.push_back(disk.claim);
  return build_vm({.import = input.import,
                   .vm = input.vm,
                   .mappings = input.mappings,
                   .base = decision.base->object,
                   .vm_name = decision.vm_name,
                   .os = decision.base->os,
                   .claims = std::move(claims),
                   .data_volumes = input.facts.has_cdi,
                   .converted = false,
                   .instancetype = decision.base->instancetype});
}

// An invalid spec.targetVmName is check_request()'s finding already.
std::vector<Finding> check_name(const DecisionInput& input, const Result<std::string>& name) {
  if (name || input.import.spec.target_vm_name) return {};
  return {rules::finding("request.target_name/source", name.error().message())};
}

// What the VM stands on, for the status; a warning where that is nothing.
std::vector<Finding> check_base(const BaseVm& base) {
  if (base.template_object || base.object.json().contains("/spec/preference"_json_pointer)) {
    return {rules::finding("template.chosen", base.note)};
  }
  return {rules::finding("template.none", base.note)};
}

}  // namespace

bool ImportDecision::blocked() const {
  return std::ranges::any_of(
      findings, [](const Finding& finding) { return finding.level == FindingLevel::Block; });
}

Result<ImportDecision> decide_import(const DecisionInput& input) {
  const SourceVm& vm = input.vm;
  ImportDecision decision;
  const Result<std::string> name = target_vm_name(input.import.spec, vm);
  if (name) decision.vm_name = *name;
  decision.data_volumes = input.facts.has_cdi;
  decision.disks = plan_disks(input.import.object.uid(), vm, input.mappings, input.facts);

  auto base = choose_base({vm, input.facts, input.config, input.os_maps}, name ? *name : "unnamed");
  if (base) {
    decision.base = *std::move(base);
    if (name) decision.vm = built_vm(input, decision);
  } else {
    decision.base_problem = std::move(base).error();
  }

  std::vector<Finding>& findings = decision.findings;
  findings = check_request(input.import, input.rights);
  append(findings, check_name(input, name));
  append(findings, input.more_findings);
  append(findings, input.mapping_findings);
  append(findings, input.facts.findings);
  append(findings,
         check_mappings(vm, input.mappings, input.facts, input.import.object.ns(), input.rights));
  append(findings, vm.findings);
  append(findings, check_target(vm, input.mappings, input.facts, input.config));
  append(findings, check_disk_sources(input.import.object, vm, input.facts.local_sources));
  if (input.os_maps.note) append(findings, {*input.os_maps.note});
  if (decision.base) {
    append(findings, check_base(*decision.base));
    if (decision.base->template_object) {
      append(findings, check_template(vm, *decision.base->template_object,
                                      decision.vm.value_or(kube::Object())));
    }
  }
  findings = apply_overrides(std::move(findings), input.config);
  return decision;
}

}  // namespace vmferry::imports
