#include "coordinator/imports/templates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/imports/os_maps.h"
#include "coordinator/imports/template_processing.h"
#include "coordinator/imports/template_search.h"
#include "coordinator/imports/validation.h"

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

kube::Object make(const std::string& name, const std::vector<std::string>& marks,
                  const std::string& created = "2024-01-01T00:00:00Z") {
  json labels = json::object();
  for (const std::string& mark : marks) labels[mark] = "true";
  return kube::Object(json{{"metadata",
                            {{"name", name},
                             {"namespace", "openshift"},
                             {"creationTimestamp", created},
                             {"labels", labels}}}});
}

std::vector<std::string> marks(const std::string& os, const std::string& workload,
                               const std::string& flavor) {
  return {std::string(kOsLabel) + os, std::string(kWorkloadLabel) + workload,
          std::string(kFlavorLabel) + flavor};
}

SourceVm ovirt_vm(std::string workload = "server") {
  SourceVm vm{.provider = ProviderKind::Ovirt};
  vm.workload = std::move(workload);
  vm.architecture = "x86_64";
  return vm;
}

std::string found(const std::vector<kube::Object>& templates, const std::string& os,
                  const SourceVm& vm) {
  const Result<TemplateMatch> match = find_template(templates, os, vm);
  return match ? match->object.name() : "";
}

TEST(FindTemplateTest, Os30And31And32PrefersTheNewest) {
  const auto m = marks("rhel8.1", "server", "medium");
  EXPECT_EQ(found({make("a", m)}, "rhel8.1", ovirt_vm()), "a");                // OS-30
  EXPECT_EQ(found({make("b", m), make("a", m)}, "rhel8.1", ovirt_vm()), "a");  // OS-31
  EXPECT_EQ(found({make("a", m), make("b", m, "2024-01-01T00:01:00Z")}, "rhel8.1", ovirt_vm()),
            "b");  // OS-32
}

TEST(FindTemplateTest, Os34And35And36And37And38And39SearchesWorkloadsAndFlavors) {
  const SourceVm vmware{.provider = ProviderKind::Vmware};
  const auto all = [](const std::string& workload, const std::string& flavor) {
    return make(workload + "-" + flavor, marks("win10", workload, flavor));
  };
  const std::vector<kube::Object> four = {all("desktop", "medium"), all("server", "medium"),
                                          all("desktop", "small"), all("server", "small")};
  EXPECT_EQ(found(four, "win10", vmware), "server-small");  // OS-36
  EXPECT_EQ(found({all("desktop", "medium"), all("desktop", "small")}, "win10", vmware),
            "desktop-small");  // OS-37
  EXPECT_EQ(found({all("desktop", "medium"), all("server", "medium")}, "win10", vmware),
            "server-medium");                                                             // OS-38
  EXPECT_THAT(find_template({}, "win10", vmware).error().message(), HasSubstr("win10"));  // OS-39
  EXPECT_EQ(find_template({}, "win10", vmware).error().kind(), ErrorKind::NotFound);
  EXPECT_THAT(workload_flavors(ovirt_vm("high_performance")).front(),
              testing::Pair("highperformance", "medium"));           // OS-34
  EXPECT_EQ(workload_flavors(ovirt_vm()).front().second, "medium");  // OS-35
  EXPECT_EQ(found({all("desktop", "large")}, "win10", ovirt_vm()), "desktop-large");
  // OS-35: that a label is there counts, whatever its value.
  kube::Object valued = all("server", "medium");
  for (auto& [label, value] : valued.json()["metadata"]["labels"].items()) value = "no";
  EXPECT_EQ(found({all("server", "large"), valued}, "win10", ovirt_vm()), "server-medium");
}

TEST(FindTemplateTest, FallsBackWithinTheMajorRelease) {
  EXPECT_THAT(
      os_candidates("centos8.5.2111", {"centos8.4", "centos8.10", "centos9.0"}),
      ElementsAre("centos8.5.2111", "centos8.5", "centos8.10", "centos8", "centos", "linux"));
  EXPECT_THAT(os_candidates("rhel8", {"rhel8.9", "rhel8.10", "rhel10.0"}),
              ElementsAre("rhel8", "rhel8.10", "rhel", "linux"));
  EXPECT_THAT(os_candidates("fedora-unknown", {"fedora40", "fedora41"}),
              ElementsAre("fedora-unknown", "fedora41", "fedora", "linux"));
  EXPECT_THAT(os_candidates("win2k12r2", {"win2k19"}), ElementsAre("win2k12r2", "windows"));
  const auto match =
      find_template({make("a", marks("rhel8.9", "server", "medium"))}, "rhel8.1", ovirt_vm());
  ASSERT_TRUE(match);
  EXPECT_EQ(match->os, "rhel8.1");
  EXPECT_EQ(match->label_os, "rhel8.9");
  EXPECT_THAT(match->why, HasSubstr("no template is made for 'rhel8.1'"));
}

TEST(FindTemplateTest, PassesOverDeprecatedAndForeignOnes) {
  const auto m = marks("rhel8.1", "server", "medium");
  kube::Object old = make("a-old", m);
  old.json()["metadata"]["annotations"]["template.kubevirt.io/deprecated"] = "true";
  kube::Object arm = make("a-arm", m);
  arm.json()["metadata"]["labels"]["template.kubevirt.io/architecture"] = "arm64";
  EXPECT_EQ(found({old, arm, make("z", m)}, "rhel8.1", ovirt_vm()), "z");
  EXPECT_FALSE(find_template({old, arm}, "rhel8.1", ovirt_vm()));
}

kube::Object parameterised() {
  kube::Object object =
      make("win2k12r2-server-medium-v0.7.0", marks("win2k12r2", "server", "medium"));
  object.json()["metadata"]["namespace"] = "kubevirt-hyperconverged";
  object.json()["metadata"]["annotations"]["name.os.template.kubevirt.io/win2k12r2"] =
      "Windows 2012 R2";
  object.json()["parameters"] =
      json::parse(R"([{"name":"NAME","generate":"expression","from":"win-[a-z0-9]{6}"},
    {"name":"PVCNAME","required":true}, {"name":"CORES","value":"4"}])");
  object.json()["objects"] = json::parse(R"([{"kind":"ConfigMap"},
    {"apiVersion":"kubevirt.io/v1alpha3","kind":"VirtualMachine",
     "metadata":{"name":"${NAME}","labels":{"app":"${NAME}","vm.kubevirt.io/template":"older",
       "vm.kubevirt.io/template.revision":"1","vm.kubevirt.io/template.version":"v1"},
       "annotations":{"pvc":"${PVCNAME}","literal":"$${NAME} ${UNKNOWN}"}},
     "spec":{"runStrategy":"Halted","dataVolumeTemplates":[{}],"template":{
       "metadata":{"labels":{"kubevirt.io/domain":"${NAME}","kubevirt.io/size":"medium"}},
       "spec":{"networks":[{}],"volumes":[{}],
       "domain":{"cpu":{"cores":"${{CORES}}"},"devices":{"disks":[{}],"rng":{}}}}}}}])");
  return object;
}

TEST(ProcessTemplateTest, Os40And42And44And47ExpandsAndLabels) {
  const auto vm =
      process_template({parameterised(), "win2k12r2", "server", "medium", "win2k12r2", ""}, "myvm");
  ASSERT_TRUE(vm) << to_string(vm.error());
  EXPECT_EQ(vm->name(), "myvm");
  EXPECT_EQ(vm->api_version(), "kubevirt.io/v1");
  const json expected_labels = {{"app", "myvm"},
                                {"flavor.template.kubevirt.io/medium", "true"},
                                {"os.template.kubevirt.io/win2k12r2", "true"},
                                {"workload.template.kubevirt.io/server", "true"},
                                {"vm.kubevirt.io/template", "win2k12r2-server-medium-v0.7.0"},
                                {"vm.kubevirt.io/template.namespace", "kubevirt-hyperconverged"},
                                {"vm.kubevirt.io/template.revision", "1"},
                                {"vm.kubevirt.io/template.version", "v1"}};
  EXPECT_EQ(vm->json()["metadata"]["labels"], expected_labels);
  const json pod_labels = {{"flavor.template.kubevirt.io/medium", "true"},
                           {"os.template.kubevirt.io/win2k12r2", "true"},
                           {"workload.template.kubevirt.io/server", "true"},
                           {"kubevirt.io/domain", "myvm"},
                           {"kubevirt.io/size", "medium"},
                           {"vm.kubevirt.io/name", "myvm"}};
  EXPECT_EQ(vm->json()["spec"]["template"]["metadata"]["labels"], pod_labels);
  EXPECT_EQ(vm->annotation("name.os.template.kubevirt.io/win2k12r2"), "Windows 2012 R2");
  EXPECT_EQ(vm->annotation("pvc"), "other");
  EXPECT_EQ(vm->annotation("literal"), "$myvm ${UNKNOWN}");
  const json& spec = vm->json()["spec"];
  EXPECT_FALSE(spec.contains("running") || spec.contains("dataVolumeTemplates"));
  const json& pod = spec["template"]["spec"];
  EXPECT_FALSE(pod.contains("volumes") || pod.contains("networks"));
  EXPECT_EQ(pod["domain"], json::parse(R"({"cpu":{"cores":4},"devices":{"rng":{}}})"));
}

TEST(ProcessTemplateTest, Os45LeavesNameToItsGenerator) {
  const auto vm = process_template({parameterised(), "win2k12r2", "server", "medium", "", ""}, "");
  ASSERT_TRUE(vm);
  EXPECT_THAT(vm->name(), testing::MatchesRegex("win-[a-z0-9]+"));
  EXPECT_EQ(vm->name().size(), 10u);
}

TEST(ProcessTemplateTest, Os46NeedsAVirtualMachine) {
  const auto vm = process_template({make("t", {}), "os", "server", "small", "", ""}, "vm");
  ASSERT_FALSE(vm);
  EXPECT_EQ(vm.error().kind(), ErrorKind::InvalidArgument);
}

TEST(GenerateValueTest, KnowsRangesAndClasses) {
  const RandomBelow last = [](std::uint32_t limit) { return limit - 1; };
  struct Case {
    const char *from, *expected;  // empty: an error
  };
  const Case cases[] = {
      {"[a-c]{3}", "bbb"},
      {"x-[0-9]{2}-[A-Z]{1}y", "x-88-Yy"},
      {"[\\w]{2}", "__"},
      {"[\\d]{1}", "9"},
      {"[\\a]{1}", "9"},
      {"[\\A]{1}", "`"},
      {"[\\w\\d]{1}", "_"},
      {"[a-zA-Z0-9]{1}", "8"},
      {"test[0-9]{1}x", "test8x"},
      {"0x[A-F0-9]{4}", "0x8888"},
      {"plain", "plain"},
      // The order of characters is a-z, A-Z, 0-9.
      {"[a-Z]{1}", "Y"},
      {"[a-9]{1}", "8"},
      {"[A-z]{1}", ""},
      {"[z-a]{2}", ""},
      {"[a-a]{2}", ""},
      // Neither a class in front nor a range at the end.
      {"[abc]{1}", ""},
      {"[a-z5]{1}", ""},
      {"[\\q]{2}", ""},
      {"[GHX-Zca-z]{1}", ""},
      {"[a-z]{256}", ""},
      {"[a-z]{0}", ""},
      {"[a-z]{99999999999}", ""},
      // No generator: the text stands for itself.
      {"[a-z]", "[a-z]"},
      {"[]{2}", "[]{2}"},
      {"[a-z]{x}", "[a-z]{x}"},
      {"[a-z", "[a-z"},
      {"[a[b", "[a[b"},
      {"[!]{1}", "[!]{1}"},
      {"[a-z]{3", "[a-z]{3"},
      {"[[0-9]{1}]", "[8]"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.from);
    const Result<std::string> value = generate_value(c.from, last);
    EXPECT_EQ(value ? *value : "", c.expected);
  }
  EXPECT_NE(*generate_value("[\\w]{64}", system_random()),
            *generate_value("[\\w]{64}", system_random()));
}

TEST(GenerateValueTest, ChoosesFromEachCharacterOnce) {
  std::uint32_t limit = 0;
  const RandomBelow count = [&](std::uint32_t below) {
    limit = below;
    return 0;
  };
  ASSERT_TRUE(generate_value("[a-ca-c0-1]{1}", count));
  EXPECT_EQ(limit, 3u);
  ASSERT_TRUE(generate_value("[\\w\\d]{1}", count));
  EXPECT_EQ(limit, 63u);
}

TEST(SubstituteParametersTest, BoundsWhatAValueMayBecome) {
  const std::map<std::string, std::string> values = {
      {"P", std::string(500'000, 'x')}, {"DEEP", std::string(500'000, '[')}, {"S", "s"}};
  std::string many;
  for (int i = 0; i < 100'000; ++i) many += "${P}";
  std::string short_ones;  // cheap to write, and a quadratic amount of work
  for (int i = 0; i < 400'000; ++i) short_ones += "${S}";
  for (const json& node :
       {json(many), json{{"a", json::array({many, many})}}, json{{many, 1}}, json(short_ones)}) {
    const auto made = substitute_parameters(node, values);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code(), "VMF-REQ-TEMPLATE");
  }
  EXPECT_EQ(*substitute_parameters("${{DEEP}}", values), json(values.at("DEEP")));
  const auto once = substitute_parameters("-${P}-${Q}", values);
  ASSERT_TRUE(once);
  EXPECT_EQ(*once, json("-" + values.at("P") + "-${Q}"));
  EXPECT_EQ(*substitute_parameters("${{N}}", {{"N", "null"}}), json());
}

// What OpenShift's own processing makes of odd references: the texts of a template are gone through
// once, and each reference is replaced where it first stands in what has come out so far.
TEST(SubstituteParametersTest, OddReferencesComeOutAsFromOpenShift) {
  const std::map<std::string, std::string> values = {{"A", "${B}"},
                                                     {"B", "b"},
                                                     {"N", "B"},
                                                     {"D", "$"},
                                                     {"EMPTY", ""},
                                                     {"LIST", "[1, \"x\"]"},
                                                     {"TEXT", "{not json"},
                                                     {"YES", "true"},
                                                     {"SPACED", " 7 "}};
  const struct {
    const char* from;
    json expected;
  } kCases[] = {
      {"${B}", "b"},
      {"$${B}", "$b"},
      {"${B", "${B"},
      {"${}", "${}"},
      {"${ B }", "${ B }"},
      {"${b}", "${b}"},
      {"${UNKNOWN}-${B}", "${UNKNOWN}-b"},
      {"${EMPTY}", ""},
      {"${A}", "${B}"},         // gone through once
      {"${A} ${B}", "b ${B}"},  // the inserted reference stands first
      {"${B} ${A}", "b ${B}"},
      {"${${N}}", "${B}"},
      {"${${N}} ${B}", "b ${B}"},
      {"${D}{B} ${B}", "b ${B}"},
      {"${{YES}}", true},
      {"${{LIST}}", json::array({1, "x"})},
      {"${{TEXT}}", "{not json"},
      {"${{SPACED}}", 7},
      {"${{EMPTY}}", ""},
      {"x${{B}}", "x${{B}}"},  // not the whole text: no reference
      {"${{B}}y", "${{B}}y"},
      {"${{UNKNOWN}}", "${{UNKNOWN}}"},
  };
  for (const auto& c : kCases) {
    const auto made = substitute_parameters(c.from, values);
    ASSERT_TRUE(made) << c.from;
    EXPECT_EQ(*made, c.expected) << c.from;
    const auto key = substitute_parameters(json{{c.from, 1}}, values);
    ASSERT_TRUE(key);
    if (c.expected.is_string() && !std::string(c.from).starts_with("${{")) {
      EXPECT_EQ(*key, (json{{c.expected.get<std::string>(), 1}})) << c.from;
    }
  }
}

TEST(ParameterValuesTest, Os44TakesDefaultGeneratorOrPlaceholder) {
  const RandomBelow first = [](std::uint32_t) { return 0; };
  const struct {
    const char *parameter, *vm_name, *expected;  // null: an error
  } kCases[] = {
      {R"({"name": "NAME"})", "vm", "vm"},
      {R"({"name": "NAME", "value": "x"})", "vm", "vm"},
      {R"({"name": "NAME", "value": "x"})", "", "x"},
      {R"({"name": "NAME", "generate": "expression", "from": "[a-z]{2}"})", "", "aa"},
      {R"({"name": "NAME"})", "", ""},
      {R"({"name": "NAME", "required": true})", "", nullptr},
      {R"({"name": "P"})", "vm", "other"},
      {R"({"name": "P", "required": true})", "vm", "other"},
      {R"({"name": "P", "value": "v", "generate": "expression", "from": "[a-z]{2}"})", "vm", "v"},
      {R"({"name": "P", "value": "", "generate": "expression", "from": "p[0-9]{3}"})", "vm",
       "p000"},
      {R"({"name": "P", "generate": "expression", "from": ""})", "vm", ""},
      {R"({"name": "P", "generate": "expression", "from": "", "required": true})", "vm", nullptr},
      {R"({"name": "P", "generate": "uuid", "from": "x"})", "vm", nullptr},
      {R"({"name": "P", "generate": "expression", "from": "[z-a]{2}"})", "vm", nullptr},
      {R"({"name": "P", "value": 4})", "vm", nullptr},  // the API takes no number either
      {R"({"name": "P", "value": null})", "vm", "other"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.parameter);
    const json parameter = json::parse(c.parameter);
    const auto values =
        parameter_values(filled_parameters(json::array({parameter}), c.vm_name), first);
    ASSERT_EQ(values.ok(), c.expected != nullptr);
    if (!values) {
      EXPECT_EQ(values.error().code(), "VMF-REQ-TEMPLATE");
      EXPECT_THAT(values.error().message(), HasSubstr(c.expected ? "" : "'"));
      continue;
    }
    EXPECT_EQ(values->at(parameter["name"]), c.expected);
  }
}

TEST(EmptyBaseVmTest, Os51HasItsLabels) {
  const json vm = empty_base_vm("myvm").json();
  EXPECT_EQ(vm["metadata"]["labels"], (json{{"app", "myvm"}}));
  EXPECT_EQ(vm["spec"]["template"]["metadata"]["labels"],
            (json{{"kubevirt.io/domain", "myvm"}, {"vm.kubevirt.io/name", "myvm"}}));
}

TEST(BuiltinTemplatesTest, ServeEveryOsOfTheMaps) {
  const std::vector<kube::Object> templates = builtin_templates();
  SourceVm vm{.provider = ProviderKind::Vmware};
  std::vector<std::string> systems = {"windows",  "rhel8",  "debian12", "ubuntu24.04",
                                      "fedora41", "sles15", "slackware"};
  for (const OsMapEntry& entry : upstream_os_info()) systems.emplace_back(entry.value);
  for (const OsMapEntry& entry : added_os_info()) systems.emplace_back(entry.value);
  for (const std::string& os : systems) {
    SCOPED_TRACE(os);
    const auto match = find_template(templates, os, vm);
    ASSERT_TRUE(match);
    const bool windows = os.starts_with("win");
    EXPECT_EQ(match->object.name().starts_with("vmferry-windows"), windows);
    const auto made = process_template(*match, "vm");
    ASSERT_TRUE(made) << to_string(made.error());
    const json& domain = made->json()["spec"]["template"]["spec"]["domain"];
    EXPECT_EQ(domain.contains("clock"), windows);
    EXPECT_EQ(domain["devices"].contains("tpm"),
              os == "win11" || os == "win2k22" || os == "win2k25");
  }
}

TEST(CheckTemplateTest, Val31WantsTheTemplatesMemory) {
  kube::Object object = parameterised();
  const char* rules = R"([{"name":"minimal-required-memory","rule":"integer","min":1610612736},
                          {"name":"minimal-required-memory","min":"jsonpath::x"}])";
  object.json()["metadata"]["annotations"]["validations"] = rules;
  SourceVm vm = ovirt_vm();
  vm.memory_bytes = 12 << 20;
  ASSERT_EQ(check_template(vm, object).size(), 1u);
  EXPECT_EQ(check_template(vm, object)[0].rule, "vm.memory template.requests");
  vm.memory_bytes = std::uint64_t{2} << 30;
  EXPECT_TRUE(check_template(vm, object).empty());
  object.json()["objects"][1]["metadata"]["annotations"]["vm.kubevirt.io/validations"] = "rubbish";
  EXPECT_TRUE(check_template(vm, object).empty());
}

}  // namespace
}  // namespace vmferry::imports
