#include "coordinator/kube/cached_reader.h"

namespace vmferry::kube {
namespace {

constexpr std::size_t kMostAskedAbout = 8;

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
  if (informer->is_doubtful(key)) return ask(*informer, key, stop);
  const std::shared_ptr<const Object> object = informer->find(key);
  if (object) return *object;
  if (!informer->selector().empty()) {
    // It may be there without the label, or be so new that its event is still on its way.
    return ask(*informer, key, stop);
  }
  return make_error(ErrorKind::NotFound, "{} '{}' does not exist", type.kind, key.to_string());
}

Result<Object> CachedReader::ask(Informer& informer, const ObjectKey& key, std::stop_token stop) {
  const std::uint64_t doubts = informer.doubts();
  Result<Object> object = direct_.get(informer.type(), key, stop);
  if (object) informer.note(*object, doubts);
  if (!object && object.error().kind() == ErrorKind::NotFound) informer.settle(key, doubts);
  return object;
}

// A doubt about an object that is gone would else stay for as long as nobody asks for it by name,
// and make every list a request.
bool CachedReader::ask_about_doubts(Informer& informer, const std::string& ns,
                                    std::stop_token stop) {
  const auto doubtful = informer.doubtful(ns, kMostAskedAbout + 1);
  if (doubtful.size() > kMostAskedAbout) return false;
  for (const ObjectKey& key : doubtful) {
    (void)ask(informer, key, stop);  // what it says is in the cache, or the doubt stays
  }
  return informer.doubtful(ns, 1).empty();
}

Result<std::optional<SharedObjects>> CachedReader::cached(const ResourceType& type,
                                                          const ListOptions& options,
                                                          std::stop_token stop) {
  Informer* const informer = informer_of(type, options.ns);
  if (informer == nullptr) return std::optional<SharedObjects>();
  const LabelSelector selector = TRY(LabelSelector::parse(options.label_selector));
  if (!selector.is_within(informer->selector())) return std::optional<SharedObjects>();
  if (informer->coverage() == Informer::Coverage::NotServed) return not_served(type);
  if (!ask_about_doubts(*informer, options.ns, stop)) return std::optional<SharedObjects>();
  return std::optional(informer->all(options.ns, selector));
}

Result<SharedObjects> CachedReader::list_shared(const ResourceType& type,
                                                const ListOptions& options, std::stop_token stop) {
  if (auto known = TRY(cached(type, options, stop))) return *std::move(known);
  return direct_.list_shared(type, options, stop);
}

Result<ObjectList> CachedReader::list(const ResourceType& type, const ListOptions& options,
                                      std::stop_token stop) {
  const auto known = TRY(cached(type, options, stop));
  if (!known) return direct_.list(type, options, stop);
  ObjectList list;  // without a version: nobody can watch from a cache
  for (const auto& object : *known) list.items.push_back(*object);
  return list;
}

Result<std::unique_ptr<Watch>> CachedReader::watch(const ResourceType& type,
                                                   const ListOptions& options,
                                                   const std::string& resource_version,
                                                   std::stop_token stop) {
  return direct_.watch(type, options, resource_version, stop);
}

}  // namespace vmferry::kube
