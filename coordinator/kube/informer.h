#pragma once

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/kube/reader.h"

namespace vmferry::kube {

// Follows all objects of one kind: lists, watches, lists again when the watch is too old, with
// back-off when the API is away. Calls `on_object` for every object seen and `on_deleted` for every
// one gone, also for those that went while nobody watched, on its own thread; the handlers must not
// block. Level-based: events may be merged. What it saw last can be read from any thread.
class Informer {
 public:
  struct Handlers {
    std::function<void(const Object&)> on_object;
    std::function<void(const Object&)> on_deleted;
  };
  Informer(Reader& reader, const ResourceType& type, Handlers handlers, const Clock& clock,
           const Logger& log, ListOptions scope = {});

  const ResourceType& type() const { return type_; }
  const ListOptions& scope() const { return scope_; }
  // Whether a whole list was seen: before that an absent object may exist.
  bool synced() const { return cache_.lock()->synced; }
  // The object as last seen; null when there is none.
  std::shared_ptr<const Object> find(const ObjectKey& key) const;
  // All of a namespace (empty: of all).
  std::vector<std::shared_ptr<const Object>> all(const std::string& ns = "") const;

 private:
  struct Cache {
    std::map<ObjectKey, std::shared_ptr<const Object>> objects;
    bool synced = false;
  };
  void run(std::stop_token stop);
  Result<void> follow(std::stop_token stop);
  void replace_all(std::vector<Object> now);
  void put(Object object);
  void drop(const Object& object);

  Reader& reader_;
  const ResourceType& type_;
  Handlers handlers_;
  const Clock& clock_;
  Logger log_;
  ListOptions scope_;
  Guarded<Cache> cache_;
  std::jthread thread_;  // last: stops before what it uses goes away
};

}  // namespace vmferry::kube
