#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "coordinator/kube/object.h"

namespace vmferry::kube {

struct ListOptions {
  std::string ns;              // empty: all namespaces
  std::string label_selector;  // "a=b,c,!d": equality, existence, absence
};

struct ObjectList {
  std::vector<Object> items;
  std::string resource_version;  // watch from here
};

// Of a list whose version nobody needs, without copies of them.
using SharedObjects = std::vector<std::shared_ptr<const Object>>;

enum class EventType { Added, Modified, Deleted, Bookmark };

struct WatchEvent {
  EventType type = EventType::Added;
  Object object;  // Deleted: the last state
};

// A running watch. Belongs to one thread.
class Watch {
 public:
  virtual ~Watch() = default;
  // The next event; nothing after `timeout`. Errors: Aborted "resource version too old" (410: list
  // again), Unavailable, Canceled.
  virtual Result<std::optional<WatchEvent>> next(std::chrono::milliseconds timeout,
                                                 std::stop_token stop) = 0;
};

// Reading objects. Thread-safe. Errors: NotFound (get), PermissionDenied, Unavailable,
// DeadlineExceeded, Canceled.
class Reader {
 public:
  virtual ~Reader() = default;
  virtual Result<Object> get(const ResourceType& type, const ObjectKey& key,
                             std::stop_token stop) = 0;
  virtual Result<ObjectList> list(const ResourceType& type, const ListOptions& options,
                                  std::stop_token stop) = 0;
  // The same for those who look at thousands: from a cache it costs a pointer each.
  virtual Result<SharedObjects> list_shared(const ResourceType& type, const ListOptions& options,
                                            std::stop_token stop);
  virtual Result<std::unique_ptr<Watch>> watch(const ResourceType& type, const ListOptions& options,
                                               const std::string& resource_version,
                                               std::stop_token stop) = 0;
};

// NotFound becomes nothing.
Result<std::optional<Object>> get_if_exists(Reader& reader, const ResourceType& type,
                                            const ObjectKey& key, std::stop_token stop);

}  // namespace vmferry::kube
