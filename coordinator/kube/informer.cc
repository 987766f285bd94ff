#include "coordinator/kube/informer.h"

#include <exception>

#include "common/backoff.h"

namespace vmferry::kube {

Informer::Informer(Reader& reader, const ResourceType& type, Handlers handlers, const Clock& clock,
                   const Logger& log, ListOptions scope)
    : reader_(reader),
      type_(type),
      handlers_(std::move(handlers)),
      clock_(clock),
      log_(log.with({{"kind", type.kind}})),
      scope_(std::move(scope)),
      thread_([this](std::stop_token stop) { run(stop); }) {}

void Informer::run(std::stop_token stop) {
  const Backoff backoff{.first = std::chrono::milliseconds(200), .cap = std::chrono::seconds(15)};
  int failures = 0;
  while (!stop.stop_requested()) {
    const SteadyTime started = clock_.steady();
    auto ended = [&]() -> Result<void> {
      try {
        return follow(stop);
      } catch (const std::exception& failure) {
        return make_error(ErrorKind::Internal, "watching failed: {}", failure.what());
      }
    }();
    if (stop.stop_requested()) return;
    if (clock_.steady() - started > std::chrono::minutes(1)) failures = 0;
    if (!ended && ended.error().kind() != ErrorKind::Aborted) {
      log_.warn("watch ended, listing again", ended.error());
    }
    if (!clock_.sleep(backoff.delay(++failures, random_unit()), stop)) return;
  }
}

std::shared_ptr<const Object> Informer::find(const ObjectKey& key) const {
  auto cache = cache_.lock();
  const auto found = cache->objects.find(key);
  return found == cache->objects.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<const Object>> Informer::all(const std::string& ns) const {
  std::vector<std::shared_ptr<const Object>> result;
  auto cache = cache_.lock();
  for (const auto& [key, object] : cache->objects) {
    if (ns.empty() || key.ns == ns) result.push_back(object);
  }
  return result;
}

void Informer::put(Object object) {
  const auto seen = std::make_shared<const Object>(std::move(object));
  cache_.lock()->objects.insert_or_assign(seen->key(), seen);
  handlers_.on_object(*seen);
}

void Informer::drop(const Object& object) {
  cache_.lock()->objects.erase(object.key());
  if (handlers_.on_deleted) handlers_.on_deleted(object);
}

// The cache becomes the list; what is no longer there has been deleted while nobody watched.
void Informer::replace_all(std::vector<Object> now) {
  std::map<ObjectKey, std::shared_ptr<const Object>> objects;
  for (Object& object : now) {
    ObjectKey key = object.key();
    objects.insert_or_assign(std::move(key), std::make_shared<const Object>(std::move(object)));
  }
  const auto seen = objects;
  std::map<ObjectKey, std::shared_ptr<const Object>> before;
  {
    auto cache = cache_.lock();
    before = std::exchange(cache->objects, std::move(objects));
    cache->synced = true;
  }
  if (handlers_.on_deleted) {
    for (const auto& [key, object] : before) {
      if (!seen.contains(key)) handlers_.on_deleted(*object);
    }
  }
  for (const auto& [key, object] : seen) handlers_.on_object(*object);
}

Result<void> Informer::follow(std::stop_token stop) {
  ObjectList list = TRY(reader_.list(type_, scope_, stop));
  replace_all(std::move(list.items));
  const auto watch = TRY(reader_.watch(type_, scope_, list.resource_version, stop));
  while (!stop.stop_requested()) {
    std::optional<WatchEvent> event = TRY(watch->next(std::chrono::seconds(30), stop));
    if (!event || event->type == EventType::Bookmark) continue;
    if (event->type == EventType::Deleted) {
      drop(event->object);
    } else {
      put(std::move(event->object));
    }
  }
  return {};
}

}  // namespace vmferry::kube
