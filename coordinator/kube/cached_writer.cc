#include "coordinator/kube/cached_writer.h"

namespace vmferry::kube {

Informer* CachedWriter::informer_of(const ResourceType& type, const std::string& ns) const {
  const auto found = informers_.find(type);
  if (found == informers_.end()) return nullptr;
  const std::string& scope = found->second->scope().ns;
  return scope.empty() || scope == ns ? found->second : nullptr;
}

std::uint64_t CachedWriter::doubts(const ResourceType& type, const std::string& ns) const {
  const Informer* const informer = informer_of(type, ns);
  return informer == nullptr ? 0 : informer->doubts();
}

void CachedWriter::tell(const ResourceType& type, const ObjectKey& key,
                        const Result<Object>& answer, std::uint64_t doubts) const {
  Informer* const informer = informer_of(type, key.ns);
  if (informer == nullptr) return;
  if (answer) {
    informer->note(*answer, doubts);
  } else if (!key.name.empty()) {
    // It may have been carried out all the same, or our copy is behind (a conflict).
    informer->doubt(key);
  }
}

Result<Object> CachedWriter::create(const ResourceType& type, const Object& object,
                                    const WriteOptions& options, std::stop_token stop) {
  const std::uint64_t before = doubts(type, object.ns());
  Result<Object> made = direct_.create(type, object, options, stop);
  if (!options.dry_run) tell(type, object.key(), made, before);
  return made;
}

Result<Object> CachedWriter::patch(const ResourceType& type, const ObjectKey& key,
                                   const nlohmann::json& merge_patch, const WriteOptions& options,
                                   std::stop_token stop) {
  const std::uint64_t before = doubts(type, key.ns);
  Result<Object> patched = direct_.patch(type, key, merge_patch, options, stop);
  if (!options.dry_run) tell(type, key, patched, before);
  return patched;
}

Result<Object> CachedWriter::patch_status(const ResourceType& type, const ObjectKey& key,
                                          const nlohmann::json& merge_patch, std::stop_token stop) {
  const std::uint64_t before = doubts(type, key.ns);
  Result<Object> patched = direct_.patch_status(type, key, merge_patch, stop);
  tell(type, key, patched, before);
  return patched;
}

Result<void> CachedWriter::remove(const ResourceType& type, const ObjectKey& key,
                                  Propagation propagation, const Preconditions& preconditions,
                                  std::stop_token stop) {
  Result<void> removed = direct_.remove(type, key, propagation, preconditions, stop);
  // Gone, or being deleted: the watch will tell which.
  if (Informer* const informer = informer_of(type, key.ns))
    informer->doubt(key, Informer::Doubt::Removal);
  return removed;
}

}  // namespace vmferry::kube
