#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "coordinator/volumes/cluster/claim_objects.h"
#include "coordinator/volumes/cluster/holder_pod.h"
#include "tests/support/places.h"

// What we make must fit the types that Kubernetes, KubeVirt and CDI publish, to the letter.
namespace vmferry::imports {
namespace {

namespace fs = std::filesystem;

std::string program() {
  if (const char* named = std::getenv("VMFERRY_STRICT_DECODE")) return named;
  return testing::build_dir() + "/../strict-decode";
}

// Its output and exit code, for these files one after another.
std::pair<std::string, int> decode(const std::vector<std::string>& files) {
  std::string command = "cat";
  for (const std::string& file : files) command += " '" + file + "'";
  command += " | '" + program() + "' 2>&1";
  std::string output;
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {"cannot start " + command, -1};
  char buffer[4096];
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, pipe)) {
    output.append(buffer, count);
  }
  return {output, pclose(pipe)};
}

// Every document of tests/data/golden, whoever put it there.
TEST(StrictDecodeTest, EveryGoldenObjectFitsItsPublishedType) {
  if (!fs::exists(program())) GTEST_SKIP() << "needs " << program() << " (./dev setup)";
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(testing::source_dir() + "/tests/data/golden")) {
    if (entry.path().extension() == ".json") files.push_back(entry.path().string());
  }
  ASSERT_GT(files.size(), 10u);
  const auto [output, status] = decode(files);
  EXPECT_EQ(status, 0) << output;
  std::istringstream lines(output);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line);) count += line.starts_with("ok ");
  EXPECT_EQ(count, files.size()) << output;
}

using nlohmann::json;

ClaimSpec claim_spec(VolumeMode mode) {
  ClaimSpec spec;
  spec.key = {"team", mode == VolumeMode::Block ? "web-1" : "web-0"};
  spec.access_mode = "ReadWriteMany";
  spec.volume_mode = mode;
  spec.request_bytes = spec.disk_bytes = 1 << 30;
  spec.owner = {.api_version = "v2v.kubevirt.io/v1beta1",
                .kind = "VirtualMachineImport",
                .name = "web",
                .uid = "u",
                .controller = true,
                .block_owner_deletion = true};
  spec.labels = {{"vmimport.v2v.kubevirt.io/import-uid", "u"}};
  spec.scheduling = {{"nodeSelector", {{"zone", "a"}}}};
  return spec;
}

// With everything that settings and a VM's template can bring in.
TEST(StrictDecodeTest, HoldersMoversAndClaimsFitTheirPublishedTypes) {
  if (!fs::exists(program())) GTEST_SKIP() << "needs " << program() << " (./dev setup)";
  const kube::Object late(json{{"metadata", {{"name", "local"}}},
                               {"provisioner", "kubernetes.io/no-provisioner"},
                               {"volumeBindingMode", "WaitForFirstConsumer"}});
  const std::vector<kube::Object> claims{
      volumes::claim_object(claim_spec(VolumeMode::Filesystem), late),
      volumes::claim_object(claim_spec(VolumeMode::Block), late)};
  volumes::HolderSettings settings;
  settings.image = "registry.example.com/vmferry:0.1";
  settings.image_pull_secrets = {"registry"};
  settings.node_selector = {{"kubevirt.io/schedulable", "true"}};
  settings.priority_class = "high";
  settings.coordinator_address = "tcp://vmferry-coordinator.vmferry.svc:7401";
  settings.coordinator_key = "key";
  volumes::HolderSpec spec{.key = {"team", "vmferry-hold-u"},
                           .claims = claims,
                           .mover = false,
                           .owner = claim_spec(VolumeMode::Block).owner,
                           .labels = {{"vmimport.v2v.kubevirt.io/import-uid", "u"}},
                           .scheduling = json::parse(R"({
      "nodeSelector": {"zone": "a"}, "schedulerName": "other",
      "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}},
      "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
      "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "ScheduleAnyway"}]})")};
  const kube::Object holder = volumes::holder_pod(spec, settings);
  spec.mover = true;
  const kube::Object mover = volumes::holder_pod(spec, settings);
  const fs::path file = fs::temp_directory_path() / ("strict-pods-" + std::to_string(getpid()));
  {
    std::ofstream out(file);
    for (const kube::Object& object : {claims[0], claims[1], holder, mover}) out << object.json();
  }
  const auto [output, status] = decode({file.string()});
  fs::remove(file);
  EXPECT_EQ(status, 0) << output;
  EXPECT_EQ(std::ranges::count(output, '\n'), 4) << output;
}

TEST(StrictDecodeTest, RefusesAFieldThatDoesNotExist) {
  if (!fs::exists(program())) GTEST_SKIP() << "needs " << program() << " (./dev setup)";
  const fs::path file = fs::temp_directory_path() / ("strict-decode-" + std::to_string(getpid()));
  std::ofstream(file) << R"({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
      "metadata": {"name": "a"}, "spec": {"runStrategy": "Halted",
      "template": {"spec": {"domain": {"devices": {"diks": []}}}}}})";
  const auto [output, status] = decode({file.string()});
  fs::remove(file);
  EXPECT_NE(status, 0);
  EXPECT_NE(output.find("unknown field"), std::string::npos) << output;
}

}  // namespace
}  // namespace vmferry::imports
