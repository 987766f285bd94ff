#include "coordinator/kube/informer.h"

#include <algorithm>
#include <charconv>
#include <exception>

#include "common/backoff.h"
#include "common/check.h"

namespace vmferry::kube {
namespace {

constexpr std::chrono::seconds kLookAgain{15};  // for a kind that is not served

// Zero for what is no number: then nothing is known to be older than anything.
std::uint64_t version_number(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc() && end == text.data() + text.size() ? number : 0;
}
std::uint64_t version_of(const Object& object) { return version_number(object.resource_version()); }

bool is_older(const Object& object, const Object& than) {
  const std::uint64_t version = version_of(object);
  return version != 0 && version < version_of(than);
}

// Selectors of scopes are ours.
LabelSelector parsed(const std::string& text) {
  auto selector = LabelSelector::parse(text);
  VMFERRY_CHECK(selector.ok());
  return *std::move(selector);
}

}  // namespace

Informer::Informer(Reader& reader, const ResourceType& type, Handlers handlers, const Clock& clock,
                   const Logger& log, ListOptions scope)
    : reader_(reader),
      type_(type),
      handlers_(std::move(handlers)),
      clock_(clock),
      log_(log.with({{"kind", type.kind}})),
      scope_(std::move(scope)),
      selector_(parsed(scope_.label_selector)),
      index_label_(selector_.only_key().value_or("")),
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
    if (!ended && ended.error().kind() == ErrorKind::NotFound) {
      if (coverage() != Coverage::NotServed) log_.info("the cluster does not serve this kind");
      forget_all();
      failures = 0;
      if (!clock_.sleep(kLookAgain, stop)) return;
      continue;
    }
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
  for (auto one = cache->objects.lower_bound({ns, ""}); one != cache->objects.end(); ++one) {
    if (!ns.empty() && one->first.ns != ns) break;
    result.push_back(one->second);
  }
  return result;
}

std::vector<std::shared_ptr<const Object>> Informer::all(const std::string& ns,
                                                         const LabelSelector& selector) const {
  std::vector<std::shared_ptr<const Object>> result;
  const auto value = index_label_.empty() ? std::nullopt : selector.value_of(index_label_);
  if (!value) {
    result = all(ns);
  } else {
    auto cache = cache_.lock();
    const auto found = cache->by_label.find(*value);
    if (found == cache->by_label.end()) return result;
    for (const ObjectKey& key : found->second) {
      if (ns.empty() || key.ns == ns) result.push_back(cache->objects.at(key));
    }
  }
  std::erase_if(result, [&](const auto& object) { return !selector.matches(object->labels()); });
  return result;
}

std::vector<ObjectKey> Informer::doubtful(const std::string& ns, std::size_t most) const {
  std::vector<ObjectKey> keys;
  auto cache = cache_.lock();
  for (auto one = cache->doubtful.lower_bound({ns, ""}); one != cache->doubtful.end(); ++one) {
    if (keys.size() >= most || (!ns.empty() && one->first.ns != ns)) break;
    keys.push_back(one->first);
  }
  return keys;
}

void Informer::doubt(const ObjectKey& key, Doubt kind) {
  auto cache = cache_.lock();
  const std::uint64_t number = ++cache->doubts;
  const auto [known, is_new] = cache->doubtful.try_emplace(key, number, kind);
  if (is_new) return;
  known->second.first = number;
  if (kind == Doubt::Write) known->second.second = kind;
}

void Informer::answer_doubt(Cache& cache, const ObjectKey& key, std::uint64_t doubts) {
  const auto found = cache.doubtful.find(key);
  if (found != cache.doubtful.end() && found->second.first <= doubts) cache.doubtful.erase(found);
}

void Informer::settle(const ObjectKey& key, std::uint64_t doubts) {
  auto cache = cache_.lock();
  // An older state of it is still to be told gone: until then the server knows better.
  if (!cache->objects.contains(key)) answer_doubt(*cache, key, doubts);
}

std::string Informer::label_value(const Object& object) const {
  const auto labels = object.labels();
  const auto found = labels.find(index_label_);
  return found == labels.end() ? "" : found->second;
}

void Informer::keep(Cache& cache, const std::shared_ptr<const Object>& object) const {
  const ObjectKey key = object->key();
  remove(cache, key);  // its label may have changed
  cache.objects.insert_or_assign(key, object);
  if (!index_label_.empty()) cache.by_label[label_value(*object)].insert(key);
}

void Informer::remove(Cache& cache, const ObjectKey& key) const {
  const auto found = cache.objects.find(key);
  if (found == cache.objects.end()) return;
  if (!index_label_.empty()) {
    const auto same = cache.by_label.find(label_value(*found->second));
    same->second.erase(key);
    if (same->second.empty()) cache.by_label.erase(same);
  }
  cache.objects.erase(found);
}

void Informer::index(Cache& cache) const {
  cache.by_label.clear();
  if (index_label_.empty()) return;
  for (const auto& [key, object] : cache.objects) cache.by_label[label_value(*object)].insert(key);
}

void Informer::note(const Object& object, std::uint64_t doubts) {
  auto cache = cache_.lock();
  const ObjectKey key = object.key();
  answer_doubt(*cache, key, doubts);
  // Not of our scope (any more): the watch says so, too.
  if (!selector_.matches(object.labels())) return;
  const std::uint64_t version = version_of(object);
  // An event of that or a later moment has come already.
  if (version == 0 || version <= cache->seen_version) return;
  const auto found = cache->objects.find(key);
  if (found != cache->objects.end() && is_older(object, *found->second)) return;
  const auto noted = std::make_shared<const Object>(object);
  cache->noted.insert_or_assign(key, noted);
  keep(*cache, noted);
}

void Informer::put(Object object) {
  const auto seen = std::make_shared<const Object>(std::move(object));
  {
    auto cache = cache_.lock();
    cache->seen_version = std::max(cache->seen_version, version_of(*seen));
    const auto found = cache->objects.find(seen->key());
    if (found != cache->objects.end() && is_older(*seen, *found->second)) return;
    keep(*cache, seen);
  }
  handlers_.on_object(*seen);
}

void Informer::drop(const Object& object) {
  {
    auto cache = cache_.lock();
    cache->seen_version = std::max(cache->seen_version, version_of(object));
    const auto found = cache->objects.find(object.key());
    // Made again since, by ourselves.
    if (found != cache->objects.end() && is_older(object, *found->second)) return;
    remove(*cache, object.key());
    cache->noted.erase(object.key());
    // But not what a write without an answer may have made of it since.
    const auto doubt = cache->doubtful.find(object.key());
    if (doubt != cache->doubtful.end() && doubt->second.second == Doubt::Removal) {
      cache->doubtful.erase(doubt);
    }
  }
  if (handlers_.on_deleted) handlers_.on_deleted(object);
}

// The cache becomes the list, but for what we wrote since it was asked for; what is no longer there
// has been deleted while nobody watched.
void Informer::replace_all(ObjectList now) {
  Objects objects;
  for (Object& object : now.items) {
    ObjectKey key = object.key();
    objects.insert_or_assign(std::move(key), std::make_shared<const Object>(std::move(object)));
  }
  Objects before;
  Objects seen;
  {
    auto cache = cache_.lock();
    const std::uint64_t version = version_number(now.resource_version);
    for (const auto& [key, noted] : cache->noted) {
      const auto found = objects.find(key);
      const bool newer = version_of(*noted) > version;
      if (newer && (found == objects.end() || is_older(*found->second, *noted))) {
        objects.insert_or_assign(key, noted);
      }
    }
    seen = objects;
    before = std::exchange(cache->objects, std::move(objects));
    index(*cache);
    cache->coverage = Coverage::Synced;
    cache->seen_version = version;
    cache->noted.clear();
    // What was doubted since then may have happened since.
    std::erase_if(cache->doubtful,
                  [&](const auto& doubt) { return doubt.second.first <= cache->doubts_at_list; });
  }
  if (handlers_.on_deleted) {
    for (const auto& [key, object] : before) {
      if (!seen.contains(key)) handlers_.on_deleted(*object);
    }
  }
  for (const auto& [key, object] : seen) handlers_.on_object(*object);
}

void Informer::forget_all() {
  Objects before;
  {
    auto cache = cache_.lock();
    before = std::exchange(cache->objects, {});
    cache->by_label.clear();
    cache->coverage = Coverage::NotServed;
  }
  if (!handlers_.on_deleted) return;
  for (const auto& [key, object] : before) handlers_.on_deleted(*object);
}

Result<void> Informer::follow(std::stop_token stop) {
  {
    auto cache = cache_.lock();
    cache->noted.clear();
    cache->doubts_at_list = cache->doubts;
  }
  ObjectList list = TRY(reader_.list(type_, scope_, stop));
  const std::string version = list.resource_version;
  replace_all(std::move(list));
  const auto watch = TRY(reader_.watch(type_, scope_, version, stop));
  while (!stop.stop_requested()) {
    std::optional<WatchEvent> event = TRY(watch->next(std::chrono::seconds(30), stop));
    if (!event) continue;
    if (event->type == EventType::Bookmark) {
      auto cache = cache_.lock();
      cache->seen_version = std::max(cache->seen_version, version_of(event->object));
      continue;
    }
    if (event->type == EventType::Deleted) {
      drop(event->object);
    } else {
      put(std::move(event->object));
    }
  }
  return {};
}

}  // namespace vmferry::kube
