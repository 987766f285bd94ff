#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::volumes {

// A writer that refuses what a test says, as an API server's admission would.
class RefusingWriter final : public kube::Writer {
 public:
  explicit RefusingWriter(kube::Writer& writer) : writer_(writer) {}
  std::function<std::optional<Error>(const kube::ResourceType&)> on_create;

  Result<kube::Object> create(const kube::ResourceType& type, const kube::Object& object,
                              const kube::WriteOptions& options, std::stop_token stop) override {
    ++creates;
    if (on_create) {
      if (auto refused = on_create(type)) return *std::move(refused);
    }
    return writer_.create(type, object, options, stop);
  }
  Result<kube::Object> patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                             const nlohmann::json& merge_patch, const kube::WriteOptions& options,
                             std::stop_token stop) override {
    return writer_.patch(type, key, merge_patch, options, stop);
  }
  Result<kube::Object> patch_status(const kube::ResourceType& type, const kube::ObjectKey& key,
                                    const nlohmann::json& merge_patch,
                                    std::stop_token stop) override {
    return writer_.patch_status(type, key, merge_patch, stop);
  }
  Result<void> remove(const kube::ResourceType& type, const kube::ObjectKey& key,
                      kube::Propagation propagation, const kube::Preconditions& preconditions,
                      std::stop_token stop) override {
    return writer_.remove(type, key, propagation, preconditions, stop);
  }
  int creates = 0;

 private:
  kube::Writer& writer_;
};

// What scheduler, provisioner, kubelet and attach-detach controller would do, one step at a call,
// on objects of the embedded store. The namespace is "n".
class FakeCluster : public embedded::StoreFixture {
 protected:
  using json = nlohmann::json;

  void storage_class(const std::string& name, bool waits, bool is_default = false,
                     const char* provisioner = "csi.example.com") {
    make(kube::types::kStorageClass,
         kube::Object(json{
             {"metadata",
              {{"name", name},
               {"annotations",
                {{"storageclass.kubernetes.io/is-default-class", is_default ? "true" : "false"}}}}},
             {"provisioner", provisioner},
             {"volumeBindingMode", waits ? "WaitForFirstConsumer" : "Immediate"}}));
  }
  void bind_claim(const std::string& claim, const std::string& capacity = "1Gi",
                  const json& source = {{"csi", {{"driver", "csi.example.com"}}}}) {
    json spec = source;
    spec["capacity"] = {{"storage", capacity}};
    make(kube::types::kPersistentVolume,
         kube::Object(json{{"metadata", {{"name", "pv-" + claim}}}, {"spec", std::move(spec)}}));
    change(kube::types::kPersistentVolumeClaim, claim, {{"spec", {{"volumeName", "pv-" + claim}}}});
    const auto bound = store_->patch_status(
        kube::types::kPersistentVolumeClaim, {"n", claim},
        {{"status", {{"phase", "Bound"}, {"capacity", {{"storage", capacity}}}}}}, {});
    EXPECT_TRUE(bound) << to_string(bound.error());
  }
  void schedule(const std::string& pod, const std::string& node) {
    change(kube::types::kPod, pod,
           {{"spec", {{"nodeName", node}}}, {"status", {{"phase", "Pending"}}}});
  }
  void run(const std::string& pod) {
    change(kube::types::kPod, pod, {{"status", {{"phase", "Running"}}}});
  }
  // A pod that a node still has to let go: kept by a finalizer, as its kubelet keeps it.
  void keep(const std::string& pod) {
    change(kube::types::kPod, pod, {{"metadata", {{"finalizers", {"test/kubelet"}}}}});
  }
  void let_go(const std::string& pod) {
    change(kube::types::kPod, pod, {{"metadata", {{"finalizers", json::array()}}}});
  }
  void attach(const std::string& volume, const std::string& node) {
    make(kube::types::kVolumeAttachment,
         kube::Object(json{{"metadata", {{"name", "csi-" + volume}}},
                           {"spec",
                            {{"attacher", "csi.example.com"},
                             {"nodeName", node},
                             {"source", {{"persistentVolumeName", volume}}}}}}));
  }
  void detach(const std::string& volume) {
    EXPECT_TRUE(store_->remove(kube::types::kVolumeAttachment, {"", "csi-" + volume},
                               kube::Propagation::Background, {}, {}));
  }
  kube::Object change(const kube::ResourceType& type, const std::string& name, const json& patch) {
    const auto patched = store_->patch(type, {"n", name}, patch, {}, {});
    EXPECT_TRUE(patched) << to_string(patched.error());
    return patched ? *patched : kube::Object();
  }
};

}  // namespace vmferry::volumes
