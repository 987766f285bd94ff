#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "cli/commands.h"
#include "common/clock.h"
#include "coordinator/imports/template_sources.h"
#include "tests/support/kube_fixture.h"
#include "tests/support/places.h"
#include "tests/support/vcsim_fixture.h"
#include "transfer/sources/private_directory.h"

// `vmferry validate` against a real API server: without a source that answers, so that only the
// request and the cluster are judged, and with a vCenter.
namespace vmferry::cli {
namespace {

using nlohmann::json;
using vmferry::testing::KubeBed;

class ValidateClusterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    VMFERRY_NEED_KUBE();
    bed_ = KubeBed::shared();
    ASSERT_NE(bed_, nullptr);
    bed_->apply(testing::source_dir() + "/deploy/daemonset/crds");
    bed_->apply(testing::source_dir() + "/tests/data/crds");
    ns_ = bed_->make_namespace();
    auto directory = PrivateDirectory::make("");
    ASSERT_TRUE(directory.ok());
    directory_ = *std::move(directory);
  }

  // The rules that block the only import; the exit code in code_.
  std::vector<std::string> blocks(std::vector<std::string> more = {}) {
    std::ofstream(directory_->path() + "/vm.yaml") << R"(apiVersion: v1
kind: Secret
metadata: {name: source}
stringData:
  vmware: |
    apiUrl: https://127.0.0.1:9/sdk
    username: u
    password: p
---
apiVersion: v2v.kubevirt.io/v1beta1
kind: VirtualMachineImport
metadata: {name: web}
spec:
  providerCredentialsSecret: {name: source}
  resourceMapping: {name: map}
  source:
    vmware:
      vm: {name: web}
      mappings:
        storageMappings: [{source: {name: ds}, target: {name: fast}, type: x}]
)";
    const json answer =
        json::parse(validate({"-f", directory_->path() + "/vm.yaml"}, more), nullptr, false);
    EXPECT_TRUE(answer.is_object());
    std::vector<std::string> rules;
    if (!answer.is_object()) return rules;
    for (const json& finding : answer["items"][0]["findings"]) {
      if (finding["level"] == "block") rules.push_back(finding["rule"].get<std::string>());
    }
    return rules;
  }

  // What it prints; the exit code in code_.
  std::string validate(std::vector<std::string> words, const std::vector<std::string>& more = {}) {
    words.insert(words.begin(), {"vmferry", "validate"});
    words.insert(words.end(),
                 {"-o", "json", "-n", ns_, "--home", directory_->path() + "/home", "--kubeconfig",
                  kubeconfig_.empty() ? bed_->kubeconfig() : kubeconfig_});
    words.insert(words.end(), more.begin(), more.end());
    std::vector<const char*> arguments;
    for (const std::string& word : words) arguments.push_back(word.c_str());
    std::ostringstream out, err;
    const SystemClock clock;
    Context context{.out = out, .err = err, .clock = clock, .stop = {}, .log = {}};
    CLI::App app("test", "vmferry");
    add_global_options(app, context);
    add_validate(app, context);
    code_ = parse_and_run(app, context, static_cast<int>(arguments.size()), arguments.data());
    EXPECT_NE(out.str(), "") << err.str();
    return out.str();
  }
  // An import whose secret, mapping and network are in namespace `other`; the network's mapping is
  // the import's own.
  json judge_references(const std::string& other,
                        const std::string& url = "https://127.0.0.1:9/sdk",
                        const std::string& more_of_secret = "") {
    std::ofstream(directory_->path() + "/refs.yaml") << fmt::format(
        R"(apiVersion: v1
kind: Secret
metadata: {{name: source, namespace: {0}}}
stringData:
  vmware: |
    apiUrl: {1}
    username: {3}
    password: '{4}'
{2}---
apiVersion: v2v.kubevirt.io/v1beta1
kind: ResourceMapping
metadata: {{name: map, namespace: {0}}}
spec:
  vmware:
    storageMappings: [{{source: {{name: LocalDS_0}}, target: {{name: none}}}}]
---
apiVersion: v2v.kubevirt.io/v1beta1
kind: VirtualMachineImport
metadata: {{name: web}}
spec:
  providerCredentialsSecret: {{name: source, namespace: {0}}}
  resourceMapping: {{name: map, namespace: {0}}}
  source:
    vmware:
      vm: {{name: web}}
      mappings:
        networkMappings:
          - {{source: {{name: VM Network}}, target: {{name: lan, namespace: {0}}}, type: multus}}
)",
        other, url, more_of_secret, user_, password_);
    const json answer =
        json::parse(validate({"-f", directory_->path() + "/refs.yaml"}), nullptr, false);
    EXPECT_TRUE(answer.is_object());
    return answer.is_object() ? answer["items"][0] : json();
  }
  // Of one import's answer, whose level is that, with their text and remedy.
  static std::map<std::string, std::string> findings(const json& item, const char* level) {
    std::map<std::string, std::string> found;
    for (const json& finding : item["findings"]) {
      if (finding["level"] != level) continue;
      found[finding["rule"]] =
          finding["text"].get<std::string>() + "; " + finding.value("remedy", "");
    }
    return found;
  }
  void grant(const std::string& other, const std::string& group, const std::string& resource,
             const std::string& name) {
    const std::string rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/" + other;
    bed_->request("POST", rbac + "/roles",
                  {{"metadata", {{"name", name}}},
                   {"rules",
                    {{{"apiGroups", {group}},
                      {"resources", {resource}},
                      {"resourceNames", {name}},
                      {"verbs", {"get"}}}}}});
    bed_->request(
        "POST", rbac + "/rolebindings",
        {{"metadata", {{"name", name}}},
         {"roleRef", {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "Role"}, {"name", name}}},
         {"subjects",
          {{{"kind", "ServiceAccount"}, {"name", "vmferry-import"}, {"namespace", ns_}}}}});
  }
  json list(const std::string& path) const { return bed_->request("GET", path).at("items"); }

  KubeBed* bed_ = nullptr;
  std::string ns_;
  std::string user_ = "user", password_ = "pass";
  std::string kubeconfig_;  // empty: the administrator's
  std::unique_ptr<PrivateDirectory> directory_;
  int code_ = -1;
};

TEST_F(ValidateClusterTest, JudgesByTheClustersObjectsAndLeavesItAsItIs) {
  EXPECT_THAT(blocks(), ::testing::ElementsAre("request.resource_mapping"));
  EXPECT_EQ(code_, kFailed);
  const std::string path = "/namespaces/" + ns_;
  bed_->request("POST", "/apis/v2v.kubevirt.io/v1beta1" + path + "/resourcemappings",
                {{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                 {"kind", "ResourceMapping"},
                 {"metadata", {{"name", "map"}}},
                 {"spec", {{"vmware", json::object()}}}});
  EXPECT_THAT(blocks(), ::testing::IsEmpty());
  EXPECT_EQ(code_, kTimedOut);  // the source does not answer

  bed_->request("POST", "/api/v1" + path + "/configmaps",
                {{"metadata", {{"name", "vm-import-controller-config"}}},
                 {"data", {{"severity.request.mapping.ignored_type", "block"}}}});
  EXPECT_THAT(blocks({"--config-namespace", ns_}),
              ::testing::ElementsAre("request.mapping.ignored_type"));

  for (const std::string& kind : {"/apis/v2v.kubevirt.io/v1beta1" + path + "/virtualmachineimports",
                                  "/api/v1" + path + "/secrets", "/api/v1" + path + "/events"}) {
    EXPECT_EQ(bed_->request("GET", kind).at("items").size(), 0u) << kind;
  }
  EXPECT_FALSE(std::filesystem::exists(directory_->path() + "/home"));
}

// The answer is about the namespace's authors: that an administrator may read it all counts for
// nothing.
TEST_F(ValidateClusterTest, ReferencesElsewhereAreForWhoMayReadThem) {
  const std::string other = bed_->make_namespace("other");
  const auto denied = findings(judge_references(other), "block");
  EXPECT_EQ(code_, kFailed);
  ASSERT_TRUE(denied.contains("request.secret.namespace"));
  EXPECT_THAT(denied.at("request.secret.namespace"),
              ::testing::AllOf(::testing::HasSubstr(other + "/source"),
                               ::testing::HasSubstr("system:serviceaccount:" + ns_),
                               ::testing::HasSubstr("--resource=secrets")));
  ASSERT_TRUE(denied.contains("request.resource_mapping.namespace"));
  EXPECT_THAT(denied.at("request.resource_mapping.namespace"),
              ::testing::HasSubstr("--resource=resourcemappings.v2v.kubevirt.io"));

  grant(other, "", "secrets", "source");
  const auto one_left = findings(judge_references(other), "block");
  EXPECT_FALSE(one_left.contains("request.secret.namespace"));
  EXPECT_TRUE(one_left.contains("request.resource_mapping.namespace"));
  grant(other, "v2v.kubevirt.io", "resourcemappings", "map");
  const json granted = judge_references(other);
  EXPECT_THAT(findings(granted, "block"), ::testing::IsEmpty());
  EXPECT_TRUE(findings(granted, "log").contains("request.resource_mapping.namespace"));
  EXPECT_EQ(code_, kTimedOut) << "but the source does not answer";
}

// The coordinator will find out; whoever asks here may not, and no verdict is made up.
TEST_F(ValidateClusterTest, WhoMayNotAskAboutRightsGetsNoVerdict) {
  const std::string other = bed_->make_namespace("other");
  bed_->request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                {{"metadata", {{"name", "reader-" + ns_}}},
                 {"rules",
                  {{{"apiGroups", {"*"}}, {"resources", {"*"}}, {"verbs", {"get", "list"}}},
                   {{"apiGroups", {"*"}},
                    {"resources",
                     {"virtualmachineimports", "secrets", "resourcemappings", "virtualmachines"}},
                    {"verbs", {"create", "patch"}}}}}});
  bed_->request(
      "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
      {{"metadata", {{"name", "reader-" + ns_}}},
       {"roleRef",
        {{"apiGroup", "rbac.authorization.k8s.io"},
         {"kind", "ClusterRole"},
         {"name", "reader-" + ns_}}},
       {"subjects", {{{"kind", "ServiceAccount"}, {"name", "default"}, {"namespace", ns_}}}}});
  kubeconfig_ = directory_->path() + "/reader.kubeconfig";
  std::ofstream(directory_->path() + "/ca.pem") << bed_->ca_pem();
  std::ofstream(kubeconfig_) << fmt::format(
      R"(apiVersion: v1
kind: Config
current-context: reader
clusters: [{{name: bed, cluster: {{server: "{}", certificate-authority: "{}/ca.pem"}}}}]
users: [{{name: reader, user: {{token: "{}"}}}}]
contexts: [{{name: reader, context: {{cluster: bed, user: reader}}}}]
)",
      bed_->url(), directory_->path(), bed_->token(ns_, "default"));
  const json answer = judge_references(other);
  EXPECT_EQ(code_, kTimedOut);
  EXPECT_EQ(answer["verdict"], "could not tell");
  EXPECT_THAT(answer.dump(), ::testing::HasSubstr("whether the import's authors may read"));
  const auto blocks = findings(answer, "block");
  EXPECT_FALSE(blocks.contains("request.secret.namespace"));
  EXPECT_FALSE(blocks.contains("request.resource_mapping.namespace"));
  for (const char* kind : {"clusterroles/", "clusterrolebindings/"}) {
    bed_->request("DELETE",
                  std::string("/apis/rbac.authorization.k8s.io/v1/") + kind + "reader-" + ns_);
  }
}

TEST_F(ValidateClusterTest, ANetworkElsewhereIsForWhoMayReadItsDefinition) {
  if (const std::string why = testing::VcsimBed::missing(); !why.empty()) GTEST_SKIP() << why;
  testing::VcsimBed::Options options;
  options.inventory = json::parse(R"({"datacenter": "DC0", "datastore": "LocalDS_0", "vms": [
      {"name": "web", "guest_id": "rhel8_64Guest", "power": "off",
       "disks": [{"size_bytes": 4194304}], "nics": [{"network": "VM Network"}]}]})");
  const auto vcenter = testing::VcsimBed::start(options);
  ASSERT_NE(vcenter, nullptr);
  user_ = vcenter->user();
  password_ = vcenter->password();
  const std::string other = bed_->make_namespace("other");
  grant(other, "", "secrets", "source");
  grant(other, "v2v.kubevirt.io", "resourcemappings", "map");
  const auto judge = [&] {
    return findings(
        judge_references(other, vcenter->url(), "    thumbprint: " + vcenter->sha1() + "\n"),
        "block");
  };
  const auto denied = judge();
  ASSERT_TRUE(denied.contains("vmware.network.target.namespace")) << json(denied).dump(1);
  EXPECT_FALSE(denied.contains("vmware.network.target")) << "whether it exists is not told";
  EXPECT_THAT(
      denied.at("vmware.network.target.namespace"),
      ::testing::AllOf(::testing::HasSubstr(other + "/lan"),
                       ::testing::HasSubstr("network-attachment-definitions.k8s.cni.cncf.io")));
  grant(other, "k8s.cni.cncf.io", "network-attachment-definitions", "lan");
  const auto granted = judge();
  EXPECT_FALSE(granted.contains("vmware.network.target.namespace"));
  EXPECT_TRUE(granted.contains("vmware.network.target")) << "there is none";
}

TEST_F(ValidateClusterTest, TellsWhatAVmOfAVcenterWouldBecomeAndMakesNothing) {
  if (const std::string why = testing::VcsimBed::missing(); !why.empty()) GTEST_SKIP() << why;
  testing::VcsimBed::Options options;
  options.inventory = json::parse(R"({"datacenter": "DC0", "datastore": "LocalDS_0", "vms": [
      {"name": "web", "guest_id": "rhel8_64Guest", "cpus": 2, "memory_mb": 2048, "firmware": "efi",
       "power": "on", "tools": "toolsOk", "folder": "prod",
       "disks": [{"size_bytes": 4194304, "controller": "pvscsi"}],
       "nics": [{"network": "VM Network"}]}]})");
  const auto vcenter = testing::VcsimBed::start(options);
  ASSERT_NE(vcenter, nullptr);
  for (kube::Object one :
       imports::templates_in(testing::source_dir() + "/tests/data/templates").templates) {
    one.json()["metadata"]["namespace"] = ns_;
    bed_->request("POST", "/apis/template.openshift.io/v1/namespaces/" + ns_ + "/templates",
                  one.json());
  }
  const std::string storage = "/apis/storage.k8s.io/v1/storageclasses";
  bed_->request("POST", storage, {{"metadata", {{"name", ns_}}}, {"provisioner", "example.com/x"}});
  const std::string core = "/api/v1/namespaces/" + ns_;
  bed_->request("POST", core + "/secrets",
                {{"metadata", {{"name", "vcenter"}}},
                 {"stringData",
                  {{"vmware", fmt::format("apiUrl: {}\nusername: {}\npassword: '{}'\n"
                                          "thumbprint: {}\n",
                                          vcenter->url(), vcenter->user(), vcenter->password(),
                                          vcenter->sha1())}}}});
  const std::string imports =
      "/apis/v2v.kubevirt.io/v1beta1/namespaces/" + ns_ + "/virtualmachineimports";
  const auto apply = [&](const std::string& name, const std::string& target_class) {
    bed_->request("POST", imports,
                  {{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                   {"kind", "VirtualMachineImport"},
                   {"metadata", {{"name", name}}},
                   {"spec",
                    {{"providerCredentialsSecret", {{"name", "vcenter"}}},
                     {"targetVmName", name},
                     {"source",
                      {{"vmware",
                        {{"vm", {{"name", "web"}}},
                         {"mappings",
                          {{"networkMappings", json::array({{{"source", {{"name", "VM Network"}}},
                                                             {"target", {{"name", "pod"}}},
                                                             {"type", "pod"}}})},
                           {"storageMappings",
                            json::array({{{"source", {{"name", "LocalDS_0"}}},
                                          {"target", {{"name", target_class}}}}})}}}}}}}}}});
  };
  apply("web", ns_);
  apply("other", "no-such-class");

  std::vector<std::string> kinds = {imports,
                                    core + "/secrets",
                                    core + "/configmaps",
                                    core + "/events",
                                    core + "/persistentvolumeclaims",
                                    core + "/pods",
                                    "/apis/kubevirt.io/v1/namespaces/" + ns_ + "/virtualmachines"};
  std::vector<json> before;
  for (const std::string& kind : kinds) before.push_back(list(kind));
  const json source = vcenter->state();

  const json run = json::parse(validate({"web"})).at("items").at(0);
  EXPECT_EQ(code_, kOk) << run.dump(2);
  EXPECT_EQ(run["verdict"], "would run");
  EXPECT_EQ(run["source"]["path"], "DC0/vm/prod/web");
  EXPECT_EQ(run["source"]["power"], "up");
  EXPECT_EQ(run["os"]["name"], "rhel8.1");
  EXPECT_THAT(run["template"].get<std::string>(),
              ::testing::StartsWith("template '" + ns_ + "/rhel8-server-small' carries os"));
  ASSERT_EQ(run["disks"].size(), 1u);
  EXPECT_EQ(run["disks"][0]["storageClass"], ns_);
  EXPECT_EQ(run["disks"][0]["sizeBytes"], 4194304);
  EXPECT_EQ(run["disks"][0]["why"], "the import's storageMappings, name 'LocalDS_0'");
  EXPECT_EQ(run["networks"][0]["target"], "pod network");
  EXPECT_EQ(run["virtualMachine"]["metadata"]["name"], "web");
  EXPECT_EQ(run["estimate"]["virtualBytes"], 4194304);
  EXPECT_GT(run["estimate"]["bytesPerSecond"], 0);

  const json blocked = json::parse(validate({"other"})).at("items").at(0);
  EXPECT_EQ(code_, kFailed);
  EXPECT_EQ(blocked["findings"][0]["rule"], "vmware.storage.target");

  for (std::size_t i = 0; i < kinds.size(); ++i) EXPECT_EQ(list(kinds[i]), before[i]) << kinds[i];
  const json after = vcenter->state();
  EXPECT_EQ(after["vms"], source["vms"]);
  EXPECT_EQ(after["sessions"], source["sessions"]);
  bed_->request("DELETE", storage + "/" + ns_);
}

// An encrypted disk can be read through VDDK alone: the answer depends on the cluster's agents.
TEST_F(ValidateClusterTest, LooksWhetherAgentsWereGivenVddk) {
  if (const std::string why = testing::VcsimBed::missing(); !why.empty()) GTEST_SKIP() << why;
  testing::VcsimBed::Options options;
  options.inventory = json::parse(R"({"datacenter": "DC0", "datastore": "LocalDS_0", "vms": [
      {"name": "web", "guest_id": "rhel8_64Guest", "cpus": 2, "memory_mb": 2048, "power": "off",
       "disks": [{"size_bytes": 4194304, "controller": "pvscsi", "key_id": "key-1"}]}]})");
  const auto vcenter = testing::VcsimBed::start(options);
  ASSERT_NE(vcenter, nullptr);
  std::ofstream(directory_->path() + "/vm.yaml")
      << fmt::format(R"(apiVersion: v1
kind: Secret
metadata: {{name: source}}
stringData:
  vmware: "{{apiUrl: {}, username: {}, password: '{}', thumbprint: '{}'}}"
---
apiVersion: v2v.kubevirt.io/v1beta1
kind: VirtualMachineImport
metadata: {{name: web}}
spec:
  providerCredentialsSecret: {{name: source}}
  source: {{vmware: {{vm: {{name: web}}}}}}
)",
                     vcenter->url(), vcenter->user(), vcenter->password(), vcenter->sha1());
  const auto encryption = [&](std::string& note) {
    const json run =
        json::parse(validate({"-f", directory_->path() + "/vm.yaml"}, {"--config-namespace", ns_}))
            .at("items")
            .at(0);
    note = run["notes"].empty() ? "" : run["notes"].back().get<std::string>();
    for (const json& finding : run["findings"]) {
      if (finding["rule"] == "vmware.vm.encryption") return finding["level"].get<std::string>();
    }
    return run.dump(2);
  };
  std::string note;
  EXPECT_EQ(encryption(note), "block");
  EXPECT_THAT(note, ::testing::HasSubstr("none of 0 agents has VDDK"));

  const std::string pods = "/api/v1/namespaces/" + ns_ + "/pods";
  json agent = bed_->request(
      "POST", pods,
      {{"metadata",
        {{"name", "vmferry-agent-x"},
         {"labels",
          {{"app.kubernetes.io/name", "vmferry"}, {"app.kubernetes.io/component", "agent"}}}}},
       {"spec",
        {{"containers", json::array({{{"name", "agent"},
                                      {"image", "vmferry"},
                                      {"args", {"--vddk-libdir=/opt/vddk"}}}})}}}});
  EXPECT_EQ(encryption(note), "block") << "it is not ready";
  agent["status"]["conditions"] = json::array({{{"type", "Ready"}, {"status", "True"}}});
  bed_->request("PUT", pods + "/vmferry-agent-x/status", agent);
  EXPECT_EQ(encryption(note), "warn");
  EXPECT_THAT(note, ::testing::HasSubstr("1 of 1 agents' pods were given VDDK"));
}

}  // namespace
}  // namespace vmferry::cli
