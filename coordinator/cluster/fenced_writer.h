#pragma once

#include <functional>

#include "coordinator/kube/writer.h"

namespace vmferry::cluster {

// A Writer that writes only while `may_write` says so: a leader that was frozen past its lease
// wakes up in the middle of a pass, and must not go on with it. Canceled otherwise.
class FencedWriter final : public kube::Writer {
 public:
  FencedWriter(kube::Writer& direct, std::function<bool()> may_write)
      : direct_(direct), may_write_(std::move(may_write)) {}

  Result<kube::Object> create(const kube::ResourceType& type, const kube::Object& object,
                              const kube::WriteOptions& options, std::stop_token stop) override;
  Result<kube::Object> patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                             const nlohmann::json& merge_patch, const kube::WriteOptions& options,
                             std::stop_token stop) override;
  Result<kube::Object> patch_status(const kube::ResourceType& type, const kube::ObjectKey& key,
                                    const nlohmann::json& merge_patch,
                                    std::stop_token stop) override;
  Result<void> remove(const kube::ResourceType& type, const kube::ObjectKey& key,
                      kube::Propagation propagation, const kube::Preconditions& preconditions,
                      std::stop_token stop) override;

 private:
  Result<void> check() const;

  kube::Writer& direct_;
  const std::function<bool()> may_write_;
};

}  // namespace vmferry::cluster
