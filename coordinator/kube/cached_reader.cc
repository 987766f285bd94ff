#include "coordinator/kube/cached_reader.h"

namespace vmferry::kube {

const Informer* CachedReader::informer_of(const ResourceType& type, const std::string& ns) const {
  const auto found = informers_.find(type);
  if (found == informers_.end() || !found->second->synced()) return nullptr;
  const ListOptions& scope = found->second->scope();
  if (!scope.label_selector.empty()) return nullptr;
  return scope.ns.empty() || scope.ns == ns ? found->second : nullptr;
}

Result<Object> CachedReader::get(const ResourceType& type, const ObjectKey& key,
                                 std::stop_token stop) {
  const Informer* informer = informer_of(type, key.ns);
  if (informer == nullptr) return direct_.get(type, key, stop);
  const std::shared_ptr<const Object> object = informer->find(key);
  if (object) return *object;
  return make_error(ErrorKind::NotFound, "{} '{}' does not exist", type.kind, key.to_string());
}

Result<ObjectList> CachedReader::list(const ResourceType& type, const ListOptions& options,
                                      std::stop_token stop) {
  const Informer* informer =
      options.label_selector.empty() ? informer_of(type, options.ns) : nullptr;
  if (informer == nullptr) return direct_.list(type, options, stop);
  ObjectList list;  // without a version: nobody can watch from a cache
  for (const auto& object : informer->all(options.ns)) list.items.push_back(*object);
  return list;
}

Result<std::unique_ptr<Watch>> CachedReader::watch(const ResourceType& type,
                                                   const ListOptions& options,
                                                   const std::string& resource_version,
                                                   std::stop_token stop) {
  return direct_.watch(type, options, resource_version, stop);
}

}  // namespace vmferry::kube
