#pragma once

#include <memory>
#include <string>

#include "common/clock.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::embedded {

// kube::Reader and kube::Writer over one SQLite file, for one machine and several processes (WAL;
// each process opens its own Store). Honours resourceVersion (one rising counter), generation,
// watch (an event log with the last 10 000 changes; older versions are Aborted), status writes,
// finalizers, owner references and their garbage collection (background and foreground, in the
// deleting transaction), generateName, structural validation of our kinds. Survives kill -9 at any
// instant. Thread-safe.
class Store final : public kube::Reader, public kube::Writer {
 public:
  static Result<std::unique_ptr<Store>> open(const std::string& path, const Clock& clock);
  ~Store() override;

  Result<kube::Object> get(const kube::ResourceType& type, const kube::ObjectKey& key,
                           std::stop_token stop) override;
  Result<kube::ObjectList> list(const kube::ResourceType& type, const kube::ListOptions& options,
                                std::stop_token stop) override;
  Result<std::unique_ptr<kube::Watch>> watch(const kube::ResourceType& type,
                                             const kube::ListOptions& options,
                                             const std::string& resource_version,
                                             std::stop_token stop) override;
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
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmferry::embedded
