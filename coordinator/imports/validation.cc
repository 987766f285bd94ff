#include "coordinator/imports/validation.h"

#include <algorithm>

#include "coordinator/imports/validation_parts.h"
#include "coordinator/provider/finding_words.h"
#include "coordinator/rules/table.h"

namespace vmferry::imports {

namespace {

// The reasons and words of one condition (api.md 5.1).
struct Outcome {
  const char* type;
  const char* completed;
  const char* warned;
  const char* blocked;
  const char* success;
};

constexpr Outcome kOvirtValid = {"Valid", "ValidationCompleted", "ValidationReportedWarnings",
                                 "IncompleteMappingRules", "The import can be carried out"};
constexpr Outcome kVmwareValid = {"Valid", "ValidationCompleted", "ValidationReportedWarnings",
                                  "ValidationFailed", "The import can be carried out"};
constexpr Outcome kRules = {"MappingRulesVerified", "MappingRulesVerificationCompleted",
                            "MappingRulesVerificationReportedWarnings",
                            "MappingRulesVerificationFailed",
                            "The source VM can be mapped to the target"};

// Blocks first, then warnings, so that nothing is hidden.
api::Condition condition_from(const std::vector<Finding>& findings, FindingGroup group,
                              const Outcome& outcome, std::string_view between) {
  std::vector<std::string> texts;
  const auto collect = [&](FindingLevel level) {
    for (const Finding& finding : findings) {
      if (finding.group != group || finding.level != level) continue;
      const bool with_remedy = level == FindingLevel::Block && !finding.remedy.empty();
      texts.push_back(with_remedy ? fmt::format("{}: {}", finding.text, finding.remedy)
                                  : finding.text);
    }
    return texts.size();
  };
  const std::size_t blocks = collect(FindingLevel::Block);
  const std::size_t all = collect(FindingLevel::Warn);

  api::Condition condition;
  condition.type = outcome.type;
  condition.status = blocks > 0 ? "False" : "True";
  condition.reason = blocks > 0 ? outcome.blocked : all > 0 ? outcome.warned : outcome.completed;
  condition.message = all > 0 ? fmt::format("{}", fmt::join(texts, between)) : outcome.success;
  return condition;
}

}  // namespace

std::string how_to_grant(const std::string& author, std::string_view resource,
                         const std::string& ns, const std::string& name) {
  return fmt::format(
      "let {} read it: kubectl -n {} create role import-{} --verb=get --resource={} "
      "--resource-name={}, and a role binding of it to that account",
      author, ns, name, resource, name);
}

std::vector<Finding> check_mappings(const SourceVm& vm, const api::Mappings& mappings,
                                    const ClusterFacts& facts, const std::string& import_ns,
                                    const ReferenceRights& rights) {
  std::vector<Finding> findings = check_networks(vm, mappings, facts, import_ns, rights);
  std::ranges::move(check_storage(vm, mappings, facts), std::back_inserter(findings));
  return findings;
}

std::vector<Finding> apply_overrides(std::vector<Finding> findings,
                                     const api::ControllerConfig& config) {
  for (Finding& finding : findings) {
    if (config.time_zone_blocks && finding.rule == "vm.timezone.unknown") {
      finding.level = FindingLevel::Block;
    }
    std::string key = finding.rule;  // a ConfigMap's keys hold no blank, one rule's id does
    std::ranges::replace(key, ' ', '_');
    const auto wanted = config.severity_overrides.find(key);
    if (wanted == config.severity_overrides.end()) continue;
    const std::optional<FindingLevel> level = parse_finding_level(wanted->second);
    if (!level) continue;
    // Some blocks stand for imports that cannot work; those can only be raised.
    const rules::Rule* rule = rules::find_rule(finding.rule);
    if (rule != nullptr && !rule->overridable && *level < finding.level) continue;
    finding.level = *level;
  }
  return findings;
}

std::vector<api::Condition> conditions_from(const std::vector<Finding>& findings,
                                            ProviderKind provider) {
  const bool ovirt = provider == ProviderKind::Ovirt;
  const std::string_view between = ovirt ? ", " : "; ";
  return {
      condition_from(findings, FindingGroup::Mapping, ovirt ? kOvirtValid : kVmwareValid, between),
      condition_from(findings, FindingGroup::Rules, kRules, between)};
}

std::string blocked_text(std::string_view what, const std::vector<Finding>& findings) {
  constexpr std::size_t kRoom = 850;  // of the 1024 bytes that an event may have
  std::string texts;
  std::size_t left_out = 0;
  for (const Finding& finding : findings) {
    if (finding.level != FindingLevel::Block) continue;
    if (texts.size() + finding.text.size() > kRoom) {
      ++left_out;
    } else {
      texts += (texts.empty() ? "" : "; ") + finding.text;
    }
  }
  std::string more;
  if (left_out > 0) more = fmt::format("{}{} more", texts.empty() ? "" : "; and ", left_out);
  return fmt::format("{}: {}{}; remedies: vmferry describe import", what, texts, more);
}

}  // namespace vmferry::imports
