#include "coordinator/imports/plan.h"

#include <gtest/gtest.h>

#include "common/bytes.h"

namespace vmferry::imports {
namespace {

using nlohmann::json;

kube::Object marked_class(const std::string& name, const char* mark) {
  return kube::Object(json{{"metadata", {{"name", name}, {"annotations", {{mark, "true"}}}}}});
}

SourceVm vm_with_a_disk() {
  SourceVm vm;
  vm.name = "web";
  vm.disks.resize(1);
  vm.disks[0].id = "d1";
  vm.disks[0].name = "boot";
  vm.disks[0].storage_id = "ds-1";
  vm.disks[0].size_bytes = kGiB;
  return vm;
}

// What CDI observed of class "plain": one set of modes, and the smallest claim.
kube::Object profile_of(const json& modes, const std::string& minimum) {
  return kube::Object(
      json{{"metadata",
            {{"name", "plain"},
             {"annotations", {{"cdi.kubevirt.io/minimumSupportedPvcSize", minimum}}}}},
           {"status", {{"claimPropertySets", modes}}}});
}

ClusterFacts facts_with(const json& modes, const std::string& minimum = "") {
  ClusterFacts facts;
  facts.storage_classes["plain"] =
      marked_class("plain", "storageclass.kubernetes.io/is-default-class");
  facts.storage_profiles.emplace("plain", profile_of(modes, minimum));
  facts.overhead_known = true;
  facts.overhead_by_class["plain"] = 0.1;
  return facts;
}

TEST(PlanTest, AClassProfileFillsWhatTheMappingLeavesOpen) {
  const ClusterFacts facts = facts_with(json::array(
      {{{"volumeMode", "Block"}, {"accessModes", {"ReadWriteMany", "ReadWriteOnce"}}}}));
  const auto disks = plan_disks("uid", vm_with_a_disk(), {}, facts);
  EXPECT_EQ(disks[0].volume_mode, "Block");
  EXPECT_EQ(disks[0].access_mode, "ReadWriteOnce") << "what the source suggests, if it is there";
  EXPECT_EQ(disks[0].request_bytes, kGiB) << "a block volume has no overhead";
}

TEST(PlanTest, TheMappingCountsBeforeTheProfile) {
  api::StorageMappingItem item;
  item.source.id = "ds-1";
  item.volume_mode = "Filesystem";
  item.access_mode = "ReadWriteOnce";
  item.target.name = "plain";
  api::Mappings mappings;
  mappings.storage = {item};
  const ClusterFacts facts =
      facts_with(json::array({{{"volumeMode", "Block"}, {"accessModes", {"ReadWriteMany"}}}}));
  const auto disks = plan_disks("uid", vm_with_a_disk(), mappings, facts);
  EXPECT_EQ(disks[0].volume_mode, "Filesystem");
  EXPECT_EQ(disks[0].access_mode, "ReadWriteOnce");
}

TEST(PlanTest, SizesFollowTheClassThatADefaultClaimWillGet) {
  const auto disks = plan_disks("uid", vm_with_a_disk(), {}, facts_with(json::array()));
  EXPECT_EQ(disks[0].storage_class, "");
  EXPECT_EQ(disks[0].request_bytes, 1193046472u);  // 10 % overhead
  const auto least = plan_disks("uid", vm_with_a_disk(), {}, facts_with(json::array(), "8Gi"));
  EXPECT_EQ(least[0].request_bytes, 8 * kGiB);
}

TEST(PlanTest, TheDefaultForVirtualMachinesIsTheEffectiveClass) {
  ClusterFacts facts = facts_with(json::array());
  EXPECT_EQ(facts.effective_class(""), "plain");
  EXPECT_EQ(facts.effective_class("other"), "other");
  facts.storage_classes["virt"] =
      marked_class("virt", "storageclass.kubevirt.io/is-default-virt-class");
  EXPECT_EQ(facts.effective_class(""), "virt");
}

TEST(PlanTest, IsKeptAsItWasDecided) {
  ImportPlan plan;
  plan.vm_name = "web";
  plan.vm = {{"kind", "VirtualMachine"}};
  plan.data_volumes = true;
  EXPECT_EQ(*plan_from_json(to_json(plan)), plan);
  json old = to_json(plan);
  old.erase("dataVolumes");
  EXPECT_FALSE(plan_from_json(old)->data_volumes) << "plans of earlier versions";
}

}  // namespace
}  // namespace vmferry::imports
