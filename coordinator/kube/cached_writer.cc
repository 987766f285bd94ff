#include "coordinator/kube/cached_writer.h"

namespace vmferry::kube {

Informer* CachedWriter::informer_of(const ResourceType& type, const std::string& ns) const {
  const auto found = informers_.find(type);
  if (found == informers_.end()) return nullptr;
  const std::string& scope = found->second->scope().ns;
  return scope.empty() || scope == ns ? found->second : nullptr;
}

void CachedWriter::tell(const ResourceType& type, const ObjectKey& key,
                        const Result<Object>& answer) const {
  Informer* const informer = informer_of(type, key.ns);
  if (informer == nullptr) return;
  if (answer) {
    informer->note(*answer);
  } else if (!key.name.empty()) {
    // It may have been carried out all the same, or our copy is behind (a conflict).
    informer->doubt(key);
  }
}

Result<Object> CachedWriter::create(const ResourceType& type, const Object& object,
                                    const WriteOptions& options, std::stop_token stop) {
  Result<Object> made = direct_.create(type, object, options, stop);
  if (!options.dry_run) tell(type, object.key(), made);
  return made;
}

Result<Object> CachedWriter::patch(const ResourceType& type, const ObjectKey& key,
                                   const nlohmann::json& merge_patch, const WriteOptions& options,
                                   std::stop_token stop) {
  Result<Object> patched = direct_.patch(type, key, merge_patch, options, stop);
  if (!options.dry_run) tell(type, key, patched);
  return patched;
}

Result<Object> CachedWriter::patch_status(const ResourceType& type, const ObjectKey& key,
                                          const nlohmann::json& merge_patch, std::stop_token stop) {
  Result<Object> patched = direct_.patch_status(type, key, merge_patch, stop);
  tell(type, key, patched);
  return patched;
}

Result<void> CachedWriter::remove(const ResourceType& type, const ObjectKey& key,
                                  Propagation propagation, const Preconditions& preconditions,
                                  std::stop_token stop) {
  Result<void> removed = direct_.remove(type, key, propagation, preconditions, stop);
  // Gone, or being deleted: the watch will tell which.
  if (Informer* const informer = informer_of(type, key.ns)) informer->doubt(key);
  return removed;
}

}  // namespace vmferry::kube
