#include "coordinator/volumes/cluster/cluster_volumes.h"

#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/api/import.h"
#include "coordinator/volumes/cluster/claim_objects.h"
#include "tests/coordinator/volumes/fake_cluster.h"

namespace vmferry::volumes {
namespace {

using kube::types::kDataVolume;
using kube::types::kPersistentVolumeClaim;
using kube::types::kPod;
using MoverUse = ClusterVolumes::MoverUse;

class ClusterVolumesTest : public FakeCluster {
 protected:
  ClusterVolumesTest() : writer_(*store_) {
    owner_ = make(kube::types::kVirtualMachineImport, import("web"));
    storage_class("fast", false, true);
    storage_class("local", true);
    use(MoverUse::WhereNeeded);
  }
  void use(MoverUse movers) {
    ClusterVolumes::Settings settings;
    settings.holder.image = "registry.example/vmferry:1";
    settings.holder.coordinator_address = "tcp://vmferry.vmferry.svc:7401";
    settings.holder.coordinator_key = "KEY";
    settings.holder.node_selector = {{"kubevirt.io/schedulable", "true"}};
    settings.mover_use = movers;
    volumes_ = std::make_unique<ClusterVolumes>(*store_, *store_, writer_, settings, clock_);
  }
  ClaimSpec spec(const std::string& name, const std::string& storage_class = "") const {
    ClaimSpec spec;
    spec.key = {"n", name};
    spec.storage_class = storage_class;
    spec.disk_bytes = kGiB;
    spec.request_bytes = kGiB + kGiB / 16;
    spec.owner = {
        "v2v.kubevirt.io/v1beta1", "VirtualMachineImport", "web", owner_.uid(), true, true};
    spec.labels = {{std::string(api::kImportUid), owner_.uid()}};
    return spec;
  }
  std::string shared_holder() const { return "vmferry-hold-" + owner_.uid(); }
  // Nothing: not yet; waiting_ says for what.
  std::optional<ReachableVolume> reach(const std::string& claim) {
    waiting_.clear();
    auto reached = volumes_->make_reachable({"n", claim}, waiting_, {});
    EXPECT_TRUE(reached) << to_string(reached.error());
    return reached ? *std::move(reached) : std::nullopt;
  }
  bool waits_for(std::string_view words) const { return waiting_.find(words) != std::string::npos; }
  bool release(const std::string& claim) {
    const auto released = volumes_->release({"n", claim}, {});
    EXPECT_TRUE(released) << to_string(released.error());
    return released && *released;
  }
  void expect_code(const Result<void>& result, std::string_view code) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), code) << to_string(result.error());
  }
  nlohmann::json pod_spec(const std::string& name) {
    const auto pod = find(name, kPod);
    EXPECT_TRUE(pod) << name;
    return pod ? pod->json().at("spec") : nlohmann::json::object();
  }

  RefusingWriter writer_;
  kube::Object owner_;
  std::unique_ptr<ClusterVolumes> volumes_;
  std::string waiting_;
};

TEST_F(ClusterVolumesTest, MakesAClaimOfTheDefaultClassThatTheImportOwns) {
  ClaimSpec wanted = spec("a");
  wanted.volume_mode = VolumeMode::Block;
  wanted.access_mode = "ReadWriteMany";
  ASSERT_TRUE(volumes_->ensure_claim(wanted, {}));
  ASSERT_TRUE(volumes_->ensure_claim(wanted, {})) << "a second time is no error";
  const auto claim = find("a", kPersistentVolumeClaim);
  ASSERT_TRUE(claim);
  const nlohmann::json& made = claim->json()["spec"];
  EXPECT_EQ(made["storageClassName"], "fast");
  EXPECT_EQ(made["volumeMode"], "Block");
  EXPECT_EQ(made["accessModes"], nlohmann::json::array({"ReadWriteMany"}));
  EXPECT_EQ(made["resources"]["requests"]["storage"], std::to_string(wanted.request_bytes));
  EXPECT_TRUE(claim->controlled_by(owner_.uid()));
}

TEST_F(ClusterVolumesTest, RefusesForeignClaimsAndDataVolumesOfTheName) {
  make(kPersistentVolumeClaim,
       kube::Object(nlohmann::json{{"metadata", {{"name", "a"}, {"namespace", "n"}}}}));
  expect_code(volumes_->ensure_claim(spec("a"), {}), code::kNameTaken);
  make(kDataVolume,
       kube::Object(nlohmann::json{{"metadata", {{"name", "b"}, {"namespace", "n"}}}}));
  expect_code(volumes_->ensure_claim(spec("b"), {}), code::kNameTaken);
  EXPECT_FALSE(find("b", kPersistentVolumeClaim));
}

TEST_F(ClusterVolumesTest, NamesTheClassesThatExist) {
  const auto missing = volumes_->ensure_claim(spec("a", "slow"), {});
  expect_code(missing, code::kStorageClass);
  EXPECT_NE(missing.error().message().find("fast, local"), std::string::npos);
  ASSERT_TRUE(store_->remove(kube::types::kStorageClass, {"", "fast"},
                             kube::Propagation::Background, {}, {}));
  expect_code(volumes_->ensure_claim(spec("a"), {}), code::kStorageClass);
}

TEST_F(ClusterVolumesTest, TheDefaultForVirtualMachinesComesBeforeTheClusters) {
  make(kube::types::kStorageClass,
       kube::Object(nlohmann::json{
           {"metadata",
            {{"name", "virt"},
             {"annotations", {{"storageclass.kubevirt.io/is-default-virt-class", "true"}}}}},
           {"provisioner", "p"}}));
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  EXPECT_EQ(find("a", kPersistentVolumeClaim)->json()["spec"]["storageClassName"], "virt");
}

TEST_F(ClusterVolumesTest, ExceededQuotaIsSaidAsWhatItIs) {
  writer_.on_create = [](const kube::ResourceType&) {
    return Error(ErrorKind::PermissionDenied,
                 "persistentvolumeclaims \"a\" is forbidden: exceeded quota: small, requested: "
                 "requests.storage=1Gi, used: requests.storage=9Gi, limited: requests.storage=9Gi");
  };
  const auto refused = volumes_->ensure_claim(spec("a"), {});
  expect_code(refused, code::kQuota);
  EXPECT_EQ(refused.error().kind(), ErrorKind::ResourceExhausted);
}

TEST_F(ClusterVolumesTest, AHolderMakesAClaimReachableOnItsNode) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(waits_for("vmferry-hold-a"));
  ASSERT_TRUE(find("vmferry-hold-a", kPod));
  schedule("vmferry-hold-a", "node-1");
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(waits_for("node-1"));
  run("vmferry-hold-a");
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(waits_for("to be bound"));
  bind_claim("a");
  const auto reached = reach("a");
  ASSERT_TRUE(reached) << waiting_;
  EXPECT_EQ(reached->nodes, std::vector<std::string>{"node-1"});
  EXPECT_EQ(reached->target.pod_uid, find("vmferry-hold-a", kPod)->uid());
  EXPECT_EQ(reached->target.volume, "pv-a");
  EXPECT_EQ(reached->target.claim_uid, find("a", kPersistentVolumeClaim)->uid());
  EXPECT_TRUE(reached->target.path.empty());
  EXPECT_FALSE(reached->target.mover);
}

TEST_F(ClusterVolumesTest, AHolderIsRestrictedAndNeverNamesItsNode) {
  ClaimSpec wanted = spec("a");
  wanted.scheduling = {{"nodeSelector", {{"zone", "b"}}},
                       {"tolerations", {{{"key", "vm"}, {"operator", "Exists"}}}}};
  ASSERT_TRUE(volumes_->ensure_claim(wanted, {}));
  reach("a");
  const nlohmann::json pod = pod_spec("vmferry-hold-a");
  EXPECT_FALSE(pod.contains("nodeName"));
  EXPECT_EQ(pod["automountServiceAccountToken"], false);
  EXPECT_EQ(pod["securityContext"]["runAsNonRoot"], true);
  EXPECT_EQ(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
  EXPECT_EQ(pod["nodeSelector"],
            (nlohmann::json{{"zone", "b"}, {"kubevirt.io/schedulable", "true"}}));
  EXPECT_EQ(pod["tolerations"], wanted.scheduling["tolerations"]);
  const nlohmann::json& container = pod["containers"][0];
  EXPECT_EQ(container["args"], nlohmann::json::array({"hold"}));
  EXPECT_EQ(container["securityContext"]["allowPrivilegeEscalation"], false);
  EXPECT_EQ(container["securityContext"]["capabilities"]["drop"], nlohmann::json::array({"ALL"}));
  EXPECT_EQ(container["volumeMounts"][0]["mountPath"], "/target/a");
  const auto object = find("vmferry-hold-a", kPod);
  EXPECT_TRUE(object->controlled_by(owner_.uid())) << "collected with the import";
}

// Who may make pods may not always block the deletion of claims: that needs a right of its own.
TEST_F(ClusterVolumesTest, AHolderWhoseImportIsGoneBelongsToItsClaimAndDoesNotBlockIt) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(find("vmferry-hold-a", kPod)->owners()[0].block_owner_deletion) << "of the import";
  ASSERT_TRUE(volumes_->ensure_claim(spec("b"), {}));
  change(kPersistentVolumeClaim, "b",
         {{"metadata", {{"ownerReferences", nlohmann::json::array()}}}});
  EXPECT_FALSE(reach("b"));
  const auto owners = find("vmferry-hold-b", kPod)->owners();
  ASSERT_EQ(owners.size(), 1U);
  EXPECT_EQ(owners[0].kind, "PersistentVolumeClaim");
  EXPECT_EQ(owners[0].uid, find("b", kPersistentVolumeClaim)->uid());
  EXPECT_FALSE(owners[0].block_owner_deletion);
}

TEST_F(ClusterVolumesTest, DisksThatAreNotBoundToAPlaceGetAHolderEach) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  ASSERT_TRUE(volumes_->ensure_claim(spec("b"), {}));
  reach("a");
  reach("b");
  EXPECT_EQ(pod_spec("vmferry-hold-a")["volumes"].size(), 1u);
  EXPECT_TRUE(find("vmferry-hold-b", kPod));
}

TEST_F(ClusterVolumesTest, OneHolderPlacesAllDisksWhenAnyClassWaitsForItsConsumer) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a", "local"), {}));
  ASSERT_TRUE(volumes_->ensure_claim(spec("b", "fast"), {}));
  reach("b");
  reach("a");
  EXPECT_FALSE(find("vmferry-hold-a", kPod));
  EXPECT_EQ(pod_spec(shared_holder())["volumes"].size(), 2u);
  schedule(shared_holder(), "node-2");
  run(shared_holder());
  bind_claim("a");
  bind_claim("b");
  EXPECT_EQ(reach("a")->nodes, reach("b")->nodes);
  // It stays until the last disk is done.
  EXPECT_TRUE(release("a"));
  EXPECT_TRUE(find(shared_holder(), kPod));
  EXPECT_FALSE(release("b")) << "the pod has to go first";
  EXPECT_FALSE(find(shared_holder(), kPod));
  EXPECT_TRUE(release("b"));
}

TEST_F(ClusterVolumesTest, ReleaseWaitsForPodAndAttachment) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  reach("a");
  schedule("vmferry-hold-a", "node-1");
  run("vmferry-hold-a");
  bind_claim("a");
  keep("vmferry-hold-a");
  attach("pv-a", "node-1");
  EXPECT_FALSE(release("a"));
  EXPECT_TRUE(find("vmferry-hold-a", kPod)->deleting());
  EXPECT_FALSE(release("a"));
  let_go("vmferry-hold-a");
  EXPECT_FALSE(release("a")) << "still attached";
  detach("pv-a");
  EXPECT_TRUE(release("a"));
}

TEST_F(ClusterVolumesTest, NoNewHolderBeforeTheOldOneAndItsAttachmentAreGone) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  reach("a");
  schedule("vmferry-hold-a", "node-1");
  run("vmferry-hold-a");
  bind_claim("a");
  attach("pv-a", "node-1");
  keep("vmferry-hold-a");
  ASSERT_TRUE(reach("a"));
  change(kPod, "vmferry-hold-a", {{"status", {{"phase", "Failed"}, {"reason", "Evicted"}}}});
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(waits_for("Evicted")) << waiting_;
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(waits_for("to end on node 'node-1'")) << waiting_;
  let_go("vmferry-hold-a");
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(waits_for("detached from node 'node-1'")) << waiting_;
  EXPECT_FALSE(find("vmferry-hold-a", kPod));
  detach("pv-a");
  EXPECT_FALSE(reach("a"));
  ASSERT_TRUE(find("vmferry-hold-a", kPod));
}

TEST_F(ClusterVolumesTest, SaysWhyAHolderDoesNotStart) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  reach("a");
  const struct {
    nlohmann::json patch;
    const char* words;
  } cases[] = {
      {{{"status",
         {{"conditions",
           {{{"type", "PodScheduled"},
             {"status", "False"},
             {"reason", "Unschedulable"},
             {"message", "0/3 nodes are available: 3 Insufficient cpu"}}}}}}},
       "0/3 nodes are available"},
      {{{"spec", {{"nodeName", "node-1"}}},
        {"status",
         {{"phase", "Pending"},
          {"containerStatuses",
           {{{"state",
              {{"waiting", {{"reason", "ImagePullBackOff"}, {"message", "no such image"}}}}}}}}}}},
       "ImagePullBackOff: no such image"},
      {{{"status",
         {{"containerStatuses", {{{"state", {{"waiting", {{"reason", "ContainerCreating"}}}}}}}}}}},
       "attaching and mounting"},
  };
  for (const auto& c : cases) {
    change(kPod, "vmferry-hold-a", c.patch);
    EXPECT_FALSE(reach("a"));
    EXPECT_TRUE(waits_for(c.words)) << waiting_;
  }
}

TEST_F(ClusterVolumesTest, ARefusedHolderIsToldWithItsRemedyAndTriedAgain) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  writer_.on_create = [](const kube::ResourceType&) {
    return Error(ErrorKind::PermissionDenied,
                 "admission webhook \"policy.example\" denied the request: image not signed");
  };
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(waits_for("image not signed")) << waiting_;
  EXPECT_TRUE(waits_for(code::kHolderRefused)) << waiting_;
  const int before = writer_.creates;
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(waits_for("image not signed")) << waiting_;
  EXPECT_EQ(writer_.creates, before) << "not at every look";
  writer_.on_create = nullptr;
  clock_.advance(std::chrono::seconds(11));
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(find("vmferry-hold-a", kPod));
}

TEST_F(ClusterVolumesTest, AForeignPodOfTheHoldersNameIsLeftAlone) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  make(kPod, kube::Object(
                 nlohmann::json{{"metadata", {{"name", "vmferry-hold-a"}, {"namespace", "n"}}}}));
  std::string waiting;
  const auto reached = volumes_->make_reachable({"n", "a"}, waiting, {});
  ASSERT_FALSE(reached);
  EXPECT_EQ(reached.error().code(), code::kNameTaken);
  EXPECT_TRUE(release("a"));
  EXPECT_TRUE(find("vmferry-hold-a", kPod));
}

TEST_F(ClusterVolumesTest, AVolumeThatIsTooSmallIsRefused) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  reach("a");
  schedule("vmferry-hold-a", "node-1");
  run("vmferry-hold-a");
  bind_claim("a", "500M");
  std::string waiting;
  const auto reached = volumes_->make_reachable({"n", "a"}, waiting, {});
  ASSERT_FALSE(reached);
  EXPECT_EQ(reached.error().code(), code::kTargetTooSmall);
}

TEST_F(ClusterVolumesTest, AHolderMakesWayForAMoverWhenTheVolumeIsAHostPath) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  reach("a");
  schedule("vmferry-hold-a", "node-1");
  run("vmferry-hold-a");
  bind_claim("a", "1Gi", {{"hostPath", {{"path", "/data/a"}}}});
  EXPECT_FALSE(reach("a"));
  EXPECT_TRUE(waits_for("mover")) << waiting_;
  EXPECT_FALSE(reach("a"));
  const nlohmann::json pod = pod_spec("vmferry-hold-a");
  EXPECT_EQ(pod["containers"][0]["args"][0], "move");
  EXPECT_EQ(pod["automountServiceAccountToken"], false);
  schedule("vmferry-hold-a", "node-1");
  run("vmferry-hold-a");
  const auto reached = reach("a");
  ASSERT_TRUE(reached) << waiting_;
  EXPECT_TRUE(reached->target.mover);
  EXPECT_EQ(reached->target.path, "/target/a");
  EXPECT_EQ(reached->nodes,
            std::vector<std::string>{protocol::mover_node(find("vmferry-hold-a", kPod)->uid())});
}

TEST_F(ClusterVolumesTest, AMoverThatCrashesInALoopIsToldWithItsCause) {
  use(MoverUse::Always);
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  reach("a");
  schedule("vmferry-hold-a", "node-1");
  run("vmferry-hold-a");
  bind_claim("a");
  ASSERT_TRUE(reach("a"));
  change(kPod, "vmferry-hold-a", nlohmann::json::parse(R"({"status": {"containerStatuses": [{
      "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
      "lastState": {"terminated": {"exitCode": 1, "message": "no route to coordinator"}}}]}})"));
  EXPECT_FALSE(reach("a")) << "nobody copies there";
  EXPECT_TRUE(waits_for("'n/vmferry-hold-a'") && waits_for("CrashLoopBackOff: back-off 40s") &&
              waits_for("ended with code 1: no route to coordinator"))
      << waiting_;
}

// A label is anybody's to write: it must not keep the holder for a claim that nobody copies to.
TEST_F(ClusterVolumesTest, AClaimThatOnlyCarriesTheImportsLabelHoldsNothing) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a", "local"), {}));
  ASSERT_TRUE(volumes_->ensure_claim(spec("b", "local"), {}));
  kube::Object foreign(*find("a", kPersistentVolumeClaim));
  nlohmann::json tree = foreign.json();
  tree["metadata"] = {{"name", "c"},
                      {"namespace", "n"},
                      {"labels", tree["metadata"]["labels"]},
                      {"annotations", tree["metadata"]["annotations"]}};
  make(kPersistentVolumeClaim, kube::Object(tree));
  reach("a");
  EXPECT_EQ(pod_spec(shared_holder())["volumes"].size(), 2u);
  schedule(shared_holder(), "node-1");
  run(shared_holder());
  bind_claim("a");
  bind_claim("b");
  reach("a");
  reach("b");
  EXPECT_TRUE(release("a"));
  EXPECT_FALSE(release("b"));
  EXPECT_FALSE(find(shared_holder(), kPod)) << "the last one that was copied to is released";
}

TEST_F(ClusterVolumesTest, MoversAreChosenByClassAndSetting) {
  storage_class("standard", true, false, "rancher.io/local-path");
  ASSERT_TRUE(volumes_->ensure_claim(spec("a", "standard"), {}));
  reach("a");
  EXPECT_EQ(pod_spec(shared_holder())["containers"][0]["args"][0], "move");
  ASSERT_TRUE(store_->remove(kPod, {"n", shared_holder()}, kube::Propagation::Background, {}, {}));
  ASSERT_TRUE(volumes_->remove_claim({"n", "a"}, owner_.uid(), {}));

  ClaimSpec block = spec("b");
  block.volume_mode = VolumeMode::Block;
  ASSERT_TRUE(volumes_->ensure_claim(block, {}));
  ASSERT_TRUE(volumes_->ensure_claim(spec("c"), {}));
  use(MoverUse::BlockDevices);
  reach("b");
  reach("c");
  const nlohmann::json mover = pod_spec("vmferry-hold-b");
  EXPECT_EQ(mover["containers"][0]["args"][0], "move");
  EXPECT_EQ(mover["containers"][0]["volumeDevices"][0]["devicePath"], "/dev/vmferry/b");
  EXPECT_EQ(mover["securityContext"]["supplementalGroups"], nlohmann::json::array({6}))
      << "the group that owns the devices of nodes";
  EXPECT_EQ(pod_spec("vmferry-hold-c")["containers"][0]["args"][0], "hold");
  EXPECT_FALSE(pod_spec("vmferry-hold-c")["securityContext"].contains("supplementalGroups"));
  ASSERT_TRUE(volumes_->ensure_claim(spec("d"), {}));
  use(MoverUse::Always);
  reach("d");
  EXPECT_EQ(pod_spec("vmferry-hold-d")["containers"][0]["args"][0], "move");
}

TEST_F(ClusterVolumesTest, ADiskThatIsCopiedAgainAfterItsReleaseGetsItsHolderBack) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a", "local"), {}));
  ASSERT_TRUE(volumes_->ensure_claim(spec("b", "local"), {}));
  reach("a");
  EXPECT_TRUE(release("a"));
  reach("a");
  EXPECT_TRUE(release("b")) << "a is being written again";
  EXPECT_TRUE(find(shared_holder(), kPod));
}

TEST_F(ClusterVolumesTest, RemovesAClaimWithTheDataVolumeThatAdoptedIt) {
  ASSERT_TRUE(volumes_->ensure_claim(spec("a"), {}));
  ASSERT_TRUE(volumes_->remove_claim({"n", "a"}, "another", {}));
  EXPECT_TRUE(find("a", kPersistentVolumeClaim));
  const nlohmann::json by_import{{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                                 {"kind", "VirtualMachineImport"},
                                 {"name", "web"},
                                 {"uid", owner_.uid()},
                                 {"controller", true}};
  const kube::Object volume = make(
      kDataVolume,
      kube::Object(nlohmann::json{
          {"metadata", {{"name", "a"}, {"namespace", "n"}, {"ownerReferences", {by_import}}}}}));
  change(kPersistentVolumeClaim, "a",
         {{"metadata",
           {{"ownerReferences",
             {{{"apiVersion", "cdi.kubevirt.io/v1beta1"},
               {"kind", "DataVolume"},
               {"name", "a"},
               {"uid", volume.uid()},
               {"controller", true}}}}}}});
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(volumes_->remove_claim({"n", "a"}, owner_.uid(), {}));
    EXPECT_FALSE(find("a", kPersistentVolumeClaim));
    EXPECT_FALSE(find("a", kDataVolume));
  }
}

}  // namespace
}  // namespace vmferry::volumes
