#include "common/fd.h"
#include "coordinator/api/manifest.h"
#include "tests/coordinator/imports/cluster_bench.h"

// What an administrator changes while we run, on the real API server: ConfigMaps, feature gates,
// and the APIs that are installed at all.
namespace vmferry::imports {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kCrds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/";

class LiveConfigTest : public ClusterBench {
 protected:
  // Ends an import, so that the next one of that VM can begin.
  void start_over() {
    bed_->request("DELETE", imports_path(name_));
    EXPECT_TRUE(kube::eventually([&] {
      pass();
      return bed_->try_request("GET", imports_path(name_)).first == 404;
    })) << last_error_;
    bed_->try_request("DELETE", vms_path("web"));
    EXPECT_TRUE(
        kube::eventually([&] { return bed_->try_request("GET", vms_path("web")).first == 404; }));
  }
  // A template of that system in our namespace, which is searched too.
  void template_for(const std::string& os) {
    const auto text =
        read_file(testing::source_dir() + "/tests/data/templates/rhel8-server-small.yaml");
    ASSERT_TRUE(text.ok());
    const auto objects = api::parse_manifests(*text, "template", ours_);
    ASSERT_TRUE(objects.ok()) << to_string(objects.error());
    json one = objects->front().object.json();
    one["metadata"] = {{"name", "plan9"},
                       {"labels",
                        {{"os.template.kubevirt.io/" + os, "true"},
                         {"workload.template.kubevirt.io/server", "true"},
                         {"flavor.template.kubevirt.io/medium", "true"}}}};
    bed_->request("POST", "/apis/template.openshift.io/v1/namespaces/" + ours_ + "/templates", one);
  }
  void kubevirt_gates(const json& gates) {
    const std::string where = "/apis/kubevirt.io/v1/namespaces/" + ours_ + "/kubevirts";
    bed_->try_request("DELETE", where + "/kubevirt");
    bed_->request(
        "POST", where,
        {{"apiVersion", "kubevirt.io/v1"},
         {"kind", "KubeVirt"},
         {"metadata", {{"name", "kubevirt"}}},
         {"spec", {{"configuration", {{"developerConfiguration", {{"featureGates", gates}}}}}}}});
  }
};

// Without a template an import ends; with any of the three switches the next one goes on.
TEST_F(LiveConfigTest, Api06TheSwitchesForImportsWithoutTemplateCountFromTheNextPassOn) {
  config(json::object());
  create_import();
  ASSERT_TRUE(comes_to("Succeeded", {"False/VMTemplateMatchingFailed", "[VMF-REQ-TEMPLATE]"}));
  EXPECT_THAT(events(), ::testing::Contains(::testing::Key("VMTemplateMatchingFailed")));

  start_over();
  config_map("kubevirt-config", {{"feature-gates", "DataVolumes, ImportWithoutTemplate"}});
  create_import();
  ASSERT_TRUE(succeeds());

  start_over();
  config_map("kubevirt-config", {{"feature-gates", "NotImportWithoutTemplateReally"}});
  create_import();
  ASSERT_TRUE(comes_to("Succeeded", {"False/VMTemplateMatchingFailed"}));

  start_over();
  kubevirt_gates({"Snapshot", "ImportWithoutTemplate"});
  create_import();
  ASSERT_TRUE(succeeds());

  start_over();
  kubevirt_gates({"Snapshot"});
  create_import();
  ASSERT_TRUE(comes_to("Succeeded", {"False/VMTemplateMatchingFailed"}));

  start_over();
  config({{"importWithoutTemplate", "T"}});
  create_import();
  EXPECT_TRUE(succeeds());
}

TEST_F(LiveConfigTest, ABlockedImportGoesOnWhenTheRuleIsLowered) {
  source_.lock()->vm.findings = {
      {"vmware.vm.test", FindingLevel::Block, FindingGroup::Rules, "no such VM here", "lower it"}};
  create_import();
  ASSERT_TRUE(comes_to("MappingRulesVerified", {"False/", "no such VM here"}));
  config({{"importWithoutTemplate", "true"}, {"severity.vmware.vm.test", "warn"}});
  EXPECT_TRUE(succeeds());
  EXPECT_THAT(condition("MappingRulesVerified"), HasSubstr("True/"));
}

TEST_F(LiveConfigTest, TheOsMapIsReadAnewForEachDecision) {
  config({{"osConfigMap.name", "os-map"}, {"osConfigMap.namespace", ours_}});
  template_for("plan9.1");
  source_.lock()->vm.os_type = "plan9Guest";
  create_import();
  ASSERT_TRUE(comes_to("Succeeded", {"False/VMTemplateMatchingFailed", ours_ + "/os-map"}));

  start_over();
  config_map("os-map", {{"osinfo2common", "plan9Guest: plan9.1\n"}});
  create_import();
  ASSERT_TRUE(succeeds());
  EXPECT_EQ(bed_->request("GET", vms_path("web"))["metadata"]["labels"]["vm.kubevirt.io/template"],
            "plan9");

  start_over();
  config_map("os-map", {{"osinfo2common", "plan9Guest: beos1\n"}});
  create_import();
  EXPECT_TRUE(comes_to("Succeeded", {"False/VMTemplateMatchingFailed"}));
}

// APIs that are not installed, or otherwise, and are later.
class LiveApisTest : public LiveConfigTest {
 protected:
  void TearDown() override {
    if (bed_ != nullptr) {  // as bed_with_crds() made them
      const json crd =
          bed_->try_request("GET", kCrds + std::string("virtualmachines.kubevirt.io")).second;
      if (crd.value("/spec/versions/0/name"_json_pointer, "v1") != "v1") {
        uninstall("virtualmachines.kubevirt.io");  // a stored version must stay served
      }
      bed_->apply(testing::source_dir() + "/deploy/daemonset/crds");
      bed_->apply(testing::source_dir() + "/tests/data/crds");
    }
    LiveConfigTest::TearDown();
  }
  void uninstall(const std::string& crd) {
    const std::string group = crd.substr(crd.find('.') + 1);
    const std::string plural = crd.substr(0, crd.find('.'));
    remove(kCrds + crd);
    EXPECT_TRUE(kube::eventually([&] {
      const auto [status, answer] = bed_->try_request("GET", "/apis/" + group + "/v1");
      return status == 404 || answer.dump().find("\"" + plural + "\"") == std::string::npos;
    }));
  }
  void change_crd(const std::string& crd, const json& operations) {
    const auto [status, answer] =
        bed_->try_request("PATCH", kCrds + crd, operations, "application/json-patch+json");
    ASSERT_EQ(status, 200) << answer.dump();
  }
};

TEST_F(LiveApisTest, WithoutKubeVirtAnImportWaitsForIt) {
  uninstall("virtualmachines.kubevirt.io");
  create_import();
  ASSERT_TRUE(comes_to("Processing",
                       {"True/Pending", "[VMF-K8S-API-MISSING]", "KubeVirt", "virtualmachines"}));
  EXPECT_EQ(count("persistentvolumeclaims"), 0U);
  EXPECT_EQ(condition("Succeeded"), "");
  bed_->apply(testing::source_dir() + "/tests/data/crds/kubevirt.yaml");
  EXPECT_TRUE(succeeds());
}

TEST_F(LiveApisTest, AKubeVirtOfAnotherVersionIsWaitedFor) {
  json crd = bed_->request("GET", std::string(kCrds) + "virtualmachines.kubevirt.io");
  uninstall("virtualmachines.kubevirt.io");
  crd.erase("status");
  crd["metadata"] = {{"name", "virtualmachines.kubevirt.io"}};
  for (json& version : crd["spec"]["versions"]) version["name"] = "v1alpha3";
  bed_->request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd);
  create_import();
  ASSERT_TRUE(comes_to("Processing", {"True/Pending", "[VMF-K8S-API-MISSING]", "install or upgrade",
                                      "virtualmachines", "v1"}));
  uninstall("virtualmachines.kubevirt.io");
  bed_->apply(testing::source_dir() + "/tests/data/crds/kubevirt.yaml");
  EXPECT_TRUE(succeeds());
}

TEST_F(LiveApisTest, AKubeVirtThatTakesOtherFieldsIsWaitedFor) {
  change_crd("virtualmachines.kubevirt.io", json::parse(R"([{"op": "add", "path":
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/template/required",
        "value": ["flavour"]}])"));
  // A changed definition counts some moments later.
  ASSERT_TRUE(kube::eventually([&] {
    const json vm = json::parse(R"({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {"name": "any"}, "spec": {"template": {"spec": {"domain": {"devices": {}}}}}})");
    return bed_->try_request("POST", vms_path() + "?dryRun=All", vm)
               .second.dump()
               .find("flavour") != std::string::npos;
  }));
  create_import();
  ASSERT_TRUE(comes_to("Processing", {"True/Pending", "flavour", "KubeVirt"}));
  EXPECT_EQ(count("persistentvolumeclaims"), 0U);
  uninstall("virtualmachines.kubevirt.io");
  bed_->apply(testing::source_dir() + "/tests/data/crds/kubevirt.yaml");
  EXPECT_TRUE(succeeds());
}

// As it is where vm-import-operator's own definition is still installed.
TEST_F(LiveApisTest, ADefinitionOfImportsThatDropsOurFieldsIsToldBeforeAnythingIsMade) {
  const std::string status =
      "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/";
  json operations = json::array();
  for (const char* field : {"disks", "findings", "copy"}) {
    operations.push_back({{"op", "remove"}, {"path", status + field}});
  }
  change_crd("virtualmachineimports.v2v.kubevirt.io", operations);
  create_import();
  ASSERT_TRUE(kube::eventually([&] {
    const json disks{{"status", {{"disks", {{{"name", "a"}, {"claim", "b"}, {"phase", "c"}}}}}}};
    const auto answer = bed_->try_request("PATCH", imports_path("web") + "/status", disks,
                                          "application/merge-patch+json");
    return !answer.second.value("status", json::object()).contains("disks");
  }));
  ASSERT_TRUE(comes_to("Processing", {"True/Pending", "[VMF-K8S-CRD]", "deploy/daemonset/crds"}));
  EXPECT_EQ(count("persistentvolumeclaims"), 0U);
  EXPECT_EQ(count("pods"), 0U);
  bed_->apply(testing::source_dir() + "/deploy/daemonset/crds");
  EXPECT_TRUE(succeeds());
}

TEST_F(LiveApisTest, CdiThatAppearsLaterAdoptsTheDisksOfTheNextImport) {
  uninstall("datavolumes.cdi.kubevirt.io");
  uninstall("cdiconfigs.cdi.kubevirt.io");
  create_import();
  ASSERT_TRUE(succeeds()) << "the VM refers to the claims themselves";
  EXPECT_THAT(bed_->request("GET", vms_path("web")).dump(), HasSubstr("persistentVolumeClaim"));

  start_over();
  bed_->apply(testing::source_dir() + "/tests/data/crds/cdi.yaml");
  bed_->request("POST", "/apis/cdi.kubevirt.io/v1beta1/cdiconfigs",
                {{"apiVersion", "cdi.kubevirt.io/v1beta1"},
                 {"kind", "CDIConfig"},
                 {"metadata", {{"name", "config"}}},
                 {"spec", json::object()}});
  create_import();
  const std::string volumes = "/apis/cdi.kubevirt.io/v1beta1/namespaces/" + ns_ + "/datavolumes";
  ASSERT_TRUE(comes_to("Processing", {"adopt its claim", "[VMF-DST-ADOPTION]"}));
  EXPECT_TRUE(kube::eventually([&] {  // the test is CDI's controller
    pass();
    const json made = bed_->request("GET", volumes);
    for (const json& volume : made["items"]) {
      bed_->try_request("PATCH",
                        volumes + "/" + volume["metadata"]["name"].get<std::string>() + "/status",
                        {{"status", {{"phase", "Succeeded"}}}}, "application/merge-patch+json");
      bed_->try_request("PATCH", volumes + "/" + volume["metadata"]["name"].get<std::string>(),
                        {{"status", {{"phase", "Succeeded"}}}}, "application/merge-patch+json");
    }
    return condition("Succeeded") != "";
  })) << last_error_;
  EXPECT_THAT(condition("Succeeded"), HasSubstr("True/VirtualMachineReady"));
  EXPECT_THAT(bed_->request("GET", vms_path("web")).dump(), HasSubstr("\"dataVolume\""));
  EXPECT_EQ(bed_->request("GET", volumes)["items"].size(), 2U);
}

}  // namespace
}  // namespace vmferry::imports
