#include "coordinator/api/import.h"

#include <gtest/gtest.h>

namespace vmferry::api {
namespace {

using nlohmann::json;

kube::Object object(const char* text) { return kube::Object(json::parse(text)); }

TEST(ImportTest, ReadsEveryFieldOfTheSpec) {
  const Result<VirtualMachineImport> import = parse_import(object(R"({"spec": {
    "providerCredentialsSecret": {"name": "s", "namespace": "n"},
    "resourceMapping": {"name": "m"},
    "targetVmName": "web", "startVm": false, "warm": true, "finalizeDate": "2026-01-01T00:00:00Z",
    "source": {"ovirt": {
      "vm": {"id": "i", "name": "v", "cluster": {"id": "ci", "name": "cn"}},
      "mappings": {
        "networkMappings": [{"source": {"name": "a/b"}, "target": {"name": "net", "namespace": "x"},
                             "type": "multus"}],
        "storageMappings": [{"source": {"id": "d"}, "target": {"name": ""}, "volumeMode": "Block",
                             "accessMode": "ReadWriteMany"}],
        "diskMappings": []}}}}})"));
  ASSERT_TRUE(import) << to_string(import.error());
  const ImportSpec& spec = import->spec;
  EXPECT_EQ(spec.credentials_secret, (ObjectIdentifier{"s", "n"}));
  EXPECT_EQ(spec.resource_mapping, (ObjectIdentifier{"m", std::nullopt}));
  EXPECT_EQ(spec.target_vm_name, "web");
  EXPECT_EQ(spec.start_vm, false);
  EXPECT_TRUE(spec.warm);
  EXPECT_EQ(spec.finalize_date, "2026-01-01T00:00:00Z");
  EXPECT_FALSE(spec.vmware);
  ASSERT_TRUE(spec.ovirt);
  EXPECT_EQ(spec.ovirt->vm_id, "i");
  EXPECT_EQ(spec.ovirt->vm_name, "v");
  EXPECT_EQ(spec.ovirt->cluster_id, "ci");
  EXPECT_EQ(spec.ovirt->cluster_name, "cn");
  const Mappings expected{
      .networks = {{{.source = {std::nullopt, "a/b"}, .target = {"net", "x"}, .type = "multus"}}},
      .storage = {{{.source = {"d", std::nullopt},
                    .target = {"", std::nullopt},
                    .volume_mode = "Block",
                    .access_mode = "ReadWriteMany",
                    .type = std::nullopt}}},
      .disks = std::vector<StorageMappingItem>{}};
  EXPECT_EQ(spec.ovirt->mappings, expected);
}

TEST(ImportTest, AbsentAndNullAreTheSame) {
  for (const char* text : {"{}", R"({"spec": null, "status": null})", R"({"spec": {}})",
                           R"({"spec": {"source": null, "startVm": null, "warm": null}})"}) {
    SCOPED_TRACE(text);
    const Result<VirtualMachineImport> import = parse_import(object(text));
    ASSERT_TRUE(import);
    EXPECT_EQ(import->spec, ImportSpec{});
    EXPECT_EQ(import->status, ImportStatus{});
  }
}

TEST(ImportTest, Api61AndApi62ReadTwoSourcesOrNoneForValidationToRefuse) {
  const auto both = parse_import(object(R"({"spec": {"source": {"ovirt": {}, "vmware": {}}}})"));
  ASSERT_TRUE(both);
  EXPECT_TRUE(both->spec.ovirt && both->spec.vmware);
  const auto none = parse_import(object(R"({"spec": {"source": {}}})"));
  ASSERT_TRUE(none);
  EXPECT_FALSE(none->spec.ovirt || none->spec.vmware);
}

TEST(ImportTest, NamesTheFieldWithAWrongType) {
  const struct {
    const char* text;
    const char* path;
  } cases[] = {
      {R"([])", "the text"},
      {R"({"spec": 1})", "spec"},
      {R"({"spec": {"startVm": "yes"}})", "spec.startVm"},
      {R"({"spec": {"targetVmName": 7}})", "spec.targetVmName"},
      {R"({"spec": {"providerCredentialsSecret": "s"}})", "spec.providerCredentialsSecret"},
      {R"({"spec": {"source": {"vmware": {"vm": {"id": 4}}}}})", "spec.source.vmware.vm.id"},
      {R"({"spec": {"source": {"vmware": {"mappings": {"storageMappings": {}}}}}})",
       "spec.source.vmware.mappings.storageMappings"},
      {R"({"spec": {"source": {"ovirt": {"mappings": {"networkMappings": [{}, {"target": "x"}]}}}}})",
       "spec.source.ovirt.mappings.networkMappings[1].target"},
      {R"({"status": {"disks": [{"movedBytes": -1}]}})", "status.disks[0].movedBytes"},
      {R"({"status": {"disks": [{"attempt": 99999999999}]}})", "attempt"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const Result<VirtualMachineImport> import = parse_import(object(c.text));
    ASSERT_FALSE(import);
    EXPECT_EQ(import.error().kind(), ErrorKind::InvalidArgument);
    EXPECT_NE(import.error().message().find(c.path), std::string::npos) << import.error().message();
  }
}

TEST(ImportTest, StatusSurvivesTheRoundTrip) {
  const ImportStatus status{
      .target_vm_name = "web",
      .conditions = {{"Valid", "True", "r", "m", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"},
                     {"Processing", "Unknown", "", "", "", ""}},
      .data_volumes = {"a", "b"},
      .disks = {{.name = "Hard disk 1",
                 .source_disk = "2000",
                 .claim = "web-1",
                 .phase = "Copying",
                 .virtual_bytes = 1ULL << 45,
                 .to_move_bytes = 5,
                 .moved_bytes = 4,
                 .resumed_bytes = 3,
                 .bytes_per_second = 2,
                 .node = "node-1",
                 .attempt = 9,
                 .digest = "xxh3-128:00",
                 .verified = true,
                 .last_error = "e",
                 .source_path = "https ranges"},
                DiskStatus{}},
      .findings = {{"vm.usb", FindingLevel::Block, FindingGroup::Rules, "USB is on", "turn it off"},
                   {"storage.target.default", FindingLevel::Warn, FindingGroup::Mapping, "t", ""}}};
  const auto import = parse_import(kube::Object(json{{"status", status_to_json(status)}}));
  ASSERT_TRUE(import);
  EXPECT_EQ(import->status, status);
}

TEST(ImportTest, AnEmptyStatusClearsWhatAPatchMeets) {
  const json empty = status_to_json({});
  for (const char* name : {"conditions", "dataVolumes", "disks", "findings"}) {
    EXPECT_EQ(empty.at(name), json::array()) << name;
  }
  EXPECT_EQ(empty.at("targetVmName"), "");
}

TEST(ImportTest, ReadsResourceMappings) {
  const auto mapping = parse_resource_mapping(object(
      R"({"spec": {"vmware": {"networkMappings": [{"source": {"name": "VM Network"},
          "target": {"name": "pod"}, "type": "pod"}]}}})"));
  ASSERT_TRUE(mapping);
  EXPECT_FALSE(mapping->ovirt);
  ASSERT_TRUE(mapping->vmware && mapping->vmware->networks);
  EXPECT_FALSE(mapping->vmware->storage);
  EXPECT_EQ(mapping->vmware->networks->at(0).source.name, "VM Network");
  EXPECT_FALSE(parse_resource_mapping(object(R"({"spec": {"ovirt": []}})")));
  EXPECT_TRUE(parse_resource_mapping(object("{}")));
}

}  // namespace
}  // namespace vmferry::api
