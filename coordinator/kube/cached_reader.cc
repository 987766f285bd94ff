#include "coordinator/kube/cached_reader.h"

namespace vmferry::kube {
namespace {

Error not_served(const ResourceType& type) {
  return make_error(ErrorKind::NotFound, "the cluster does not serve {} ({})", type.plural,
                    type.api_version);
}

}  // namespace

Informer* CachedReader::informer_of(const ResourceType& type, const std::string& ns) const {
  const auto found = informers_.find(type);
  if (found == informers_.end()) return nullptr;
  if (found->second->coverage() == Informer::Coverage::Unknown) return nullptr;
  const ListOptions& scope = found->second->scope();
  return scope.ns.empty() || scope.ns == ns ? found->second : nullptr;
}

Result<Object> CachedReader::get(const ResourceType& type, const ObjectKey& key,
                                 std::stop_token stop) {
  Informer* const informer = informer_of(type, key.ns);
  if (informer == nullptr) return direct_.get(type, key, stop);
  if (informer->coverage() == Informer::Coverage::NotServed) return not_served(type);
  if (informer->is_doubtful(key)) {
    Result<Object> object = direct_.get(type, key, stop);
    if (object) informer->note(*object);
    if (!object && object.error().kind() == ErrorKind::NotFound && !informer->find(key)) {
      informer->settle(key);
    }
    return object;
  }
  const std::shared_ptr<const Object> object = informer->find(key);
  if (object) return *object;
  if (!informer->selector().empty()) {
    // It may be there without the label, or be so new that its event is still on its way.
    Result<Object> other = direct_.get(type, key, stop);
    if (other) informer->note(*other);
    return other;
  }
  return make_error(ErrorKind::NotFound, "{} '{}' does not exist", type.kind, key.to_string());
}

Result<ObjectList> CachedReader::list(const ResourceType& type, const ListOptions& options,
                                      std::stop_token stop) {
  const Informer* informer = informer_of(type, options.ns);
  if (informer == nullptr || informer->has_doubts(options.ns)) {
    return direct_.list(type, options, stop);
  }
  const LabelSelector selector = TRY(LabelSelector::parse(options.label_selector));
  if (!selector.is_within(informer->selector())) return direct_.list(type, options, stop);
  if (informer->coverage() == Informer::Coverage::NotServed) return not_served(type);
  ObjectList list;  // without a version: nobody can watch from a cache
  for (const auto& object : informer->all(options.ns, selector)) list.items.push_back(*object);
  return list;
}

Result<std::unique_ptr<Watch>> CachedReader::watch(const ResourceType& type,
                                                   const ListOptions& options,
                                                   const std::string& resource_version,
                                                   std::stop_token stop) {
  return direct_.watch(type, options, resource_version, stop);
}

}  // namespace vmferry::kube
