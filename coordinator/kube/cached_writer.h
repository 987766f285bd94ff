#pragma once

#include <map>

#include "coordinator/kube/informer.h"
#include "coordinator/kube/writer.h"

namespace vmferry::kube {

// A Writer that tells informers what the server answered, so that a CachedReader of the same
// informers never gives a state from before our own writes: a reconciler that reads its import
// anew would otherwise decide, and write, on what it has just replaced. Thread-safe after the last
// add(). Both outlive it.
class CachedWriter final : public Writer {
 public:
  explicit CachedWriter(Writer& direct) : direct_(direct) {}
  void add(Informer& informer) { informers_[informer.type()] = &informer; }

  Result<Object> create(const ResourceType& type, const Object& object, const WriteOptions& options,
                        std::stop_token stop) override;
  Result<Object> patch(const ResourceType& type, const ObjectKey& key,
                       const nlohmann::json& merge_patch, const WriteOptions& options,
                       std::stop_token stop) override;
  Result<Object> patch_status(const ResourceType& type, const ObjectKey& key,
                              const nlohmann::json& merge_patch, std::stop_token stop) override;
  Result<void> remove(const ResourceType& type, const ObjectKey& key, Propagation propagation,
                      const Preconditions& preconditions, std::stop_token stop) override;

 private:
  Informer* informer_of(const ResourceType& type, const std::string& ns) const;
  // `doubts`: that there had been before the write.
  void tell(const ResourceType& type, const ObjectKey& key, const Result<Object>& answer,
            std::uint64_t doubts) const;
  std::uint64_t doubts(const ResourceType& type, const std::string& ns) const;

  Writer& direct_;
  std::map<ResourceType, Informer*> informers_;
};

}  // namespace vmferry::kube
