#include "coordinator/embedded/schema.h"

#include <gtest/gtest.h>

#include "common/fd.h"
#include "coordinator/api/yaml.h"
#include "tests/support/places.h"

namespace vmferry::embedded {
namespace {

using kube::types::kResourceMapping;
using kube::types::kVirtualMachineImport;
using nlohmann::json;

json good_import() {
  return json::parse(R"({"apiVersion": "v2v.kubevirt.io/v1beta1", "kind": "VirtualMachineImport",
    "metadata": {"name": "a", "labels": {"x": "y"}},
    "spec": {"providerCredentialsSecret": {"name": "s"},
             "source": {"vmware": {"vm": {"id": "i"}}}}})");
}

TEST(SchemaTest, ReadsTheDeployedDefinitions) {
  for (const char* name : {"virtualmachineimports", "resourcemappings"}) {
    const auto text =
        read_file(testing::source_dir() + "/deploy/daemonset/crds/" + std::string(name) + ".yaml");
    ASSERT_TRUE(text);
    const auto documents = api::parse_yaml(*text, name);
    ASSERT_TRUE(documents) << to_string(documents.error());
    ASSERT_EQ(documents->size(), 1U);
    const json& crd = documents->front().value;
    EXPECT_EQ(crd["metadata"]["name"], std::string(name) + ".v2v.kubevirt.io");
    const auto schema = Schema::of_storage_version(crd);
    EXPECT_TRUE(schema) << to_string(schema.error());
    ASSERT_EQ(crd["spec"]["versions"].size(), 2U);
    EXPECT_EQ(crd["spec"]["versions"][0]["schema"], crd["spec"]["versions"][1]["schema"]);
  }
  EXPECT_NE(schema_of(kVirtualMachineImport), nullptr);
  EXPECT_NE(schema_of(kResourceMapping), nullptr);
  EXPECT_EQ(schema_of(kube::types::kPod), nullptr);
}

TEST(SchemaTest, ChecksImports) {
  const struct {
    const char* name;
    const char* patch;
    const char* problem;  // empty: accepted
  } cases[] = {
      {"as it is", "{}", ""},
      {"no secret", R"({"spec": {"providerCredentialsSecret": null}})",
       "spec.providerCredentialsSecret: is required"},
      {"no secret name", R"({"spec": {"providerCredentialsSecret": {"name": null}}})",
       "spec.providerCredentialsSecret.name: is required"},
      {"no source", R"({"spec": {"source": null}})", "spec.source: is required"},
      {"API-60: 64 characters",
       R"({"spec": {"targetVmName": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}})",
       "spec.targetVmName: must have at most 63 characters"},
      {"63 characters",
       R"({"spec": {"targetVmName": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}})",
       ""},
      {"API-61: both sources", R"({"spec": {"source": {"ovirt": {"vm": {"id": "i"}}}}})",
       "spec.source: must have exactly one of ovirt, vmware; it has ovirt, vmware"},
      {"API-62: no source set", R"({"spec": {"source": {"vmware": null}}})",
       "spec.source: must have exactly one of ovirt, vmware; it has none"},
      {"string as boolean", R"({"spec": {"startVm": "yes"}})", "spec.startVm: must be a boolean"},
      {"number as name", R"({"spec": {"targetVmName": 7}})", "spec.targetVmName: must be a string"},
      {"bad time", R"({"spec": {"finalizeDate": "tomorrow"}})",
       "spec.finalizeDate: must be a time"},
      {"scalar target",
       R"({"spec": {"source": {"vmware": {"mappings": {"networkMappings": [
          {"source": {"name": "n"}, "target": "pod"}]}}}}})",
       "spec.source.vmware.mappings.networkMappings[0].target: must be an object"},
      {"in-CR target may be absent",
       R"({"spec": {"source": {"vmware": {"mappings": {"networkMappings": [
          {"source": {"name": "n"}, "type": "multus"}]}}}}})",
       ""},
      {"ADM-9: an unknown type of network",
       R"({"spec": {"source": {"vmware": {"mappings": {"networkMappings": [
          {"source": {"name": "n"}, "type": "genie"}]}}}}})",
       "networkMappings[0].type: must be one of pod, multus"},
      {"ADM-2: neither id nor name", R"({"spec": {"source": {"vmware": {"vm": {"id": ""}}}}})",
       "spec.source.vmware.vm: needs an id or a name"},
      {"ADM-2: no oVirt id",
       R"({"spec": {"source": {"vmware": null, "ovirt": {"vm": {"cluster": {"name": "c"}}}}}})",
       "spec.source.ovirt.vm: needs an id, or a name and its cluster"},
      {"a name alone", R"({"spec": {"source": {"vmware": null, "ovirt": {"vm": {"name": "v"}}}}})",
       ""},
      {"volume mode",
       R"({"spec": {"source": {"vmware": {"mappings": {"diskMappings": [
          {"source": {"name": "n"}, "target": {"name": ""}, "volumeMode": "block"}]}}}}})",
       "volumeMode: must be one of Filesystem, Block"},
      {"condition twice",
       R"({"status": {"conditions": [{"type": "A", "status": "True"},
                                     {"type": "A", "status": "False"}]}})",
       "status.conditions[1]: is there twice"},
      {"condition without status", R"({"status": {"conditions": [{"type": "A"}]}})",
       "status.conditions[0].status: is required"},
      {"a disk", R"({"status": {"disks": [{"name": "d", "movedBytes": 70368744177664}]}})", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    json object = good_import();
    object.merge_patch(json::parse(c.patch));
    const auto valid = schema_of(kVirtualMachineImport)->prune_and_validate(object);
    if (*c.problem == '\0') {
      EXPECT_TRUE(valid) << to_string(valid.error());
    } else {
      ASSERT_FALSE(valid);
      EXPECT_NE(valid.error().message().find(c.problem), std::string::npos)
          << valid.error().message();
    }
  }
}

TEST(SchemaTest, RequiresTargetsInResourceMappings) {
  json object =
      json::parse(R"({"spec": {"ovirt": {"storageMappings": [{"source": {"name": "d"}}]}}})");
  EXPECT_FALSE(schema_of(kResourceMapping)->prune_and_validate(object));
  object["spec"]["ovirt"]["storageMappings"][0]["target"]["name"] = "";
  EXPECT_TRUE(schema_of(kResourceMapping)->prune_and_validate(object));
}

TEST(SchemaTest, PrunesUnknownFieldsButNotMetadata) {
  json object = good_import();
  object["Spec"] = 1;
  object["spec"]["bogus"] = 1;
  object["spec"]["source"]["vmware"]["vm"]["moref"] = "vm-1";
  object["metadata"]["whatever"] = 1;
  ASSERT_TRUE(schema_of(kVirtualMachineImport)->prune_and_validate(object));
  json expected = good_import();
  expected["metadata"]["whatever"] = 1;
  EXPECT_EQ(object, expected);
}

TEST(SchemaTest, RefusesASchemaThatItCannotEnforce) {
  const auto schema = Schema::of_storage_version(json::parse(
      R"({"spec": {"versions": [{"storage": true, "schema": {"openAPIV3Schema": {
          "type": "object", "properties": {"a": {"type": "string", "uniqueItems": true}}}}}]}})"));
  ASSERT_FALSE(schema);
  EXPECT_NE(schema.error().message().find("uniqueItems"), std::string::npos);
  const auto rule = Schema::of_storage_version(json::parse(
      R"({"spec": {"versions": [{"storage": true, "schema": {"openAPIV3Schema": {
          "type": "object", "x-kubernetes-validations": [{"rule": "false", "message": "no"}]}}}]}})"));
  ASSERT_FALSE(rule);
  EXPECT_NE(rule.error().message().find("cannot enforce the rule"), std::string::npos);
}

}  // namespace
}  // namespace vmferry::embedded
