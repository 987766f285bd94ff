#pragma once

#include <map>

#include "coordinator/kube/informer.h"

namespace vmferry::kube {

// A Reader that answers from informers where it can: get() and list() of the kinds that were added,
// once their informer has seen a whole list or knows that the kind is not served. Everything else,
// every watch, and objects that a write of ours left in doubt, go to `direct`. What it gives is a
// moment old, but never older than what was written through a CachedWriter of the same informers.
// Of informers that follow a part only (a namespace, a label), an object that they do not know, and
// a list that goes beyond their part, is asked for at the server.
// Thread-safe after the last add(). Both outlive it.
class CachedReader final : public Reader {
 public:
  explicit CachedReader(Reader& direct) : direct_(direct) {}
  void add(Informer& informer) { informers_[informer.type()] = &informer; }

  Result<Object> get(const ResourceType& type, const ObjectKey& key, std::stop_token stop) override;
  Result<ObjectList> list(const ResourceType& type, const ListOptions& options,
                          std::stop_token stop) override;
  Result<SharedObjects> list_shared(const ResourceType& type, const ListOptions& options,
                                    std::stop_token stop) override;
  Result<std::unique_ptr<Watch>> watch(const ResourceType& type, const ListOptions& options,
                                       const std::string& resource_version,
                                       std::stop_token stop) override;

 private:
  // What the informer has of it; nothing: the server is to be asked.
  Result<std::optional<SharedObjects>> cached(const ResourceType& type, const ListOptions& options,
                                              std::stop_token stop);
  // Asks the server about what is in doubt, a few objects at most. Whether the cache can be
  // believed then.
  bool ask_about_doubts(Informer& informer, const std::string& ns, std::stop_token stop);
  Result<Object> ask(Informer& informer, const ObjectKey& key, std::stop_token stop);
  // The informer that knows all of that namespace by now, if any.
  Informer* informer_of(const ResourceType& type, const std::string& ns) const;

  Reader& direct_;
  std::map<ResourceType, Informer*> informers_;
};

}  // namespace vmferry::kube
