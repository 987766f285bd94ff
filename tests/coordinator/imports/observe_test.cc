#include "coordinator/imports/observe.h"

#include <gmock/gmock.h>

#include <fstream>

#include "coordinator/imports/decision.h"
#include "coordinator/kube/optional_types.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/imports/scene.h"

// Reading the cluster through the interface that the reconciler uses, against the embedded store.
namespace vmferry::imports {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ObserveTest : public embedded::StoreFixture {
 protected:
  void put(const kube::ResourceType& type, json object) {
    object["apiVersion"] = type.api_version;
    object["kind"] = type.kind;
    const std::string name = object["metadata"]["name"];
    const std::string ns = object["metadata"].value("namespace", "");
    (void)store_->remove(type, {ns, name}, kube::Propagation::Background, {}, {});
    make(type, kube::Object(std::move(object)));
  }
  void put_config(const std::string& ns, const std::string& name, json data, json labels = {}) {
    json metadata = {{"namespace", ns}, {"name", name}};
    if (!labels.is_null()) metadata["labels"] = std::move(labels);
    put(kube::types::kConfigMap, {{"metadata", metadata}, {"data", std::move(data)}});
  }
  void put_controller_config(json data) {
    put_config("vmferry", "vm-import-controller-config", std::move(data));
  }
  Observation see() {
    auto seen = observe(*store_, scope_, {});
    EXPECT_TRUE(seen) << to_string(seen.error());
    return seen ? *std::move(seen) : Observation{};
  }
  // The OS that an import of this VM would get now.
  std::string os_of(const SourceVm& vm) {
    const Observation seen = see();
    const auto os = decide_os({vm, seen.facts, seen.config, seen.os_maps});
    return os ? os->os : to_string(os.error());
  }

  ObservationScope scope_{
      .embedded = true, .config_namespace = "vmferry", .import_namespace = "ns"};
};

json template_named(const std::string& name, const std::string& ns) {
  return {{"apiVersion", "template.openshift.io/v1"},
          {"kind", "Template"},
          {"metadata",
           {{"name", name},
            {"namespace", ns},
            {"labels",
             {{"os.template.kubevirt.io/rhel8.1", "true"},
              {"workload.template.kubevirt.io/server", "true"},
              {"flavor.template.kubevirt.io/small", "true"}}}}},
          {"objects", json::array({{{"apiVersion", "kubevirt.io/v1"},
                                    {"kind", "VirtualMachine"},
                                    {"metadata", {{"name", "${NAME}"}}},
                                    {"spec", {{"runStrategy", "Halted"}}}}})},
          {"parameters", json::array({{{"name", "NAME"}}})}};
}

// OS-03, API-06 and design: a changed map counts in the next pass, without a restart.
TEST_F(ObserveTest, Api06AndOs03AChangedOsMapCountsInTheNextPass) {
  SourceVm vm{};
  vm.provider = ProviderKind::Vmware;
  vm.os_type = "rhel8_64Guest";
  EXPECT_EQ(os_of(vm), "rhel8.1");
  put_controller_config({{"osConfigMap.name", "os"}, {"osConfigMap.namespace", "ns"}});
  put_config("ns", "os", {{"osinfo2common", "rhel8_64Guest: rhel8.9"}});
  EXPECT_EQ(os_of(vm), "rhel8.9");
  put_config("ns", "os", {{"osinfo2common", "rhel8_64Guest: rhel8.10"}});
  EXPECT_EQ(os_of(vm), "rhel8.10");
  put_controller_config(json::object());
  EXPECT_EQ(os_of(vm), "rhel8.1");
}

TEST_F(ObserveTest, Os02And14And24AMissingUserMapStopsDetectionAndKeepsTheBuiltInMaps) {
  put_controller_config({{"osConfigMap.name", "os"}, {"osConfigMap.namespace", "ns"}});
  const Observation seen = see();
  ASSERT_TRUE(seen.os_maps.problem);
  EXPECT_THAT(seen.os_maps.problem->message(), HasSubstr("'ns/os' does not exist"));
  EXPECT_GE(seen.os_maps.maps.osinfo2common.size(), 84u);
  SourceVm vm{};
  vm.os_type = "rhel8_64Guest";
  EXPECT_THAT(os_of(vm), HasSubstr("VMF-REQ-TEMPLATE"));  // OS-14, OS-24
}

TEST_F(ObserveTest, Os07AMapWithoutNamespaceIsTheControllers) {
  put_controller_config({{"osConfigMap.name", "os"}});
  put_config("vmferry", "os", {{"osinfo2common", "mine: fedora40"}});
  EXPECT_EQ(see().os_maps.maps.osinfo2common.at("mine"), "fedora40");
  put_controller_config({{"osConfigMap.namespace", "ns"}});
  const Observation seen = see();
  EXPECT_FALSE(seen.os_maps.problem);
  ASSERT_TRUE(seen.os_maps.note);
  EXPECT_EQ(seen.os_maps.note->rule, "os.config_map");
}

TEST_F(ObserveTest, DefaultsAndSwitchesOfSystemsAreConfigured) {
  SourceVm vm{};
  vm.provider = ProviderKind::Vmware;
  vm.os_type = "windows9Server64Guest";
  EXPECT_EQ(os_of(vm), "win2k19");  // as upstream
  put_controller_config({{"windows9Server64AsServer2016", "true"},
                         {"defaultLinux", "fedora40"},
                         {"defaultWindows", "win2k22"}});
  EXPECT_EQ(os_of(vm), "win2k16");
  vm.os_type = "";
  vm.os_full_name = "Some Linux";
  EXPECT_EQ(os_of(vm), "fedora40");
  vm.os_full_name = "Windows Something";
  EXPECT_EQ(os_of(vm), "win2k22");
  vm.provider = ProviderKind::Ovirt;
  vm.os_type = "other_linux";
  EXPECT_EQ(os_of(vm), "fedora40");
}

// The store, with a kind that cannot be listed.
class FailingReader : public kube::Reader {
 public:
  FailingReader(kube::Reader& inner, std::string kind, ErrorKind error)
      : inner_(inner), kind_(std::move(kind)), error_(error) {}
  Result<kube::Object> get(const kube::ResourceType& type, const kube::ObjectKey& key,
                           std::stop_token stop) override {
    return inner_.get(type, key, stop);
  }
  Result<kube::ObjectList> list(const kube::ResourceType& type, const kube::ListOptions& options,
                                std::stop_token stop) override {
    if (type.kind == kind_) return make_error(error_, "no");
    return inner_.list(type, options, stop);
  }
  Result<std::unique_ptr<kube::Watch>> watch(const kube::ResourceType& type,
                                             const kube::ListOptions& options,
                                             const std::string& resource_version,
                                             std::stop_token stop) override {
    return inner_.watch(type, options, resource_version, stop);
  }

 private:
  kube::Reader& inner_;
  std::string kind_;
  ErrorKind error_;
};

TEST_F(ObserveTest, Os33AnErrorOfTheApiIsAnErrorAndNotAMissingTemplate) {
  scope_.embedded = false;
  FailingReader down(*store_, "Template", ErrorKind::Unavailable);
  const auto seen = observe(down, scope_, {});
  ASSERT_FALSE(seen);
  EXPECT_EQ(seen.error().kind(), ErrorKind::Unavailable);

  FailingReader absent(*store_, "Template", ErrorKind::NotFound);
  ASSERT_TRUE(observe(absent, scope_, {}));
  EXPECT_FALSE(observe(absent, scope_, {})->facts.has_template_api);
  EXPECT_TRUE(see().facts.has_template_api);
}

TEST_F(ObserveTest, WhatOnlyImprovesADecisionMayBeForbidden) {
  for (const char* kind : {"StorageProfile", "KubeVirt"}) {
    FailingReader forbidden(*store_, kind, ErrorKind::PermissionDenied);
    EXPECT_TRUE(observe(forbidden, scope_, {})) << kind;
  }
  FailingReader forbidden(*store_, "StorageClass", ErrorKind::PermissionDenied);
  EXPECT_FALSE(observe(forbidden, scope_, {}));
}

TEST_F(ObserveTest, SeveritiesAreOverriddenLive) {
  scenes::Scene s = scenes::vmware();
  s.vm.findings = {{"vmware.vm.snapshots", FindingLevel::Warn, FindingGroup::Rules, "t", ""}};
  const auto blocked = [&] {
    s.config = see().config;
    return s.decide()->blocked();
  };
  EXPECT_FALSE(blocked());
  put_controller_config({{"severity.vmware.vm.snapshots", "block"}});
  EXPECT_TRUE(blocked());
  put_controller_config({{"severity.vmware.vm.snapshots", "log"}});
  EXPECT_FALSE(blocked());
}

TEST_F(ObserveTest, TemplatesComeFromConfigMapsToo) {
  const json label = {{"vmimport.v2v.kubevirt.io/templates", ""}};
  put_config(
      "vmferry", "shipped",
      {{"good.yaml", template_named("from-map", "elsewhere").dump()},
       {"bad.yaml", "kind: [Template"},
       {"other.yaml", R"({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})"}},
      label);
  put_config("far", "not-looked-at", {{"t", template_named("far", "far").dump()}}, label);
  put_config("ns", "no-label", {{"t", template_named("unlabelled", "ns").dump()}});
  const Observation seen = see();
  ASSERT_EQ(seen.facts.templates.size(), 1u);
  EXPECT_EQ(seen.facts.templates[0].key().to_string(), "vmferry/from-map");
  ASSERT_EQ(seen.facts.findings.size(), 2u);
  for (const Finding& finding : seen.facts.findings) {
    EXPECT_EQ(finding.rule, "template.source");
    EXPECT_THAT(finding.text, HasSubstr("ConfigMap 'vmferry/shipped', key '"));
  }
}

TEST_F(ObserveTest, TemplatesComeFromFilesToo) {
  scope_.template_directory = dir_.path("templates");
  EXPECT_TRUE(see().facts.findings.empty());  // no such directory: no templates
  std::filesystem::create_directory(scope_.template_directory);
  std::ofstream(scope_.template_directory + "/b.yaml") << template_named("b", "").dump();
  std::ofstream(scope_.template_directory + "/a.json") << template_named("a", "").dump();
  std::ofstream(scope_.template_directory + "/README") << "not one";
  std::ofstream(scope_.template_directory + "/c.yml") << "x: [";
  const Observation seen = see();
  ASSERT_EQ(seen.facts.templates.size(), 2u);
  EXPECT_EQ(seen.facts.templates[0].name(), "a");
  ASSERT_EQ(seen.facts.findings.size(), 1u);
  EXPECT_THAT(seen.facts.findings[0].text, HasSubstr("c.yml"));
}

TEST_F(ObserveTest, TemplatesArePreferredByNamespace) {
  for (const char* ns : {"ns", "openshift", "vmferry", "far"}) {
    put(kube::types::kTemplate, template_named(std::string("in-") + ns, ns));
  }
  SourceVm vm{};
  vm.provider = ProviderKind::Vmware;
  const auto chosen = [&] {
    const Observation seen = see();
    const auto match = choose_template({vm, seen.facts, seen.config, seen.os_maps}, "rhel8.1");
    return match ? match->object.name() : to_string(match.error());
  };
  EXPECT_THAT(see().facts.template_namespaces, ElementsAre("openshift", "vmferry", "ns"));
  EXPECT_EQ(chosen(), "in-openshift");
  put_controller_config({{"templateNamespaces", "far, ns"}});
  EXPECT_EQ(chosen(), "in-far");
}

TEST_F(ObserveTest, ReadsTheGatesOfTheKubeVirtResource) {
  scope_.embedded = false;
  EXPECT_FALSE(see().config.import_without_template);
  put_config("vmferry", "kubevirt-config", {{"feature-gates", "DataVolumes"}});
  EXPECT_FALSE(see().config.live_migration);  // an old KubeVirt without the gate
  put(kube::types::kKubeVirt,
      {{"metadata", {{"namespace", "kubevirt"}, {"name", "kubevirt"}}},
       {"spec",
        {{"configuration",
          {{"developerConfiguration", {{"featureGates", {"ImportWithoutTemplate"}}}}}}}}});
  EXPECT_TRUE(see().config.import_without_template);
  EXPECT_TRUE(see().config.live_migration);
}

TEST_F(ObserveTest, BadItemsOfAResourceMappingAreFindings) {
  scenes::Scene s = scenes::vmware();
  s.import.spec.resource_mapping = api::ObjectIdentifier{.name = "map", .ns = {}};
  const auto missing = observe_mappings(*store_, s.import, {});
  ASSERT_TRUE(missing && missing->missing);
  ASSERT_EQ(missing->findings.size(), 1u);
  EXPECT_EQ(missing->findings[0].rule, "request.resource_mapping");
  EXPECT_THAT(missing->findings[0].text, HasSubstr("'ns/map' does not exist"));

  put(kube::types::kResourceMapping,
      {{"metadata", {{"namespace", "ns"}, {"name", "map"}}},
       {"spec",
        {{"vmware",
          {{"networkMappings", json::array({{{"source", {{"name", "VM Network"}}},
                                             {"target", {{"name", "x"}}},
                                             {"type", "pod"}}})},
           {"storageMappings",
            json::array({{{"source", json::object()}, {"target", {{"name", ""}}}, {"type", "x"}}})},
           {"diskMappings", json::array()}}}}}});
  const auto seen = observe_mappings(*store_, s.import, {});
  ASSERT_TRUE(seen) << to_string(seen.error());
  std::vector<std::string> rules;
  for (const Finding& finding : seen->findings) {
    rules.push_back(finding.rule);
    EXPECT_THAT(finding.text, HasSubstr("ResourceMapping 'ns/map': "));
  }
  EXPECT_THAT(rules, ElementsAre("request.mapping.selector", "request.mapping.ignored_type",
                                 "request.resource_mapping.disks"));
  s.mapping_findings = seen->findings;
  EXPECT_TRUE(s.decide()->blocked());
}

struct Wish {
  std::string target, decided, created;
  bool ended = false;
};

api::VirtualMachineImport wishing(const std::string& name, const Wish& wish) {
  json object = {{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                 {"kind", "VirtualMachineImport"},
                 {"metadata", {{"namespace", "ns"}, {"name", name}, {"uid", "the-same"}}},
                 {"spec",
                  {{"providerCredentialsSecret", {{"name", "s"}}},
                   {"source", {{"vmware", {{"vm", {{"name", "Web 1"}}}}}}}}},
                 {"status", json::object()}};
  if (!wish.target.empty()) object["spec"]["targetVmName"] = wish.target;
  if (!wish.decided.empty()) object["status"]["targetVmName"] = wish.decided;
  if (!wish.created.empty()) object["metadata"]["creationTimestamp"] = wish.created;
  if (wish.ended) {
    object["status"]["conditions"] = json::array({{{"type", "Succeeded"}, {"status", "False"}}});
  }
  auto import = api::parse_import(kube::Object(object));
  EXPECT_TRUE(import) << (import ? "" : to_string(import.error()));
  return *import;
}

// Imports and nothing else; uids are not told apart, as before imports are applied.
class ImportsReader : public kube::Reader {
 public:
  explicit ImportsReader(std::vector<kube::Object> imports) : imports_(std::move(imports)) {}
  Result<kube::Object> get(const kube::ResourceType&, const kube::ObjectKey&,
                           std::stop_token) override {
    return make_error(ErrorKind::NotFound, "none");
  }
  Result<kube::ObjectList> list(const kube::ResourceType&, const kube::ListOptions&,
                                std::stop_token) override {
    return kube::ObjectList{imports_, "1"};
  }
  Result<std::unique_ptr<kube::Watch>> watch(const kube::ResourceType&, const kube::ListOptions&,
                                             const std::string&, std::stop_token) override {
    return make_error(ErrorKind::Unimplemented, "no");
  }

 private:
  std::vector<kube::Object> imports_;
};

TEST(NameConflictTest, Adm17OneOfTheImportsThatWantANameGetsIt) {
  const struct {
    const char* what;
    Wish ours, other;
    bool conflict;
  } kCases[] = {
      {"another name", {.target = "web"}, {.target = "db"}, false},
      {"the other decided", {.target = "web"}, {.target = "", .decided = "web"}, true},
      {"the other is over", {.target = "web"}, {.decided = "web", .ended = true}, false},
      {"we decided", {.target = "web", .decided = "web"}, {.target = "web"}, false},
      {"neither is applied, the other is the first by name",
       {.target = "web"},
       {.target = "web"},
       true},
      {"the other is older",
       {.target = "web", .created = "2026-01-01T00:00:01Z"},
       {.target = "web", .created = "2026-01-01T00:00:00Z"},
       true},
      {"we are older",
       {.target = "web", .created = "2026-01-01T00:00:00Z"},
       {.target = "web", .created = "2026-01-01T00:00:01Z"},
       false},
      {"the other is applied and we are not",
       {.target = "web"},
       {.target = "web", .created = "2026-01-01T00:00:00Z"},
       true},
      {"the other's is its source's name", {.target = "web1"}, {}, true},
  };
  for (const auto& c : kCases) {
    const auto ours = wishing("b", c.ours);
    ImportsReader reader({ours.object, wishing("a", c.other).object});
    const std::string name = c.ours.decided.empty() ? c.ours.target : c.ours.decided;
    const auto conflict = name_conflict(reader, ours, name, {});
    ASSERT_TRUE(conflict) << c.what;
    EXPECT_EQ(conflict->has_value(), c.conflict) << c.what;
    if (*conflict) {
      EXPECT_EQ((*conflict)->rule, "request.target_name.taken");
      EXPECT_THAT((*conflict)->text, HasSubstr("import 'a'")) << c.what;
    }
  }
}

TEST_F(ObserveTest, ReadsProfilesOverheadsAndPreferences) {
  put(kube::types::kStorageProfile, {{"metadata", {{"name", "fast"}}}});
  put(kube::types::kCdiConfig,
      {{"metadata", {{"name", "config"}}},
       {"spec", {{"filesystemOverhead", {{"global", "0.1"}}}}},
       {"status",
        {{"filesystemOverhead", {{"global", "0.2"}, {"storageClass", {{"fast", "x"}}}}}}}});
  put(kube::types::kClusterPreference, {{"metadata", {{"name", "rhel.8"}}}});
  const Observation seen = see();
  EXPECT_TRUE(seen.facts.storage_profiles.contains("fast"));
  EXPECT_EQ(seen.facts.overhead_global, 0.2);
  EXPECT_EQ(seen.facts.overhead_by_class.at("fast"), 0.2);  // unparsable
  EXPECT_TRUE(seen.facts.preferences.empty());              // off by default
  put_controller_config({{"usePreferences", "true"}});
  EXPECT_EQ(see().facts.preferences.size(), 1u);
}

}  // namespace
}  // namespace vmferry::imports
