#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/commands.h"
#include "common/clock.h"
#include "tests/support/kube_fixture.h"
#include "tests/support/places.h"
#include "transfer/sources/private_directory.h"

// `vmferry validate` against a real API server; no source answers, so that only the request and the
// cluster are judged.
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
    std::vector<std::string> words{"vmferry",      "validate",
                                   "-f",           directory_->path() + "/vm.yaml",
                                   "-o",           "json",
                                   "-n",           ns_,
                                   "--home",       directory_->path() + "/home",
                                   "--kubeconfig", bed_->kubeconfig()};
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
    const json answer = json::parse(out.str(), nullptr, false);
    EXPECT_TRUE(answer.is_object()) << out.str() << err.str();
    std::vector<std::string> rules;
    if (!answer.is_object()) return rules;
    for (const json& finding : answer["items"][0]["findings"]) {
      if (finding["level"] == "block") rules.push_back(finding["rule"].get<std::string>());
    }
    return rules;
  }

  KubeBed* bed_ = nullptr;
  std::string ns_;
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

}  // namespace
}  // namespace vmferry::cli
