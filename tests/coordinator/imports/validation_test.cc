#include "coordinator/imports/validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "coordinator/rules/table.h"

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Findings = std::vector<Finding>;

Finding finding(const char* rule, FindingLevel level, FindingGroup group, const char* text,
                const char* remedy = "") {
  return {rule, level, group, text, remedy};
}

TEST(ConditionsTest, FollowsTheLevels) {
  constexpr auto kLog = FindingLevel::Log;
  constexpr auto kWarn = FindingLevel::Warn;
  constexpr auto kBlock = FindingLevel::Block;
  constexpr auto kMapping = FindingGroup::Mapping;
  constexpr auto kRules = FindingGroup::Rules;
  struct Case {
    const char* id;
    ProviderKind provider;
    Findings findings;
    const char *valid, *verified;  // "status/reason"
    const char* text;              // in the message of the group
  };
  const char* const valid = "True/ValidationCompleted";
  const char* const verified = "True/MappingRulesVerificationCompleted";
  const Case cases[] = {
      {"VAL-110", ProviderKind::Ovirt, {}, valid, verified, ""},
      {"VAL-111",
       ProviderKind::Ovirt,
       {finding("vm.cpu_shares", kLog, kRules, "t")},
       valid,
       verified,
       ""},
      {"VAL-112",
       ProviderKind::Ovirt,
       {finding("vm.io.threads", kWarn, kRules, "t")},
       valid,
       "True/MappingRulesVerificationReportedWarnings",
       "t"},
      {"VAL-113",
       ProviderKind::Ovirt,
       {finding("vm.usb", kBlock, kRules, "t", "do")},
       valid,
       "False/MappingRulesVerificationFailed",
       "t: do"},
      {"VAL-114",
       ProviderKind::Ovirt,
       {finding("vm.usb", kBlock, kRules, "a"), finding("vm.io.threads", kWarn, kRules, "w"),
        finding("nic.interface", kBlock, kRules, "b", "do")},
       valid,
       "False/MappingRulesVerificationFailed",
       "a, b: do, w"},
      {"VAL-115, VAL-116",
       ProviderKind::Ovirt,
       {finding("network.mapping", kBlock, kMapping, "t")},
       "False/IncompleteMappingRules",
       verified,
       "t"},
      {"VAL-117",
       ProviderKind::Ovirt,
       {finding("storage.target.default", kWarn, kMapping, "t")},
       "True/ValidationReportedWarnings",
       verified,
       "t"},
      {"VAL-133, VAL-134",
       ProviderKind::Vmware,
       {finding("vmware.vm.tools", kBlock, kMapping, "tools"),
        finding("vmware.vm.change_tracking", kBlock, kMapping, "cbt")},
       "False/ValidationFailed",
       verified,
       "tools; cbt"},
      {"VAL-135",
       ProviderKind::Vmware,
       {finding("vmware.network.mapping", kBlock, kRules, "ethernet-0")},
       valid,
       "False/MappingRulesVerificationFailed",
       "ethernet-0"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    const auto conditions = conditions_from(c.findings, c.provider);
    ASSERT_EQ(conditions.size(), 2u);
    EXPECT_EQ(conditions[0].type, "Valid");
    EXPECT_EQ(conditions[1].type, "MappingRulesVerified");
    EXPECT_EQ(conditions[0].status + "/" + conditions[0].reason, c.valid);
    EXPECT_EQ(conditions[1].status + "/" + conditions[1].reason, c.verified);
    if (*c.text != '\0') {
      const bool in_valid = c.findings[0].group == kMapping;
      EXPECT_EQ(conditions[in_valid ? 0 : 1].message, c.text);
    }
  }
}

// Whatever the rule, its level and group alone decide the conditions.
TEST(ConditionsTest, Val111And112And113And115And116HoldForEveryRule) {
  std::vector<rules::Rule> all;
  for (const rules::Section& section : rules::kSections) {
    all.insert(all.end(), section.rules.begin(), section.rules.end());
  }
  for (const rules::Rule& rule : all) {
    SCOPED_TRACE(rule.id);
    const ProviderKind provider =
        rule.provider == "VMware" ? ProviderKind::Vmware : ProviderKind::Ovirt;
    for (const auto group : {FindingGroup::Mapping, FindingGroup::Rules}) {
      const bool mapping = group == FindingGroup::Mapping;
      for (const auto level : {FindingLevel::Log, FindingLevel::Warn, FindingLevel::Block}) {
        const auto conditions =
            conditions_from({{std::string(rule.id), level, group, "the text", "do"}}, provider);
        ASSERT_EQ(conditions.size(), 2u);
        const api::Condition& hit = conditions[mapping ? 0 : 1];
        const api::Condition& other = conditions[mapping ? 1 : 0];
        EXPECT_EQ(hit.status, level == FindingLevel::Block ? "False" : "True");
        EXPECT_EQ(hit.message.find("the text") != std::string::npos, level != FindingLevel::Log);
        EXPECT_EQ(other.status, "True");
        const bool ovirt = provider == ProviderKind::Ovirt;
        const std::string failed = !mapping ? "MappingRulesVerificationFailed"
                                   : ovirt  ? "IncompleteMappingRules"
                                            : "ValidationFailed";
        EXPECT_EQ(hit.reason == failed, level == FindingLevel::Block);
        EXPECT_EQ(hit.reason.ends_with("ReportedWarnings"), level == FindingLevel::Warn);
        EXPECT_EQ(hit.reason.ends_with("Completed"), level == FindingLevel::Log);
      }
    }
  }
}

TEST(OverridesTest, ChangeLevelsWhereTheRuleAllows) {
  api::ControllerConfig config;
  config.severity_overrides = {
      {"vm.usb", "warn"}, {"vm.status", "log"}, {"vm.io.threads", "block"}, {"vm.migration", "x"}};
  config.time_zone_blocks = true;
  const Findings changed =
      apply_overrides({finding("vm.usb", FindingLevel::Block, FindingGroup::Rules, ""),
                       finding("vm.status", FindingLevel::Block, FindingGroup::Rules, ""),
                       finding("vm.io.threads", FindingLevel::Warn, FindingGroup::Rules, ""),
                       finding("vm.migration", FindingLevel::Log, FindingGroup::Rules, ""),
                       finding("vm.timezone.unknown", FindingLevel::Warn, FindingGroup::Rules, ""),
                       finding("vm.timezone", FindingLevel::Warn, FindingGroup::Rules, "")},
                      config);
  EXPECT_EQ(changed[0].level, FindingLevel::Warn);
  EXPECT_EQ(changed[1].level, FindingLevel::Block);  // not overridable
  EXPECT_EQ(changed[2].level, FindingLevel::Block);
  EXPECT_EQ(changed[3].level, FindingLevel::Log);
  EXPECT_EQ(changed[4].level, FindingLevel::Block);  // DECISION-V1
  EXPECT_EQ(changed[5].level, FindingLevel::Warn);   // mapped exactly
}

api::NetworkMappingItem net(std::optional<std::string> id, std::optional<std::string> name,
                            std::optional<std::string> type) {
  api::NetworkMappingItem item;
  item.source = {std::move(id), std::move(name)};
  item.type = std::move(type);
  return item;
}

api::StorageMappingItem store(std::string id, std::string target) {
  api::StorageMappingItem item;
  item.source.id = std::move(id);
  item.target.name = std::move(target);
  return item;
}

api::VirtualMachineImport good(bool ovirt = true) {
  api::VirtualMachineImport import;
  import.object = kube::Object(json{{ "metadata", { {"namespace", "ns"}, { "name", "i" } } }});
  import.spec.credentials_secret.name = "secret";
  api::SourceSection section;
  section.vm_id = "id";
  section.mappings = api::Mappings{};
  (ovirt ? import.spec.ovirt : import.spec.vmware) = section;
  return import;
}

// Whatever the two lead to: which of them would win is nothing to guess.
TEST(CheckRequestTest, Val90And91ASourceMappedTwiceIsToldOnceAndNamed) {
  using Items = std::vector<api::NetworkMappingItem>;
  const auto to = [](api::NetworkMappingItem item, const char* name) {
    item.target.name = name;
    return item;
  };
  const auto name = [&](const char* type, const char* target = "a") {
    return to(net({}, "n/p", type), target);
  };
  const auto id = [&](const char* type, const char* target = "a") {
    return to(net("x", {}, type), target);
  };
  const struct {
    const char* what;
    Items items;
    std::vector<std::string> sources;  // named in the findings, one each
  } cases[] = {
      {"VAL-90 pod and pod", {name("pod"), name("pod")}, {"name 'n/p'"}},
      {"VAL-90 pod and multus", {name("pod"), name("multus")}, {"name 'n/p'"}},
      {"VAL-90 multus and pod", {name("multus"), name("pod")}, {"name 'n/p'"}},
      {"VAL-90 multus and another", {name("multus"), name("multus", "b")}, {"name 'n/p'"}},
      {"VAL-90 no type and multus", {net({}, "n/p", {}), name("multus")}, {"name 'n/p'"}},
      {"VAL-90 three times", {name("pod"), name("multus"), name("pod")}, {"name 'n/p'"}},
      {"VAL-90 the second by id as well",
       {name("pod"), to(net("x", "n/p", "multus"), "a")},
       {"name 'n/p'"}},
      {"VAL-90 an empty id tells nothing apart",
       {to(net("", "n/p", "pod"), ""), name("multus")},
       {"name 'n/p'"}},
      {"VAL-91 pod and multus", {id("pod"), id("multus")}, {"id 'x'"}},
      {"VAL-91 one with a name", {id("pod"), to(net("x", "n/p", "multus"), "a")}, {"id 'x'"}},
      {"VAL-90 and VAL-91 in one list",
       {name("pod"), id("pod"), name("multus"), id("multus")},
       {"id 'x'", "name 'n/p'"}},
      {"names that differ in case are two", {name("pod"), net({}, "N/p", "pod")}, {}},
      {"other names", {name("pod"), net({}, "n/q", "pod")}, {}},
      {"ids tell equal names apart", {net("x", "n/p", "pod"), net("y", "n/p", "pod")}, {}},
      {"one by id, one by name", {id("pod"), name("pod")}, {}},
  };
  for (const bool ovirt : {true, false}) {
    const std::string rule = ovirt ? "network.source.duplicate" : "vmware.network.source.duplicate";
    for (const auto& c : cases) {
      SCOPED_TRACE(c.what);
      api::VirtualMachineImport import = good(ovirt);
      (ovirt ? import.spec.ovirt : import.spec.vmware)->mappings->networks = c.items;
      std::vector<std::string> texts;
      for (const Finding& finding : check_request(import)) {
        if (finding.rule != rule) continue;
        EXPECT_EQ(finding.level, FindingLevel::Block);
        EXPECT_NE(finding.remedy, "");
        texts.push_back(finding.text);
      }
      std::vector<std::string> expected;
      for (const std::string& source : c.sources) {
        expected.push_back("networkMappings has the source " + source + " twice");
      }
      EXPECT_EQ(texts, expected);
    }
  }
}

TEST(CheckRequestTest, KnowsTheAdmissionRules) {
  using Import = api::VirtualMachineImport;
  struct Case {
    const char* id;
    std::function<void(Import&)> change;
    const char* expected;
  };
  const auto mappings = [](Import& i) -> api::Mappings& { return *i.spec.ovirt->mappings; };
  const Case cases[] = {
      {"a good one", [](Import&) {}, ""},
      {"ADM-1, API-61", [](Import& i) { i.spec.vmware = i.spec.ovirt; }, "request.source"},
      {"ADM-1, API-62", [](Import& i) { i.spec.ovirt.reset(); }, "request.source"},
      {"ADM-2", [](Import& i) { i.spec.ovirt->vm_id = ""; }, "request.vm"},
      {"ADM-2 warning",
       [](Import& i) {
         i.spec.ovirt->vm_id = "";
         i.spec.ovirt->vm_name = "n";
       },
       "request.vm.cluster"},
      {"ADM-3, API-60", [](Import& i) { i.spec.target_vm_name = std::string(64, 'x'); },
       "request.target_name"},
      {"ADM-4", [](Import& i) { i.spec.credentials_secret.name = ""; }, "request.secret"},
      {"ADM-4, API-42", [](Import& i) { i.spec.credentials_secret.ns = "other"; },
       "request.secret.namespace"},
      {"ADM-6", [&](Import& i) { mappings(i).networks = {{net({}, {}, "pod")}}; },
       "request.mapping.selector"},
      {"ADM-6 empty", [&](Import& i) { mappings(i).networks = {{net("", {}, "pod")}}; },
       "request.mapping.selector"},
      {"ADM-7",
       [&](Import& i) {
         mappings(i).disks = {{store("a", ""), store("a", "")}};
       },
       "request.mapping.duplicate"},
      {"ADM-7, VAL-90",
       [&](Import& i) {
         mappings(i).networks = {{net({}, "n/p", "pod"), net({}, "n/p", "pod")}};
       },
       "network.source.duplicate"},
      {"ADM-7, VAL-91",
       [&](Import& i) {
         mappings(i).networks = {{net("a", {}, "pod"), net("a", {}, "pod")}};
       },
       "network.source.duplicate"},
      {"an item repeated whole is one mistake",
       [&](Import& i) {
         mappings(i).networks = {{net("a", "n/p", "pod"), net("a", "n/p", "pod")}};
       },
       "network.source.duplicate"},
      {"names told apart by ids",
       [&](Import& i) {
         mappings(i).networks = {{net("a", "n/p", "pod"), net("b", "n/p", "pod")}};
       },
       ""},
      {"ADM-8", [&](Import& i) { mappings(i).networks = {{net({}, "net/", "pod")}}; },
       "request.mapping.network_name"},
      {"ADM-9", [&](Import& i) { mappings(i).networks = {{net("a", {}, "genie")}}; },
       "request.mapping.type"},
      {"ADM-10 a",
       [&](Import& i) {
         mappings(i).networks = {{net("a", {}, {})}};
         (*mappings(i).networks)[0].target.ns = "x";
       },
       "request.mapping.target"},
      {"ADM-10 b", [&](Import& i) { mappings(i).networks = {{net("a", {}, "multus")}}; },
       "request.mapping.target"},
      {"ADM-11 a", [&](Import& i) { mappings(i).storage = {{store("a", "Not A Class")}}; },
       "request.mapping.target"},
      {"ADM-11 b",
       [&](Import& i) {
         mappings(i).storage = {{store("a", "")}};
         (*mappings(i).storage)[0].target.ns = "x";
       },
       "request.mapping.target_namespace"},
      {"ADM-12 a",
       [&](Import& i) {
         mappings(i).storage = {{store("a", "")}};
         (*mappings(i).storage)[0].volume_mode = "Raw";
       },
       "request.mapping.volume_mode"},
      {"ADM-12 b",
       [&](Import& i) {
         mappings(i).storage = {{store("a", "")}};
         (*mappings(i).storage)[0].access_mode = "RWO";
       },
       "request.mapping.access_mode"},
      {"ADM-14",
       [](Import& i) {
         i.spec.ovirt->mappings->storage = {{store("d", "fast")}};
         (*i.spec.ovirt->mappings->storage)[0].type = "x";
       },
       "request.mapping.ignored_type"},
      {"ADM-15 a", [](Import& i) { i.spec.warm = true; }, "request.warm"},
      {"warm, VMware",  // a warm import must not be a cold one silently
       [](Import& i) {
         i = good(false);
         i.spec.warm = true;
       },
       "request.warm"},
      {"ADM-15 b", [](Import& i) { i.spec.finalize_date = "2026-01-01T00:00:00Z"; },
       "request.finalize_date"},
      {"ADM-18",
       [](Import& i) {
         i.object.json()["metadata"]["annotations"][std::string(api::kPropagateAnnotations)] =
             "[1]";
       },
       "request.propagate_annotations"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    Import import = good();
    c.change(import);
    const Findings findings = check_request(import);
    std::string rules;
    for (const Finding& one : findings) {
      rules += one.rule;
      EXPECT_NE(one.remedy, "");
      EXPECT_EQ(one.group, FindingGroup::Mapping);
    }
    EXPECT_EQ(rules, c.expected);
  }
  EXPECT_TRUE(check_request(good(false)).empty());
}

TEST(CheckRequestTest, Adm4AndAdm5AndApi42WhatIsElsewhereNeedsARight) {
  using Import = api::VirtualMachineImport;
  const auto refer = [](bool secret) {
    Import import = good();
    if (secret) import.spec.credentials_secret.ns = "other";
    if (!secret) import.spec.resource_mapping = api::ObjectIdentifier{"m", "other"};
    return import;
  };
  const struct {
    const char* id;
    bool secret;
    Right right;
    std::optional<FindingLevel> level;
  } cases[] = {
      {"API-42 denied", true, Right::Denied, FindingLevel::Block},
      {"ADM-4 nobody to ask", true, Right::Unknown, FindingLevel::Block},
      {"ADM-4 granted", true, Right::Granted, {}},
      {"ADM-5 denied", false, Right::Denied, FindingLevel::Block},
      {"ADM-5 nobody to ask", false, Right::Unknown, FindingLevel::Log},
      {"ADM-5 granted", false, Right::Granted, FindingLevel::Log},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.id);
    const ReferenceRights rights{.author = "system:serviceaccount:ns:vmferry-import",
                                 .secret = c.secret ? c.right : Right::Granted,
                                 .mapping = c.secret ? Right::Granted : c.right};
    const Findings findings = check_request(refer(c.secret), rights);
    ASSERT_EQ(findings.size(), c.level ? 1U : 0U);
    if (!c.level) continue;
    EXPECT_EQ(findings[0].level, *c.level);
    if (c.right != Right::Denied) continue;
    EXPECT_NE(findings[0].remedy.find("vmferry-import"), std::string::npos) << findings[0].remedy;
  }
  Import own = good();
  own.spec.credentials_secret.ns = "";  // as good as none
  EXPECT_TRUE(check_request(own).empty());
}

TEST(CheckResourceMappingTest, Adm13AndAdm20Warn) {
  EXPECT_EQ(check_resource_mapping({}, ProviderKind::Ovirt).at(0).rule,
            "request.resource_mapping.empty");
  api::ResourceMapping mapping;
  mapping.vmware = api::Mappings{{}, {}, {{store("a", "fast")}}};
  const Findings findings = check_resource_mapping(mapping, ProviderKind::Vmware);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].rule, "request.resource_mapping.disks");
  EXPECT_EQ(findings[0].level, FindingLevel::Warn);
  EXPECT_TRUE(check_resource_mapping(mapping, ProviderKind::Ovirt).empty());
}

}  // namespace
}  // namespace vmferry::imports
