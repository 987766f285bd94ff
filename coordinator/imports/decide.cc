#include "coordinator/imports/decide.h"

#include "common/catalogue.h"
#include "coordinator/imports/templates.h"
#include "coordinator/imports/validation.h"
#include "coordinator/imports/vm_builder.h"

namespace vmferry::imports {
namespace {

Result<OsMatch> os_of(const DecisionInput& input) {
  if (!input.os_maps) return input.os_maps.error();
  return match_os(input.vm, *input.os_maps);
}

// The cluster's own templates before the built-in ones.
Result<TemplateMatch> matching_template(const DecisionInput& input, const std::string& os) {
  auto match = find_template(input.facts.templates, os, input.vm);
  if (match || match.error().kind() != ErrorKind::NotFound) return match;
  return find_template(builtin_templates(), os, input.vm);
}

// What the template that the import would use demands of the source; none without a template.
std::vector<Finding> template_findings(const DecisionInput& input) {
  const auto os = os_of(input);
  if (!os) return {};  // deciding the plan reports it
  const auto match = matching_template(input, os->os);
  if (!match) return {};
  return check_template(input.vm, match->object);
}

struct BaseVm {
  kube::Object object;
  std::string note;
};

Result<BaseVm> from_template(const DecisionInput& input, const Result<OsMatch>& os,
                             const std::string& vm_name) {
  if (!os) return os.error();
  const TemplateMatch match = TRY(matching_template(input, os->os));
  return BaseVm{TRY(process_template(match, vm_name)), match.why};
}

// The template for the source's OS, the cluster's own before the built-in ones; else an empty base
// where that is allowed.
Result<BaseVm> base_vm(const DecisionInput& input, const Result<OsMatch>& os,
                       const std::string& vm_name) {
  if (!input.os_maps) return input.os_maps.error();
  auto base = from_template(input, os, vm_name);
  if (base) return base;
  Error why = std::move(base).error();
  if (!input.config.import_without_template) return std::move(why).with_code(code::kTemplate);
  return BaseVm{empty_base_vm(vm_name), "no template: " + why.message()};
}

}  // namespace

std::vector<Finding> judge(const DecisionInput& input) {
  std::vector<Finding> findings =
      check_mappings(input.vm, input.mappings, input.facts, input.import.object.ns());
  findings.insert(findings.end(), input.vm.findings.begin(), input.vm.findings.end());
  for (Finding& finding : template_findings(input)) findings.push_back(std::move(finding));
  return apply_overrides(std::move(findings), input.config);
}

Result<Decision> decide(const DecisionInput& input, const std::string& vm_name) {
  const Result<OsMatch> os = os_of(input);
  const BaseVm base = TRY(base_vm(input, os, vm_name));
  Decision decision;
  decision.os = os ? os->os : "";
  decision.os_why = os ? os->why : os.error().message();
  ImportPlan& plan = decision.plan;
  plan.vm_name = vm_name;
  plan.source_native_id = input.vm.native_id;
  plan.template_note = base.note;
  plan.disks = plan_disks(input.import.object.uid(), input.vm, input.mappings, input.facts);
  plan.data_volumes = input.facts.has_cdi;
  std::vector<std::string> claims;
  for (const PlannedDisk& disk : plan.disks) claims.push_back(disk.claim);
  plan.vm = build_vm({.import = input.import,
                      .vm = input.vm,
                      .mappings = input.mappings,
                      .base = base.object,
                      .vm_name = vm_name,
                      .os = decision.os,
                      .claims = claims,
                      .data_volumes = input.facts.has_cdi})
                .json();
  return decision;
}

}  // namespace vmferry::imports
