#include <algorithm>

#include "common/catalogue.h"
#include "tests/coordinator/imports/finish_fixture.h"

namespace vmferry::imports {
namespace {

using kube::types::kDataVolume;
using kube::types::kPersistentVolumeClaim;
using kube::types::kVirtualMachine;
using kube::types::kVirtualMachineImport;
using nlohmann::json;

// The last steps of an import whose disk "web-boot" is copied, against objects in a store, and CDI
// played by the test.
class AdoptionTest : public FinishFixture {
 protected:
  AdoptionTest() {
    make(kPersistentVolumeClaim,
         kube::Object(json{{"metadata",
                            {{"name", "web-boot"},
                             {"namespace", "n"},
                             {"ownerReferences", json::array({owner_json(import_, true)})}}},
                           {"spec",
                            {{"accessModes", {"ReadWriteMany"}},
                             {"storageClassName", "fast"},
                             {"volumeMode", "Block"}}}}));
    plan_.data_volumes = true;
    plan_.disks = {{.source_id = "1",
                    .name = "boot",
                    .claim = "web-boot",
                    .storage_class = "",
                    .volume_mode = "Block",
                    .access_mode = "ReadWriteMany",
                    .size_bytes = 1 << 20,
                    .request_bytes = 1 << 20}};
  }
  StepResult::Kind adopt() { return ends(adopt_disks); }
  // What CDI's controller does with a DataVolume whose claim is there already.
  void play_cdi() {
    const auto volume = find("web-boot", kDataVolume);
    const auto claim = find("web-boot", kPersistentVolumeClaim);
    ASSERT_TRUE(volume && claim);
    ASSERT_EQ(claim->annotation("cdi.kubevirt.io/storage.populatedFor"), volume->name())
        << "else CDI refuses a claim that exists already";
    const auto owners = claim->owners();
    ASSERT_TRUE(std::ranges::none_of(owners, &kube::OwnerReference::controller))
        << "else CDI cannot become the controller";
    json list = claim->json()["metadata"]["ownerReferences"];
    list.push_back({{"apiVersion", kDataVolume.api_version},
                    {"kind", kDataVolume.kind},
                    {"name", volume->name()},
                    {"uid", volume->uid()},
                    {"controller", true},
                    {"blockOwnerDeletion", true}});
    ASSERT_TRUE(store_->patch(kPersistentVolumeClaim, claim->key(),
                              {{"metadata", {{"ownerReferences", list}}}}, {}, {}));
    ASSERT_TRUE(store_->patch_status(kDataVolume, volume->key(),
                                     {{"status", {{"phase", "Succeeded"}}}}, {}));
  }
};

TEST_F(AdoptionTest, WithoutCdiNothingIsAdopted) {
  plan_.data_volumes = false;
  EXPECT_EQ(adopt(), StepResult::Kind::Done);
  EXPECT_FALSE(find("web-boot", kDataVolume));
}

TEST_F(AdoptionTest, ADataVolumeAdoptsTheFinishedClaimAndBothEndWithTheVirtualMachine) {
  EXPECT_EQ(adopt(), StepResult::Kind::Again);
  const auto volume = find("web-boot", kDataVolume);
  ASSERT_TRUE(volume);
  EXPECT_TRUE(volume->controlled_by(import_.uid()));
  EXPECT_EQ(volume->annotation("cdi.kubevirt.io/storage.prePopulated"), "web-boot");
  EXPECT_EQ(volume->annotation("cdi.kubevirt.io/storage.deleteAfterCompletion"), "false");
  const json& spec = volume->json()["spec"];
  EXPECT_TRUE(spec["source"].contains("blank"));
  EXPECT_EQ(spec["pvc"]["storageClassName"], "fast");
  EXPECT_EQ(spec["pvc"]["volumeMode"], "Block");
  EXPECT_EQ(spec["pvc"]["accessModes"], json::array({"ReadWriteMany"}));
  const auto offered = find("web-boot", kPersistentVolumeClaim);
  EXPECT_EQ(offered->owners().size(), 1u) << "still ours, should the import be deleted now";

  EXPECT_EQ(adopt(), StepResult::Kind::Again) << "not before CDI says so";
  play_cdi();
  EXPECT_EQ(adopt(), StepResult::Kind::Done);

  ASSERT_TRUE(run(create_vm));
  const auto vm = find("web", kVirtualMachine);
  ASSERT_TRUE(vm);
  EXPECT_EQ(find("web-boot", kDataVolume)->owners().size(), 2u);
  EXPECT_TRUE(find("web-boot", kDataVolume)->controlled_by(import_.uid()));
  EXPECT_EQ(adopt(), StepResult::Kind::Done);

  ASSERT_TRUE(run(finish_import));
  const auto finished = find("web-boot", kDataVolume)->owners();
  ASSERT_EQ(finished.size(), 1u);
  EXPECT_EQ(finished.front().uid, vm->uid());
  const auto left = find("web-boot", kPersistentVolumeClaim)->owners();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left.front().uid, volume->uid());
  EXPECT_TRUE(left.front().controller);
  // A crash before Succeeded was written runs all of it again.
  EXPECT_EQ(adopt(), StepResult::Kind::Done);
}

TEST_F(AdoptionTest, AForeignDataVolumeOfTheNameIsLeftAlone) {
  make(kDataVolume, kube::Object(json{{"metadata", {{"name", "web-boot"}, {"namespace", "n"}}}}));
  const auto result = run(adopt_disks);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), code::kNameTaken);
  EXPECT_TRUE(find("web-boot", kPersistentVolumeClaim)->controlled_by(import_.uid()));
}

}  // namespace
}  // namespace vmferry::imports
