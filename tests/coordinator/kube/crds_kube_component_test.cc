#include <gmock/gmock.h>

#include <filesystem>

#include "common/fd.h"
#include "coordinator/api/manifest.h"
#include "coordinator/kube/apply.h"
#include "tests/coordinator/kube/kube_test_support.h"
#include "tests/support/places.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::HasSubstr;

class CrdsTest : public KubeTest {
 protected:
  std::string imports(const std::string& version) const {
    return "/apis/v2v.kubevirt.io/" + version + "/namespaces/" + ns_ + "/virtualmachineimports";
  }
};

// The forms that vm-import-operator documents: by id or name, cluster by id or name, mappings
// inside or outside, disks, an empty storage class name, no type; as far as its API allows them.
constexpr const char* kPublishedForms[] = {
    R"({"providerCredentialsSecret": {"name": "s", "namespace": "default"},
        "resourceMapping": {"name": "m", "namespace": "default"}, "targetVmName": "testvm",
        "startVm": false, "source": {"ovirt": {"vm": {"id": "80554327-0569-496b-bdeb-fcbbf52b827b"}}}})",
    R"({"providerCredentialsSecret": {"name": "s"}, "source": {"ovirt": {
        "vm": {"name": "myvm", "cluster": {"name": "mycluster"}}, "mappings": {
        "networkMappings": [{"source": {"name": "red/profile1"}, "target": {"name": "xyz"}, "type": "pod"},
          {"source": {"id": "7e2a"}, "target": {"name": "net", "namespace": "n"}, "type": "multus"},
          {"source": {"name": "blue/p"}}],
        "storageMappings": [{"source": {"name": "domain"}, "target": {"name": "class"},
          "volumeMode": "Block", "accessMode": "ReadWriteMany"}],
        "diskMappings": [{"source": {"id": "8181ecc1"}, "target": {"name": ""}, "type": "any"}]}}}})",
    R"({"providerCredentialsSecret": {"name": "s"}, "warm": true, "finalizeDate": "2030-01-01T00:00:00Z",
        "source": {"vmware": {"vm": {"name": "/DC0/vm/web"}, "mappings": {"networkMappings": [
          {"source": {"name": "VM Network"}, "target": {"name": "pod"}, "type": "pod"}]}}}})",
};

TEST_F(CrdsTest, AcceptsWhatVmImportOperatorAcceptsInBothVersions) {
  int number = 0;
  for (const char* spec : kPublishedForms) {
    for (const char* version : {"v1beta1", "v1alpha1"}) {
      SCOPED_TRACE(std::string(version) + " " + spec);
      const json object{{"apiVersion", std::string("v2v.kubevirt.io/") + version},
                        {"kind", "VirtualMachineImport"},
                        {"metadata", {{"name", "i" + std::to_string(++number)}}},
                        {"spec", json::parse(spec)}};
      const auto [status, answer] =
          bed_->try_request("POST", imports(version) + "?fieldValidation=Strict", object);
      ASSERT_EQ(status, 201) << answer.dump();
      // Nothing is pruned, whichever version wrote it.
      EXPECT_EQ(answer["spec"], object["spec"]);
    }
  }
}

TEST_F(CrdsTest, AWriterOfTheOldVersionPrunesNothing) {
  const json object{{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                    {"kind", "VirtualMachineImport"},
                    {"metadata", {{"name", "a"}}},
                    {"spec", json::parse(kPublishedForms[2])}};
  bed_->request("POST", imports("v1beta1"), object);
  json read = bed_->request("GET", imports("v1alpha1") + "/a");
  read["metadata"]["labels"] = {{"touched", "yes"}};
  bed_->request("PUT", imports("v1alpha1") + "/a", read);
  EXPECT_EQ(bed_->request("GET", imports("v1beta1") + "/a")["spec"], object["spec"]);
}

TEST_F(CrdsTest, TheExamplesAreAccepted) {
  int seen = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(testing::source_dir() + "/examples")) {
    if (entry.path().extension() != ".yaml") continue;
    SCOPED_TRACE(entry.path().string());
    const auto objects = api::parse_manifests(*read_file(entry.path()), entry.path(), ns_);
    ASSERT_TRUE(objects.ok()) << to_string(objects.error());
    for (const api::ManifestObject& one : *objects) {
      Object object = one.object;
      if (!object.ns().empty()) object.json()["metadata"]["namespace"] = ns_;
      const auto applied = apply(cluster_->reader(), cluster_->writer(), object, {});
      EXPECT_TRUE(applied.ok()) << one.origin << ": " << to_string(applied.error());
      ++seen;
    }
  }
  EXPECT_GT(seen, 5);
}

TEST_F(CrdsTest, KubectlGetShowsWhatPeopleWant) {
  json object{
      {"metadata", {{"name", "a"}, {"annotations", {{"vmimport.v2v.kubevirt.io/progress", "42"}}}}},
      {"spec", json::parse(kPublishedForms[0])}};
  object["apiVersion"] = "v2v.kubevirt.io/v1beta1";
  object["kind"] = "VirtualMachineImport";
  bed_->request("POST", imports("v1beta1"), object);
  const json status{
      {"status",
       {{"targetVmName", "web"},
        {"copy", {{"rate", "118.2 MiB/s"}, {"eta", "3 min 10 s"}}},
        {"conditions",
         {{{"type", "Processing"}, {"status", "True"}, {"reason", "CopyingDisks"}}}}}}};
  ASSERT_TRUE(
      cluster_->writer().patch_status(types::kVirtualMachineImport, {ns_, "a"}, status, {}).ok());
  HttpClient::Options options;
  options.trust.ca_pem = bed_->ca_pem();
  options.client_certificate_pem = bed_->admin_certificate();
  options.client_key_pem = SecretString(bed_->admin_key());
  HttpRequest request;
  request.url = bed_->url() + imports("v1beta1");
  request.headers = {{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}};
  const auto answer = (*HttpClient::make(std::move(options)))->send(request, {});
  ASSERT_TRUE(answer.ok());
  const json table = json::parse(answer->body);
  std::vector<std::string> names;
  for (const json& column : table.at("columnDefinitions")) {
    if (column.at("priority") == 0) names.push_back(column.at("name"));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"Name", "VM", "Phase", "Progress", "Rate", "ETA",
                                             "Outcome", "Age"}));
  const json& cells = table.at("rows").at(0).at("cells");
  EXPECT_EQ(cells[1], "web");
  EXPECT_EQ(cells[2], "CopyingDisks");
  EXPECT_EQ(cells[3], "42");
  EXPECT_EQ(cells[4], "118.2 MiB/s");
  EXPECT_EQ(cells[5], "3 min 10 s");
}

TEST_F(CrdsTest, TheRenderedVmsHaveNoFieldThatKubeVirtDoesNotKnow) {
  std::vector<json> objects;
  for (const auto& file :
       std::filesystem::directory_iterator(testing::source_dir() + "/tests/data/golden")) {
    const std::string name = file.path().stem().string();
    SCOPED_TRACE(name);
    const auto text = read_file(file.path().string());
    ASSERT_TRUE(text.ok());
    json vm = json::parse(*text);
    objects.push_back(vm);
    vm["metadata"]["namespace"] = ns_;
    vm["metadata"].erase("ownerReferences");
    vm["metadata"]["name"] = name;
    const std::string path = "/apis/kubevirt.io/v1/namespaces/" + ns_ + "/virtualmachines";
    const auto [status, answer] =
        bed_->try_request("POST", path + "?fieldValidation=Strict&dryRun=All", vm);
    EXPECT_EQ(status, 201) << answer.dump();
  }
  ASSERT_GE(objects.size(), 30u);
  EXPECT_EQ(vmferry::testing::KubeBed::strictly_decoded(objects), "");
  objects[0]["spec"]["template"]["spec"]["hostnme"] = "x";
  EXPECT_THAT(vmferry::testing::KubeBed::strictly_decoded(objects), HasSubstr("hostnme"));
}

}  // namespace
}  // namespace vmferry::kube
