#include "coordinator/imports/decision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "coordinator/imports/preferences.h"
#include "coordinator/imports/storage_choice.h"
#include "coordinator/imports/template_sources.h"
#include "tests/coordinator/imports/scene.h"
#include "tests/support/places.h"

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

using nlohmann::json;
using scenes::kGib;
using scenes::net;
using scenes::Scene;
using ::testing::HasSubstr;

std::vector<std::string> rules_of(const Scene& s) {
  std::vector<std::string> rules;
  const auto decision = s.decide();
  if (!decision) return {to_string(decision.error())};
  for (const Finding& finding : decision->findings) rules.push_back(finding.rule);
  return rules;
}

const Finding* find(const ImportDecision& decision, std::string_view rule) {
  const auto found = std::ranges::find(decision.findings, rule, &Finding::rule);
  return found == decision.findings.end() ? nullptr : &*found;
}

void on_openshift(Scene& s) {
  s.facts.has_template_api = true;
  s.facts.templates = templates_in(testing::source_dir() + "/tests/data/templates").templates;
  s.facts.template_namespaces = {"openshift"};
}

kube::Object profile(std::initializer_list<std::pair<const char*, std::vector<std::string>>> sets) {
  json list = json::array();
  for (const auto& [mode, access] : sets) {
    list.push_back({{"volumeMode", mode}, {"accessModes", access}});
  }
  return kube::Object(json{{"status", {{"claimPropertySets", list}}}});
}

TEST(DecideImportTest, Os50And51And52FollowsTheGatesWhereNoTemplateFits) {
  for (const Scene& base : {scenes::ovirt(), scenes::vmware()}) {
    Scene s = base;
    s.facts.has_template_api = true;  // OpenShift: the administrator's templates alone count
    const auto refused = s.decide();  // OS-50
    ASSERT_TRUE(refused);
    ASSERT_FALSE(refused->base);
    EXPECT_EQ(refused->base_problem->code(), "VMF-REQ-TEMPLATE");
    EXPECT_THAT(refused->base_problem->message(), HasSubstr("add an entry to the OS config map"));

    s.config.import_without_template = true;  // OS-51, OS-52
    const auto allowed = s.decide();
    ASSERT_TRUE(allowed && allowed->vm);
    EXPECT_EQ(allowed->vm->labels().at("app"), allowed->vm_name);
    const json labels = allowed->vm->json().at("/spec/template/metadata/labels"_json_pointer);
    EXPECT_EQ(labels.at("kubevirt.io/domain"), allowed->vm_name);
    EXPECT_EQ(labels.at("vm.kubevirt.io/name"), allowed->vm_name);
    ASSERT_NE(find(*allowed, "template.none"), nullptr);
    EXPECT_EQ(find(*allowed, "template.none")->level, FindingLevel::Warn);
    EXPECT_THAT(allowed->base->note, HasSubstr("no template"));
  }
}

// OV-118: both items stay in the merged list, where the import's stands first.
TEST(DecideImportTest, AnImportsItemMayRepeatOneOfItsResourceMapping) {
  for (Scene s : {scenes::ovirt(), scenes::vmware()}) {
    s.vm.nics = {scenes::nic("1", "nic1")};
    s.vm.disks = {{.id = "d", .name = "disk", .storage_id = "1", .storage_name = "net/1"}};
    api::Mappings own, external;
    api::NetworkMappingItem by_name = net("", "pod");
    by_name.source = {.id = {}, .name = "net/1"};
    api::NetworkMappingItem with_id = net("1", "multus", "missing");
    with_id.source.name = "net/1";
    own.networks = {{by_name}};
    external.networks = {{with_id}};
    api::StorageMappingItem own_storage, external_storage;
    own_storage.source = {.id = {}, .name = "net/1"};
    own_storage.target.name = "standard";
    external_storage.source = {.id = "1", .name = "net/1"};
    own.storage = {{own_storage}};
    external.storage = {{external_storage}};
    s.mappings = merge_mappings(own, external);
    ASSERT_EQ(s.mappings.networks->size(), 2u);
    (s.vm.provider == ProviderKind::Ovirt ? s.import.spec.ovirt : s.import.spec.vmware)->mappings =
        own;
    const auto decision = s.decide();
    ASSERT_TRUE(decision);
    for (const Finding& finding : decision->findings) {
      EXPECT_NE(finding.level, FindingLevel::Block) << finding.rule << ": " << finding.text;
    }
  }
}

TEST(DecideImportTest, BuiltInTemplatesServeWhereThereIsNoTemplateApi) {
  Scene s = scenes::vmware();
  EXPECT_THAT(s.decide()->base->note, HasSubstr("built-in template 'vmferry-rhel'"));
  s.config.builtin_templates = false;
  EXPECT_FALSE(s.decide()->base);
  s.facts.has_template_api = true;
  s.config.builtin_templates = true;
  EXPECT_TRUE(s.decide()->base);
}

TEST(DecideImportTest, Vw16AVmFoundByUuidGetsItsNormalisedName) {
  Scene s = scenes::vmware();
  s.vm.name = "Two Disks.lab";
  s.config.builtin_templates = false;
  s.config.import_without_template = true;
  const auto decision = s.decide();
  ASSERT_TRUE(decision && decision->vm);
  EXPECT_EQ(decision->vm->name(), "twodisks-lab");
}

TEST(DecideImportTest, ABadSourceOfADiskBlocksBeforeTheVmIsStopped) {
  const struct {
    const char* annotation;
    std::vector<const char*> wrong;
  } kCases[] = {{"{}", {}},
                {R"({"*": "nbd://array:10809/x", "202-1": "vddk"})", {}},
                {"[", {"is not a JSON object"}},  // told once, not for each disk
                {R"({"202-0": "http://x", "disk-202-1": 1})", {"disk-202-0", "disk-202-1"}}};
  for (const auto& c : kCases) {
    Scene s = scenes::vmware();
    s.import.object.json()["metadata"]["annotations"][std::string(api::kDiskSources)] =
        c.annotation;
    const auto decision = s.decide();
    ASSERT_TRUE(decision);
    std::vector<Finding> told;
    for (const Finding& finding : decision->findings) {
      if (finding.rule == "request.disk_sources") told.push_back(finding);
    }
    ASSERT_EQ(told.size(), c.wrong.size()) << c.annotation;
    for (std::size_t i = 0; i < told.size(); ++i) {
      EXPECT_EQ(told[i].level, FindingLevel::Block);
      EXPECT_THAT(told[i].text, HasSubstr(c.wrong[i]));
    }
  }
}

TEST(DecideImportTest, Vw30EachDiskGetsItsOwnClassModesAndSize) {
  Scene s = scenes::vmware();
  s.facts.overhead_known = true;
  s.facts.overhead_global = 0;
  s.facts.overhead_by_class["fast"] = 0.055;
  api::StorageMappingItem first, second;
  first.source.name = "disk-202-0";
  first.target.name = "fast";
  first.volume_mode = "Block";
  first.access_mode = "ReadWriteMany";
  second.source.name = "disk-202-1";
  s.mappings.disks = {{first, second}};
  const auto decision = s.decide();
  ASSERT_TRUE(decision);
  const std::string uid = scenes::kUid;
  const std::vector<PlannedDisk> expected = {
      {"202-0", "disk-202-0", uid + "-203", "fast", "Block", "ReadWriteMany", 2 * kGib, 2 * kGib},
      {"202-1", "disk-202-1", uid + "-205", "", "Filesystem", "ReadWriteOnce", kGib, kGib}};
  EXPECT_EQ(decision->disks, expected);
}

TEST(DecideImportTest, Os41ATemplateThatCannotBeProcessedMakesNoVm_Lc32) {
  Scene s = scenes::vmware();
  on_openshift(s);
  for (kube::Object& one : s.facts.templates) {
    one.json()["parameters"].push_back(
        {{"name", "X"}, {"generate", "expression"}, {"from", "[z-a]{3}"}});
  }
  const auto decision = s.decide();
  ASSERT_TRUE(decision);
  EXPECT_FALSE(decision->vm);
  ASSERT_TRUE(decision->base_problem);
  EXPECT_THAT(decision->base_problem->message(), HasSubstr("rhel8-server-small"));
}

TEST(DecideImportTest, Os43LabelsSayWhatWasDetectedAndWhichTemplateServed) {
  Scene s = scenes::vmware();
  s.vm.os_type = "rhel7_64Guest";
  s.facts.template_namespaces = {"openshift"};
  on_openshift(s);
  kube::Object only = s.facts.templates[0];
  only.json()["metadata"]["name"] = "rhel7-desktop-medium";
  only.json()["metadata"]["labels"] = {{"os.template.kubevirt.io/rhel7.7", "true"},
                                       {"workload.template.kubevirt.io/desktop", "true"},
                                       {"flavor.template.kubevirt.io/medium", "true"}};
  s.facts.templates = {only};
  const auto decision = s.decide();
  ASSERT_TRUE(decision && decision->vm);
  const auto labels = decision->vm->labels();
  for (const char* label : {"os.template.kubevirt.io/rhel7.7", "flavor.template.kubevirt.io/medium",
                            "workload.template.kubevirt.io/desktop"}) {
    EXPECT_EQ(labels.at(label), "true");
    EXPECT_EQ(decision->vm->json().at("/spec/template/metadata/labels"_json_pointer).at(label),
              "true");
  }
  EXPECT_EQ(labels.at("vm.kubevirt.io/template"), "rhel7-desktop-medium");
  EXPECT_EQ(labels.at("vm.kubevirt.io/template.namespace"), "openshift");
}

TEST(DecideImportTest, ExplainsTheChoiceOfTheTemplate) {
  Scene s = scenes::vmware();
  on_openshift(s);
  const auto decision = s.decide();
  ASSERT_TRUE(decision && decision->base);
  EXPECT_EQ(decision->base->note,
            "template 'openshift/rhel8-server-small' carries os 'rhel8.1', workload 'server', "
            "flavor 'small'");
}

TEST(DecideImportTest, AGenericLinuxTakesTheConfiguredRelative) {
  Scene s = scenes::vmware();
  on_openshift(s);
  s.vm.os_type = "otherLinux64Guest";
  ASSERT_TRUE(s.decide()->base);  // rhel8.2 -> the newest minor of rhel8
  EXPECT_THAT(s.decide()->base->note, HasSubstr("carries os 'rhel8.9'"));
  s.config.default_linux = "fedora40";
  EXPECT_FALSE(s.decide()->base);
  s.vm.os_type = "debian12_64Guest";  // a system of its own: no template is better than a wrong one
  s.config.default_linux = "";
  EXPECT_FALSE(s.decide()->base);
}

TEST(DecideImportTest, TheTemplatesRulesAreChecked) {
  struct Case {
    const char* name;
    std::function<void(Scene&)> change;
    const char* rule;  // empty: none
    FindingLevel level;
  };
  Scene base = scenes::vmware();
  on_openshift(base);
  base.vm.os_type = "windows2019srv_64Guest";
  const Case cases[] = {
      {"an unconverted disk on SATA: the template only warns",
       {},
       "template.disk_bus",
       FindingLevel::Warn},
      {"too little memory", [](Scene& s) { s.vm.memory_bytes = kGib / 4; },
       "vmware.vm.memory_template", FindingLevel::Block},
      {"a model that is not listed",
       [](Scene& s) {
         s.vm.provider = ProviderKind::Ovirt;
         s.import.spec.ovirt = s.import.spec.vmware;
         s.import.spec.vmware.reset();
         s.vm.os_type = "windows_2019x64";
         s.vm.nics[0].model = "rtl8139";
       },
       "template.nic_model", FindingLevel::Block},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Scene s = base;
    if (c.change) c.change(s);
    const auto decision = s.decide();
    ASSERT_TRUE(decision);
    const Finding* finding = find(*decision, c.rule);
    ASSERT_NE(finding, nullptr);
    EXPECT_EQ(finding->level, c.level);
    EXPECT_THAT(finding->text, HasSubstr("template 'windows2k19-server-medium'"));
  }
  Scene fine = scenes::vmware();
  on_openshift(fine);
  fine.import.spec.vmware->mappings.reset();
  EXPECT_THAT(rules_of(fine),
              ::testing::ElementsAre("vmware.storage.target.default",
                                     "vmware.storage.target.default", "template.chosen"));
}

TEST(DecideImportTest, Val34WarnsWhereTheTargetCannotMigrateLive) {
  Scene s = scenes::ovirt();
  s.vm.disks = {{.id = "a", .attachment_id = "a", .name = "a", .size_bytes = kGib}};
  s.vm.live_migratable = true;
  EXPECT_EQ(find(*s.decide(), "vm.placement_policy.affinity"), nullptr);
  s.config.live_migration = false;
  const auto decision = s.decide();
  ASSERT_NE(find(*decision, "vm.placement_policy.affinity"), nullptr);
  EXPECT_EQ(find(*decision, "vm.placement_policy.affinity")->level, FindingLevel::Warn);
  s.config.live_migration = true;
  s.facts.storage_profiles["standard"] = profile({{"Filesystem", {"ReadWriteOnce"}}});
  EXPECT_NE(find(*s.decide(), "vm.placement_policy.affinity"), nullptr);
  // What the class offers is no help to a claim that asks for something else.
  s.facts.storage_profiles["standard"] =
      profile({{"Filesystem", {"ReadWriteOnce", "ReadWriteMany"}}});
  EXPECT_EQ(find(*s.decide(), "vm.placement_policy.affinity"), nullptr);
  api::StorageMappingItem once;
  once.source.id = "a";
  once.access_mode = "ReadWriteOnce";
  s.mappings.disks = {{once}};
  EXPECT_NE(find(*s.decide(), "vm.placement_policy.affinity"), nullptr);
}

TEST(DecideImportTest, TellsEverythingAtOnce_Lc38) {
  Scene s = scenes::vmware();
  s.vm.findings = {{"vmware.vm.hotplug", FindingLevel::Log, FindingGroup::Rules, "l", ""},
                   {"vmware.disk.rdm", FindingLevel::Block, FindingGroup::Rules, "b", ""}};
  s.mappings.networks.reset();
  s.facts.storage_classes.clear();
  s.mapping_findings = {
      {"request.resource_mapping.disks", FindingLevel::Warn, FindingGroup::Mapping, "w", ""}};
  s.import.object.json()["metadata"]["annotations"][std::string(api::kPropagateAnnotations)] = "x";
  EXPECT_THAT(rules_of(s), ::testing::ElementsAre(
                               "request.propagate_annotations", "request.resource_mapping.disks",
                               "vmware.network.mapping", "vmware.storage.target.default",
                               "vmware.vm.hotplug", "vmware.disk.rdm", "template.chosen"));
  EXPECT_TRUE(s.decide()->blocked());
  EXPECT_TRUE(s.decide()->vm);  // built as far as it goes, for who asks what it would be
}

TEST(DecideImportTest, IsDeterministicAndIgnoresTheOrderOfWhatTheClusterLists) {
  Scene s = scenes::vmware();
  on_openshift(s);
  for (int i = 0; i < 6; ++i) {
    kube::Object copy = s.facts.templates[0];
    copy.json()["metadata"]["name"] = "copy-" + std::to_string(i);
    s.facts.templates.push_back(copy);
  }
  const auto expected = s.decide();
  ASSERT_TRUE(expected && expected->vm);
  std::mt19937 random(3);
  for (int i = 0; i < 20; ++i) {
    std::shuffle(s.facts.templates.begin(), s.facts.templates.end(), random);
    std::shuffle(s.mappings.networks->begin(), s.mappings.networks->end(), random);
    const auto again = s.decide();
    ASSERT_TRUE(again && again->vm);
    EXPECT_EQ(again->vm->json(), expected->vm->json());
    EXPECT_EQ(again->findings, expected->findings);
    EXPECT_EQ(again->disks, expected->disks);
    EXPECT_EQ(again->base->note, expected->base->note);
  }
}

TEST(ChooseStorageTest, FollowsTheProfileWhereNoMappingSays) {
  struct Case {
    const char* name;
    kube::Object profile;
    std::function<void(Scene&)> change;
    const char *volume_mode, *access_mode;
    bool finding;
  };
  const auto rwo = std::vector<std::string>{"ReadWriteOnce"};
  const auto rwx = std::vector<std::string>{"ReadWriteMany"};
  const auto mapped = [](const char* volume, const char* access) {
    return [=](Scene& s) {
      api::StorageMappingItem item;
      item.source.id = "a";
      item.volume_mode = volume;
      item.access_mode = access;
      s.mappings.disks = {{item}};
    };
  };
  const Case cases[] = {
      {"OV-76: an empty profile changes nothing",
       profile({}),
       {},
       "Filesystem",
       "ReadWriteOnce",
       false},
      {"the usual modes are offered",
       profile({{"Block", rwx}, {"Filesystem", rwo}}),
       {},
       "Filesystem",
       "ReadWriteOnce",
       false},
      {"only Block",
       profile({{"Block", rwx}, {"Block", rwo}}),
       {},
       "Block",
       "ReadWriteOnce",
       false},
      {"only shared", profile({{"Filesystem", rwx}}), {}, "Filesystem", "ReadWriteMany", false},
      {"migratable, and not shared", profile({{"Filesystem", rwo}}),
       [](Scene& s) { s.vm.live_migratable = true; }, "Filesystem", "ReadWriteOnce", false},
      {"a mapping is obeyed, with a warning", profile({{"Filesystem", rwo}}),
       mapped("Block", "ReadWriteMany"), "Block", "ReadWriteMany", true},
      {"a mapping that fits", profile({{"Block", rwx}}), mapped("Block", "ReadWriteMany"), "Block",
       "ReadWriteMany", false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Scene s = scenes::ovirt();
    s.vm.disks = {{.id = "a", .attachment_id = "a", .name = "a", .size_bytes = kGib}};
    s.facts.storage_profiles["standard"] = c.profile;
    if (c.change) c.change(s);
    const StorageChoice choice = choose_storage(s.mappings, s.vm, s.vm.disks[0], s.facts);
    EXPECT_EQ(choice.volume_mode, c.volume_mode);
    EXPECT_EQ(choice.access_mode, c.access_mode);
    const auto decision = s.decide();
    ASSERT_TRUE(decision);
    EXPECT_EQ(find(*decision, "storage.target.modes") != nullptr, c.finding);
    EXPECT_EQ(decision->disks[0].volume_mode, c.volume_mode);
  }
}

TEST(PreferencesTest, AreFoundByTheNamesOfTheCommonOnes) {
  const struct {
    const char* os;
    std::vector<std::string> names;
  } cases[] = {
      {"rhel8.1", {"rhel.8.1", "rhel.8", "rhel"}},
      {"centos-stream9", {"centos.stream9"}},
      {"win2k12r2", {"windows.2k12r2", "windows"}},
      {"windows", {"windows"}},
      {"opensuse15.6", {"opensuse.15.6", "opensuse.15", "opensuse", "opensuse.leap"}},
      {"fedora-unknown", {"fedora-unknown", "fedora"}},
      {"", {}},
  };
  for (const auto& c : cases) EXPECT_EQ(preference_candidates(c.os), c.names) << c.os;
}

TEST(PreferencesTest, AreOffByDefaultAndReplaceTheTemplate) {
  const auto object = [](const char* kind, const char* name, json spec) {
    return kube::Object(
        json{{"kind", kind}, {"metadata", {{"name", name}}}, {"spec", std::move(spec)}});
  };
  Scene s = scenes::vmware();
  s.facts.preferences = {object("VirtualMachineClusterPreference", "rhel.8", {})};
  const json size = {{"cpu", {{"guest", 4}}}, {"memory", {{"guest", "2048Mi"}}}};
  json dedicated = size;
  dedicated["cpu"]["dedicatedCPUPlacement"] = true;
  s.facts.instancetypes = {object("VirtualMachineClusterInstancetype", "cx1", dedicated),
                           object("VirtualMachineClusterInstancetype", "u2", size),
                           object("VirtualMachineClusterInstancetype", "u1", size)};
  EXPECT_FALSE(s.decide()->vm->json()["spec"].contains("preference"));
  s.config.use_preferences = true;
  json spec = s.decide()->vm->json()["spec"];
  EXPECT_EQ(spec["preference"]["name"], "rhel.8");
  EXPECT_EQ(spec["instancetype"]["name"], "u1");
  const json& domain = spec["template"]["spec"]["domain"];
  for (const char* key : {"cpu", "memory", "resources"}) EXPECT_FALSE(domain.contains(key)) << key;
  EXPECT_EQ(find(*s.decide(), "template.none"), nullptr);

  s.vm.nested_virtualization = true;  // which no instance type gives
  EXPECT_FALSE(s.decide()->vm->json()["spec"].contains("instancetype"));
  s.vm.nested_virtualization = false;
  s.vm.memory_bytes = 3 * kGib;  // no instance type has this size: the source's own stands
  spec = s.decide()->vm->json()["spec"];
  EXPECT_FALSE(spec.contains("instancetype"));
  EXPECT_EQ(spec["template"]["spec"]["domain"]["memory"]["guest"], "3Gi");
}

}  // namespace
}  // namespace vmferry::imports
