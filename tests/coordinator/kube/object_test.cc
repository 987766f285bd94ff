#include "coordinator/kube/object.h"

#include <gtest/gtest.h>

namespace vmferry::kube {
namespace {

TEST(ObjectTest, FindsTypesByAnyOfTheirNames) {
  const struct {
    const char* name;
    const ResourceType* type;
  } cases[] = {
      {"VirtualMachineImport", &types::kVirtualMachineImport},
      {"virtualmachineimports", &types::kVirtualMachineImport},
      {"vmimport", &types::kVirtualMachineImport},
      {"VMImports", &types::kVirtualMachineImport},
      {"imports", &types::kVirtualMachineImport},
      {"virtualmachineimports.v2v.kubevirt.io", &types::kVirtualMachineImport},
      {"virtualmachineimports.v1beta1.v2v.kubevirt.io", &types::kVirtualMachineImport},
      {"vm", &types::kVirtualMachine},
      {"virtualmachine", &types::kVirtualMachine},
      {"vmi", &types::kVirtualMachineInstance},
      {"pvc", &types::kPersistentVolumeClaim},
      {"sc", &types::kStorageClass},
      {"secrets", &types::kSecret},
      {"secrets.", &types::kSecret},
      {"network-attachment-definitions", &types::kNetworkAttachmentDefinition},
      {"virtualmachines.v2v.kubevirt.io", nullptr},
      {"deployment", nullptr},
      {"", nullptr},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(find_type(c.name), c.type);
  }
}

TEST(ObjectTest, FindsTypesByVersionAndKind) {
  EXPECT_EQ(find_type("v1", "Secret"), &types::kSecret);
  EXPECT_EQ(find_type("v2v.kubevirt.io/v1beta1", "ResourceMapping"), &types::kResourceMapping);
  EXPECT_EQ(find_type("v2v.kubevirt.io/v1alpha1", "ResourceMapping"), &types::kResourceMapping);
  EXPECT_EQ(find_type("v2v.kubevirt.io/v2", "ResourceMapping"), nullptr);
  EXPECT_EQ(find_type("v2v.kubevirt.io/v1beta1", "Secret"), nullptr);
  EXPECT_EQ(find_type("v1", "secret"), nullptr);
}

TEST(ObjectTest, SplitsApiVersions) {
  EXPECT_EQ(types::kSecret.group(), "");
  EXPECT_EQ(types::kSecret.version(), "v1");
  EXPECT_EQ(types::kStorageClass.group(), "storage.k8s.io");
  EXPECT_EQ(types::kStorageClass.version(), "v1");
}

TEST(ObjectTest, ReadsMetadata) {
  const Object object(nlohmann::json::parse(R"({
    "apiVersion": "v1", "kind": "Secret",
    "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7",
      "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
      "deletionTimestamp": "2026-01-02T00:00:00Z",
      "labels": {"l": "1", "bad": 2}, "annotations": {"x": "y"}, "finalizers": ["f", "g"],
      "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "o",
                           "controller": true, "blockOwnerDeletion": true}, {"uid": "q"}]}})"));
  EXPECT_EQ(object.api_version(), "v1");
  EXPECT_EQ(object.kind(), "Secret");
  EXPECT_EQ(object.key(), (ObjectKey{"n", "a"}));
  EXPECT_EQ(object.key().to_string(), "n/a");
  EXPECT_EQ(object.uid(), "u");
  EXPECT_EQ(object.resource_version(), "7");
  EXPECT_EQ(object.generation(), 3);
  EXPECT_EQ(object.creation_timestamp(), "2026-01-01T00:00:00Z");
  EXPECT_TRUE(object.deleting());
  EXPECT_EQ(object.labels(), (std::map<std::string, std::string>{{"l", "1"}}));
  EXPECT_EQ(object.annotation("x"), "y");
  EXPECT_FALSE(object.annotation("z"));
  EXPECT_TRUE(object.has_finalizer("g"));
  EXPECT_FALSE(object.has_finalizer("h"));
  ASSERT_EQ(object.owners().size(), 2U);
  EXPECT_EQ(object.owners()[0], (OwnerReference{"v1", "Pod", "p", "o", true, true}));
  EXPECT_TRUE(object.controlled_by("o"));
  EXPECT_FALSE(object.controlled_by("q"));
}

TEST(ObjectTest, ReadersAreTotal) {
  for (const char* text : {"{}", "[]", "3", "null", R"({"metadata": 3})",
                           R"({"metadata": {"name": 1, "labels": [], "annotations": "x",
                               "finalizers": {}, "ownerReferences": [1], "generation": "a"}})"}) {
    SCOPED_TRACE(text);
    const Object object(nlohmann::json::parse(text));
    EXPECT_EQ(object.name(), "");
    EXPECT_EQ(object.generation(), 0);
    EXPECT_FALSE(object.deleting());
    EXPECT_TRUE(object.labels().empty());
    EXPECT_FALSE(object.annotation("a"));
    EXPECT_TRUE(object.finalizers().empty());
    EXPECT_TRUE(object.owners().empty());
  }
}

}  // namespace
}  // namespace vmferry::kube
