#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/selector.h"

namespace vmferry::kube {

// Follows all objects of one kind: lists, watches, lists again when the watch is too old, with
// back-off when the API is away. Calls `on_object` for every object seen and `on_deleted` for every
// one gone, also for those that went while nobody watched, on its own thread; the handlers must not
// block. Level-based: events may be merged. What it saw last can be read from any thread.
//
// What a write answered can be put beside it at once (note()), so that a reader of the cache sees
// its own writes; a state is never replaced by an older one. Versions are compared as numbers,
// which Kubernetes promises since 1.35 and etcd always gave.
//
// A kind that the server does not serve (yet) is looked for every fifteen seconds.
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
  enum class Coverage {
    Unknown,    // no whole list was seen: an absent object may exist
    Synced,     // it knows all of its scope
    NotServed,  // there is no such kind here, and so no object
  };
  Coverage coverage() const { return cache_.lock()->coverage; }
  bool synced() const { return coverage() == Coverage::Synced; }

  // How many doubts there have been: what is asked for after a look at it answers the doubts up to
  // there, and none that came while the answer was on its way.
  std::uint64_t doubts() const { return cache_.lock()->doubts; }
  // What the server answered to a write or a direct read of ours that began when there had been
  // `doubts`.
  void note(const Object& object, std::uint64_t doubts);
  // The object may have changed without our knowing how: a write without an answer, a conflict, a
  // removal. Until the next note() of it, or a whole list that was asked for later, a reader had
  // better ask the server. One about a removal is answered by the event of it, too.
  enum class Doubt { Write, Removal };
  void doubt(const ObjectKey& key, Doubt kind = Doubt::Write);
  // The server has no such object, as it answered to a read; and the cache has none.
  void settle(const ObjectKey& key, std::uint64_t doubts);
  bool is_doubtful(const ObjectKey& key) const { return cache_.lock()->doubtful.contains(key); }
  // Of a namespace (empty: of all), at most so many.
  std::vector<ObjectKey> doubtful(const std::string& ns, std::size_t most) const;
  // The object as last seen; null when there is none.
  std::shared_ptr<const Object> find(const ObjectKey& key) const;
  // All of a namespace (empty: of all).
  std::vector<std::shared_ptr<const Object>> all(const std::string& ns = "") const;
  // Those that match as well; quick where the scope is one label and `selector` asks for its value.
  std::vector<std::shared_ptr<const Object>> all(const std::string& ns,
                                                 const LabelSelector& selector) const;
  const LabelSelector& selector() const { return selector_; }

 private:
  using Objects = std::map<ObjectKey, std::shared_ptr<const Object>>;
  struct Cache {
    Objects objects;
    std::map<std::string, std::set<ObjectKey>> by_label;  // by the value of the scope's label
    Coverage coverage = Coverage::Unknown;
    std::uint64_t seen_version = 0;  // of the newest list or event: all before it is known
    Objects noted;                   // since the last list was asked for
    std::map<ObjectKey, std::pair<std::uint64_t, Doubt>> doubtful;  // and the how manieth it was
    std::uint64_t doubts = 0;
    std::uint64_t doubts_at_list = 0;  // when the last list was asked for
  };
  void run(std::stop_token stop);
  Result<void> follow(std::stop_token stop);
  void replace_all(ObjectList now);
  void forget_all();
  void put(Object object);
  void drop(const Object& object);
  void keep(Cache& cache, const std::shared_ptr<const Object>& object) const;
  void remove(Cache& cache, const ObjectKey& key) const;
  void index(Cache& cache) const;
  static void answer_doubt(Cache& cache, const ObjectKey& key, std::uint64_t doubts);
  std::string label_value(const Object& object) const;

  Reader& reader_;
  const ResourceType& type_;
  Handlers handlers_;
  const Clock& clock_;
  Logger log_;
  ListOptions scope_;
  LabelSelector selector_;   // of the scope
  std::string index_label_;  // empty: no index
  Guarded<Cache> cache_;
  std::jthread thread_;  // last: stops before what it uses goes away
};

}  // namespace vmferry::kube
