#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "coordinator/embedded/store.h"

namespace vmferry::imports {

// A store between a test and whom it tests: what `spoil` answers is the call's error instead.
class SpoiledStore final : public kube::Reader, public kube::Writer {
 public:
  explicit SpoiledStore(embedded::Store& store) : store_(store) {}

  // Verbs: get list watch create patch patch_status remove. The name is empty for list and watch.
  std::function<std::optional<Error>(std::string_view verb, const kube::ResourceType& type,
                                     const std::string& name)>
      spoil;
  // The same after a patch was made: its answer is lost.
  std::function<std::optional<Error>(const kube::Object& made)> lose;
  // Spoils every call of that verb on that kind.
  void refuse(std::string verb, std::string kind, Error error) {
    spoil = [=](std::string_view asked, const kube::ResourceType& type, const std::string&) {
      return asked == verb && type.kind == kind ? std::optional<Error>(error) : std::nullopt;
    };
  }

  Result<kube::Object> get(const kube::ResourceType& type, const kube::ObjectKey& key,
                           std::stop_token stop) override {
    if (auto error = ask("get", type, key.name)) return *std::move(error);
    return store_.get(type, key, stop);
  }
  Result<kube::ObjectList> list(const kube::ResourceType& type, const kube::ListOptions& options,
                                std::stop_token stop) override {
    if (auto error = ask("list", type, "")) return *std::move(error);
    return store_.list(type, options, stop);
  }
  Result<std::unique_ptr<kube::Watch>> watch(const kube::ResourceType& type,
                                             const kube::ListOptions& options,
                                             const std::string& resource_version,
                                             std::stop_token stop) override {
    if (auto error = ask("watch", type, "")) return *std::move(error);
    return store_.watch(type, options, resource_version, stop);
  }
  Result<kube::Object> create(const kube::ResourceType& type, const kube::Object& object,
                              const kube::WriteOptions& options, std::stop_token stop) override {
    if (auto error = ask("create", type, object.name())) return *std::move(error);
    return store_.create(type, object, options, stop);
  }
  Result<kube::Object> patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                             const nlohmann::json& merge_patch, const kube::WriteOptions& options,
                             std::stop_token stop) override {
    if (auto error = ask("patch", type, key.name)) return *std::move(error);
    Result<kube::Object> made = store_.patch(type, key, merge_patch, options, stop);
    if (made && lose) {
      if (auto error = lose(*made)) return *std::move(error);
    }
    return made;
  }
  Result<kube::Object> patch_status(const kube::ResourceType& type, const kube::ObjectKey& key,
                                    const nlohmann::json& merge_patch,
                                    std::stop_token stop) override {
    if (auto error = ask("patch_status", type, key.name)) return *std::move(error);
    return store_.patch_status(type, key, merge_patch, stop);
  }
  Result<void> remove(const kube::ResourceType& type, const kube::ObjectKey& key,
                      kube::Propagation propagation, const kube::Preconditions& preconditions,
                      std::stop_token stop) override {
    if (auto error = ask("remove", type, key.name)) return *std::move(error);
    return store_.remove(type, key, propagation, preconditions, stop);
  }

 private:
  std::optional<Error> ask(std::string_view verb, const kube::ResourceType& type,
                           const std::string& name) const {
    return spoil ? spoil(verb, type, name) : std::nullopt;
  }

  embedded::Store& store_;
};

}  // namespace vmferry::imports
