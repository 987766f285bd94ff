#include "cli/overlay_reader.h"

#include "coordinator/kube/selector.h"

namespace vmferry::cli {

Result<void> OverlayReader::put(const kube::ResourceType& type, kube::Object object,
                                std::stop_token stop) {
  const kube::ObjectKey key{type.namespaced ? object.ns() : "", object.name()};
  const auto existing = TRY(kube::get_if_exists(below_, type, key, std::move(stop)));
  object.json()["metadata"]["uid"] = existing ? existing->uid() : kUidToCome;
  if (existing) {
    object.json()["metadata"]["creationTimestamp"] = existing->creation_timestamp();
  }
  if (existing && existing->json().contains("status")) {
    object.json()["status"] = existing->json().at("status");
  }
  above_[type].insert_or_assign(key, std::move(object));
  return {};
}

void OverlayReader::replace(const kube::ResourceType& type, kube::Object object) {
  const kube::ObjectKey key{type.namespaced ? object.ns() : "", object.name()};
  above_[type].insert_or_assign(key, std::move(object));
}

Result<kube::Object> OverlayReader::get(const kube::ResourceType& type, const kube::ObjectKey& key,
                                        std::stop_token stop) {
  if (const auto kind = above_.find(type); kind != above_.end()) {
    if (const auto found = kind->second.find(key); found != kind->second.end()) {
      return found->second;
    }
  }
  return below_.get(type, key, std::move(stop));
}

Result<kube::ObjectList> OverlayReader::list(const kube::ResourceType& type,
                                             const kube::ListOptions& options,
                                             std::stop_token stop) {
  kube::ObjectList list = TRY(below_.list(type, options, std::move(stop)));
  const auto kind = above_.find(type);
  if (kind == above_.end()) return list;
  std::erase_if(list.items, [&](const kube::Object& object) {
    return kind->second.contains({type.namespaced ? object.ns() : "", object.name()});
  });
  const auto selector = TRY(kube::LabelSelector::parse(options.label_selector));
  for (const auto& [key, object] : kind->second) {
    const bool in_namespace = options.ns.empty() || !type.namespaced || key.ns == options.ns;
    if (in_namespace && selector.matches(object.labels())) list.items.push_back(object);
  }
  return list;
}

Result<std::unique_ptr<kube::Watch>> OverlayReader::watch(const kube::ResourceType& type,
                                                          const kube::ListOptions&,
                                                          const std::string&, std::stop_token) {
  return make_error(ErrorKind::Unimplemented, "a dry run does not watch {}", type.plural);
}

}  // namespace vmferry::cli
