#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "coordinator/embedded/store.h"

namespace vmferry::embedded {

// A directory that goes away with the test.
class TempDir {
 public:
  TempDir() {
    std::string name = std::filesystem::temp_directory_path() / "vmferry-test-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  const std::string& root() const { return path_; }

 private:
  std::string path_;
};

class StoreFixture : public testing::Test {
 protected:
  StoreFixture() { store_ = open(); }

  std::unique_ptr<Store> open() {
    auto store = Store::open(dir_.path("store.db"), clock_);
    EXPECT_TRUE(store) << to_string(store.error());
    return *std::move(store);
  }
  static kube::Object config_map(const std::string& name, nlohmann::json metadata = {}) {
    nlohmann::json all{{"metadata", {{"name", name}, {"namespace", "n"}}}, {"data", {{"a", "1"}}}};
    all["metadata"].merge_patch(metadata.is_null() ? nlohmann::json::object() : metadata);
    return kube::Object(all);
  }
  static kube::Object import(const std::string& name) {
    return kube::Object(nlohmann::json::parse(R"({"metadata": {"name": ")" + name +
                                              R"(", "namespace": "n"}, "spec": {
            "providerCredentialsSecret": {"name": "s"},
            "source": {"vmware": {"vm": {"name": "web"}}}}})"));
  }
  kube::Object make(const kube::ResourceType& type, const kube::Object& object) {
    Result<kube::Object> made = store_->create(type, object, {}, {});
    EXPECT_TRUE(made) << to_string(made.error());
    return made ? *made : kube::Object();
  }
  kube::Object make_owned(const std::string& name, const std::vector<kube::Object>& owners,
                          bool block = false, nlohmann::json metadata = nlohmann::json::object()) {
    for (const kube::Object& owner : owners) {
      metadata["ownerReferences"].push_back({{"apiVersion", "v1"},
                                             {"kind", "ConfigMap"},
                                             {"name", owner.name()},
                                             {"uid", owner.uid()},
                                             {"blockOwnerDeletion", block}});
    }
    return make(kube::types::kConfigMap, config_map(name, metadata));
  }
  std::optional<kube::Object> find(const std::string& name,
                                   const kube::ResourceType& type = kube::types::kConfigMap) {
    Result<std::optional<kube::Object>> found = kube::get_if_exists(*store_, type, {"n", name}, {});
    EXPECT_TRUE(found);
    return found ? *found : std::nullopt;
  }
  Result<kube::Object> patch(const std::string& name, const char* text,
                             const kube::ResourceType& type = kube::types::kConfigMap) {
    return store_->patch(type, {"n", name}, nlohmann::json::parse(text), {}, {});
  }
  Result<void> remove(const std::string& name,
                      kube::Propagation propagation = kube::Propagation::Background) {
    return store_->remove(kube::types::kConfigMap, {"n", name}, propagation, {}, {});
  }

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
};

}  // namespace vmferry::embedded
