#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "coordinator/kube/object.h"

namespace vmferry::kube {

enum class Propagation { Background, Foreground, Orphan };

struct Preconditions {
  std::string uid;               // empty: any
  std::string resource_version;  // empty: any
};

struct WriteOptions {
  bool dry_run = false;
};

// Writing objects. Thread-safe. Errors: AlreadyExists (create), NotFound, Aborted (resourceVersion
// or uid conflict), InvalidArgument (refused by schema), PermissionDenied, Unavailable, Canceled.
class Writer {
 public:
  virtual ~Writer() = default;
  // metadata.generateName is honoured. Status is dropped, as the API does for kinds with a status
  // subresource.
  virtual Result<Object> create(const ResourceType& type, const Object& object,
                                const WriteOptions& options, std::stop_token stop) = 0;
  // JSON merge patch (RFC 7386) of everything but status. A metadata.resourceVersion in the patch
  // is a precondition.
  virtual Result<Object> patch(const ResourceType& type, const ObjectKey& key,
                               const nlohmann::json& merge_patch, const WriteOptions& options,
                               std::stop_token stop) = 0;
  // JSON merge patch of status alone; other fields of the patch but metadata.resourceVersion (a
  // precondition) are ignored.
  virtual Result<Object> patch_status(const ResourceType& type, const ObjectKey& key,
                                      const nlohmann::json& merge_patch, std::stop_token stop) = 0;
  // With finalizers left: sets deletionTimestamp. Else removes it and, by owner references, what
  // depends on it.
  virtual Result<void> remove(const ResourceType& type, const ObjectKey& key,
                              Propagation propagation, const Preconditions& preconditions,
                              std::stop_token stop) = 0;
};

}  // namespace vmferry::kube
