#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "coordinator/imports/validation.h"

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

using api::Mappings;
using api::NetworkMappingItem;
using api::StorageMappingItem;
using nlohmann::json;
using testing::HasSubstr;

using Text = std::optional<std::string>;

NetworkMappingItem net(Text id, Text name, Text type, std::string target = "nad", Text ns = {}) {
  NetworkMappingItem item;
  item.source = {std::move(id), std::move(name)};
  item.target = {std::move(target), std::move(ns)};
  item.type = std::move(type);
  return item;
}

StorageMappingItem store(Text id, Text name, std::string target) {
  StorageMappingItem item;
  item.source = {std::move(id), std::move(name)};
  item.target.name = std::move(target);
  return item;
}

SourceNic nic(const std::string& id, const std::string& name, bool sriov = false) {
  SourceNic one;
  one.name = "nic-" + id;
  one.attachment = NicAttachment::VnicProfile;
  one.network_ids = {id};
  one.network_names = {name};
  one.sriov = sriov;
  return one;
}

const char* const kId = "some-vnic-profile-id";
const char* const kName = "some-net/some-vnic-profile-name";

ClusterFacts facts_with(const char* nad_config = R"({"type":"sriov"})") {
  ClusterFacts facts;
  for (const char* ns : {"ns", "other"}) {
    facts.network_attachments[{ns, "nad"}] = kube::Object(json{{"spec", {{"config", nad_config}}}});
  }
  facts.storage_classes["fast"] = kube::Object(json::object());
  facts.storage_classes["standard"] = kube::Object(json{
      {"metadata", {{"annotations", {{"storageclass.kubernetes.io/is-default-class", "true"}}}}}});
  return facts;
}

std::string rules_of(const std::vector<Finding>& findings) {
  std::vector<std::string> rules;
  for (const Finding& finding : findings) rules.push_back(finding.rule);
  return fmt::format("{}", fmt::join(rules, " "));
}

struct NetworkCase {
  const char* id;
  std::optional<std::vector<NetworkMappingItem>> items;
  std::vector<SourceNic> nics;
  const char* expected;  // rule ids
  const char* nad_config = R"({"type":"sriov"})";
};

// Whether one exists that the authors may not read is told to nobody, nor what else is there.
TEST(CheckMappingsTest, ANetworkThatTheAuthorsMayNotReadBlocksWhetherItExistsOrNot) {
  const ReferenceRights rights{.author = "system:serviceaccount:ns:vmferry-import",
                               .denied_networks = {{"other", "nad"}, {"other", "missing"}}};
  for (const char* name : {"nad", "missing"}) {
    for (const bool sriov : {false, true}) {
      SCOPED_TRACE(name);
      SourceVm vm{.provider = ProviderKind::Ovirt};
      vm.nics = {nic(kId, kName, sriov)};
      const auto findings = check_mappings(vm, {{{net(kId, {}, "multus", name, "other")}}, {}, {}},
                                           facts_with(R"({"type":"bridge"})"), "ns", rights);
      ASSERT_EQ(rules_of(findings), "network.target.namespace");
      EXPECT_EQ(findings[0].level, FindingLevel::Block);
      EXPECT_NE(findings[0].text.find(std::string("other/") + name), std::string::npos);
      EXPECT_EQ(findings[0].text.find("has:"), std::string::npos);
      EXPECT_NE(findings[0].remedy.find("namespace 'ns'"), std::string::npos);
      EXPECT_NE(findings[0].remedy.find("let system:serviceaccount:ns:vmferry-import read it"),
                std::string::npos);
    }
  }
}

TEST(CheckMappingsTest, ChecksNetworksOfOvirt) {
  const std::vector<SourceNic> one = {nic(kId, kName)};
  const std::vector<SourceNic> passthrough = {nic(kId, kName, true)};
  const std::vector<SourceNic> same = {nic(kId, kName), nic(kId, kName)};
  const std::vector<SourceNic> two = {nic("p1", "n/p1"), nic("p2", "n/p2")};
  SourceNic no_profile = nic(kId, kName);
  no_profile.has_network = false;
  SourceNic unplugged = nic(kId, kName);
  unplugged.plugged = false;
  const NetworkCase cases[] = {
      {"VAL-80 a", {{net({}, {}, "pod")}}, one, "network.mapping"},
      {"VAL-80 b", {{net("wrong", {}, "pod")}}, one, "network.mapping"},
      {"VAL-80 c", {{net({}, "wrong/one", "pod")}}, one, "network.mapping"},
      {"VAL-80 d", {{net("wrong", "wrong/one", "pod")}}, one, "network.mapping"},
      {"VAL-81", {{net({}, "some-net", "pod")}}, one, "network.mapping"},
      {"VAL-82 a", {{net({}, kName, "pod")}}, one, ""},
      {"VAL-82 b", {{net(kId, {}, "pod")}}, one, ""},
      {"VAL-82 c", {{net(kId, kName, "pod")}}, one, ""},
      {"VAL-83", {{net(kId, {}, {})}}, one, ""},
      {"VAL-84", {{net(kId, {}, "multus"), net("x", {}, "multus", "missing")}}, one, ""},
      {"VAL-85 a", {{net(kId, {}, "multus", "nad", "other")}}, one, ""},
      {"VAL-85 b", {{net(kId, {}, "multus", "missing", "other")}}, one, "network.target"},
      {"VAL-86 a", {{net(kId, {}, "multus")}}, passthrough, ""},
      {"VAL-86 b", {{net(kId, {}, "multus")}}, passthrough, "network.config", ""},
      {"VAL-86 c", {{net(kId, {}, "multus")}}, passthrough, "network.type", R"({"type":"x"})"},
      {"VAL-87", {{net(kId, {}, "genie")}}, one, "network.type"},
      {"VAL-88", {{net(kId, {}, {}, "x", "other")}}, one, "network.type"},
      {"VAL-89 a", std::nullopt, one, "network.mapping"},
      {"VAL-89 b", std::nullopt, {no_profile}, ""},
      {"VAL-92, ADM-21", {{net(kId, {}, "pod")}}, same, "network.pod.multiple"},
      {"VAL-93", {{net("p1", {}, "pod"), net("p2", {}, "pod")}}, two, "network.pod.multiple"},
      {"VAL-94", {{net({}, "n/p1", "pod"), net({}, "n/p2", {})}}, two, "network.pod.multiple"},
      {"VAL-95",
       {{net(kId, {}, "multus")}},
       passthrough,
       "",
       R"({"plugins":[{"type":"a"},{"type":"sriov"}]})"},
      {"VAL-118", {{net(kId, {}, "pod")}}, passthrough, "network.type"},
      {"an SR-IOV NIC without its attachment",
       {{net(kId, {}, "multus", "missing")}},
       passthrough,
       "network.target"},
      {"an empty list is not absent",
       {std::vector<NetworkMappingItem>{}},
       two,
       "network.mapping network.mapping"},
      {"names told apart by ids",
       {{net("p1", "n/p", "pod"), net("p2", "n/p", "multus")}},
       {nic("p1", "n/p"), nic("p2", "n/p")},
       ""},
      {"an unplugged NIC needs nothing", std::nullopt, {unplugged}, ""},
  };
  for (const NetworkCase& c : cases) {
    SCOPED_TRACE(c.id);
    SourceVm vm{.provider = ProviderKind::Ovirt};
    vm.nics = c.nics;
    const auto findings = check_mappings(vm, {c.items, {}, {}}, facts_with(c.nad_config), "ns");
    EXPECT_EQ(rules_of(findings), c.expected);
    // VAL-118 and all others: the source itself can be mapped.
    EXPECT_EQ(conditions_from(findings, ProviderKind::Ovirt).at(1).status, "True");
    for (const Finding& finding : findings) {
      EXPECT_EQ(finding.group, FindingGroup::Mapping);
      EXPECT_EQ(finding.level, FindingLevel::Block);
      EXPECT_NE(finding.remedy, "");
    }
  }
}

TEST(CheckMappingsTest, AMissingMappingComesWithYaml) {
  SourceVm vm{.provider = ProviderKind::Ovirt};
  vm.nics = {nic("p1", "net/\"a\""), nic("p2", "net/b")};
  const auto findings = check_mappings(vm, {}, facts_with(), "ns");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_THAT(findings[0].text, HasSubstr("'net/b' (p2)"));
  EXPECT_EQ(findings[0].remedy,
            "add to spec.source.ovirt.mappings:\n"
            "networkMappings:\n"
            "- source: {name: \"net/\\\"a\\\"\"}\n"
            "  target: {name: pod}\n"
            "  type: pod\n"
            "- source: {name: \"net/b\"}\n"
            "  target: {name: \"NETWORK-ATTACHMENT\"}\n"
            "  type: multus");
}

TEST(CheckMappingsTest, ChecksNetworksOfVmware) {
  SourceNic distributed;
  distributed.name = "ethernet-0";
  distributed.attachment = NicAttachment::Distributed;
  distributed.network_names = {"ethernet-0"};
  distributed.network_ids = {"dvportgroup-13"};
  SourceNic other = distributed;
  other.name = "ethernet-1";
  other.network_names = {"ethernet-1"};
  other.network_ids = {"dvportgroup-14"};
  const NetworkCase cases[] = {
      {"VAL-130 a", std::nullopt, {distributed}, "vmware.network.mapping"},
      {"VAL-130 b", {std::vector<NetworkMappingItem>{}}, {distributed}, "vmware.network.mapping"},
      {"VAL-131",
       {{net({}, "ethernet-0", "pod"), net("dvportgroup-13", {}, "pod")}},
       {distributed},
       ""},
      {"VAL-132",
       {{net({}, "ethernet-0", "multus"), net({}, "ethernet-1", "pod")}},
       {distributed, other},
       ""},
      {"VW-25 a", {{net({}, "ethernet-0", "pod")}}, {distributed}, ""},
      {"VW-25 b", {{net("dvportgroup-13", {}, "pod")}}, {distributed}, ""},
      {"two on the pod network",
       {{net({}, "ethernet-0", "pod"), net({}, "ethernet-1", "pod")}},
       {distributed, other},
       "vmware.network.pod"},
      {"no NICs", std::nullopt, {}, ""},
  };
  for (const NetworkCase& c : cases) {
    SCOPED_TRACE(c.id);
    SourceVm vm{.provider = ProviderKind::Vmware};
    vm.nics = c.nics;
    const auto findings = check_mappings(vm, {c.items, {}, {}}, facts_with(), "ns");
    EXPECT_EQ(rules_of(findings), c.expected);
    for (const Finding& finding : findings) {
      EXPECT_EQ(finding.group, FindingGroup::Rules);  // DECISION-A3
      EXPECT_THAT(finding.text, HasSubstr("ethernet-0"));
    }
  }
}

struct StorageCase {
  const char* id;
  std::optional<std::vector<StorageMappingItem>> domains, disks;
  const char* expected;
};

TEST(CheckMappingsTest, ChecksStorage) {
  const StorageCase cases[] = {
      {"VAL-100 a", {{store({}, {}, "fast")}}, {}, "storage.target.default"},
      {"VAL-100 b", {{store("x", {}, "fast")}}, {}, "storage.target.default"},
      {"VAL-100 c", {{store({}, "x", "fast")}}, {}, "storage.target.default"},
      {"VAL-100 d", {{store("x", "x", "fast")}}, {}, "storage.target.default"},
      {"VAL-101 a", {{store("dom", {}, "fast")}}, {}, ""},
      {"VAL-101 b", {{store({}, "domain", "fast")}}, {}, ""},
      {"VAL-101 c", {{store("dom", "domain", "fast")}}, {}, ""},
      {"VAL-102", {{store("dom", {}, "")}}, {}, "storage.target.default"},
      {"VAL-103", {{store("dom", {}, "missing")}}, {}, "storage.target"},
      {"VAL-105", {}, {}, "storage.target.default"},
      {"VAL-106 a", {}, {{store({}, {}, "fast")}}, "storage.target.default"},
      {"VAL-106 b", {}, {{store("disk", {}, "fast")}}, ""},
      {"VAL-106 c", {}, {{store({}, "alias", "fast")}}, ""},
      {"VAL-106 d", {}, {{store("disk", {}, "")}}, "storage.target.default"},
      {"VAL-106 e", {}, {{store("disk", {}, "missing")}}, "disk.target"},
      {"VAL-106 f", {}, {{store("x", "x", "fast")}}, "storage.target.default"},
      {"VAL-107", {{store("dom", {}, "missing")}}, {{store("disk", {}, "fast")}}, ""},
      {"VAL-109", {std::vector<StorageMappingItem>{}}, {}, "storage.target.default"},
  };
  for (const StorageCase& c : cases) {
    SCOPED_TRACE(c.id);
    SourceVm vm{.provider = ProviderKind::Ovirt};
    vm.disks = {{.id = "disk", .name = "alias", .storage_id = "dom", .storage_name = "domain"}};
    const auto findings = check_mappings(vm, {{}, c.domains, c.disks}, facts_with(), "ns");
    EXPECT_EQ(rules_of(findings), c.expected);
    vm.provider = ProviderKind::Vmware;
    for (const Finding& finding :
         check_mappings(vm, {{}, c.domains, c.disks}, facts_with(), "ns")) {
      EXPECT_EQ(finding.rule, std::string("vmware.") + c.expected);
      EXPECT_EQ(finding.group, FindingGroup::Mapping);
    }
  }
}

TEST(CheckMappingsTest, Val104And108NamesEverySourceOfAMissingClass) {
  SourceVm vm{.provider = ProviderKind::Ovirt};
  vm.disks = {{.id = "a", .name = "A", .storage_id = "d1", .storage_name = "one"},
              {.id = "b", .name = "B", .storage_id = "d2", .storage_name = "two"},
              {.id = "c", .name = "C", .storage_id = "d2", .storage_name = "two"}};
  const Mappings domains{{}, {{store("d1", {}, "missing"), store("d2", {}, "missing")}}, {}};
  const auto findings = check_mappings(vm, domains, facts_with(), "ns");  // VAL-104
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_THAT(findings[0].text, HasSubstr("'one' (d1)"));
  EXPECT_THAT(findings[1].text, HasSubstr("'two' (d2)"));
  const Mappings mixed{
      {}, {{store("d1", {}, "fast"), store("d2", {}, "fast")}}, {{store("b", {}, "standard")}}};
  EXPECT_TRUE(check_mappings(vm, mixed, facts_with(), "ns").empty());  // VAL-108
  const Mappings disks{
      {}, {}, {{store("a", {}, "x"), store("b", {}, "x"), store("c", {}, "fast")}}};
  EXPECT_EQ(rules_of(check_mappings(vm, disks, facts_with(), "ns")), "disk.target disk.target");
}

TEST(CheckMappingsTest, TheDefaultClassMustBeOne) {
  SourceVm vm{.provider = ProviderKind::Ovirt};
  vm.disks = {{.id = "a", .name = "A", .storage_name = "one"}, {.id = "b", .name = "B"}};
  ClusterFacts facts = facts_with();
  auto findings = check_mappings(vm, {}, facts, "ns");
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].level, FindingLevel::Warn);
  EXPECT_THAT(findings[0].text, HasSubstr("'standard'"));
  facts.storage_classes["fast"] = facts.storage_classes["standard"];
  for (int i = 0; i < 2; ++i) {
    findings = check_mappings(vm, {}, facts, "ns");
    ASSERT_EQ(findings.size(), 1u);
    EXPECT_EQ(findings[0].rule, "storage.target.default");
    EXPECT_EQ(findings[0].level, FindingLevel::Block);
    EXPECT_THAT(findings[0].remedy, HasSubstr("is-default-class"));
    EXPECT_THAT(findings[0].remedy, HasSubstr("storageMappings:\n- source: {name: \"one\"}"));
    facts.storage_classes.clear();
  }
}

TEST(CheckMappingsTest, TheDefaultForVirtualMachinesSettlesIt) {
  SourceVm vm{.provider = ProviderKind::Ovirt};
  vm.disks = {{.id = "a", .name = "A"}};
  ClusterFacts facts = facts_with();
  facts.storage_classes["other"] = facts.storage_classes["standard"];
  facts.storage_classes["virt"] =
      kube::Object(json{{"metadata", {{"annotations", {{kube::kVirtDefaultClass, "true"}}}}}});
  const auto findings = check_mappings(vm, {}, facts, "ns");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].level, FindingLevel::Warn);
  EXPECT_THAT(findings[0].text, HasSubstr("'virt'"));
  EXPECT_EQ(facts.effective_class(""), "virt");
}

}  // namespace
}  // namespace vmferry::imports
