#pragma once

#include <deque>
#include <string>

#include "common/clock.h"
#include "coordinator/embedded/rows.h"
#include "coordinator/kube/writer.h"

namespace vmferry::embedded {

// Deletion with finalizers and owner references, done at once in the deleting transaction:
//
//   finalizers left   deletionTimestamp is set, the object stays until the last one is removed
//   background        the object goes, then the dependents that have no other living owner
//   foreground        the object waits for the dependents that name it with blockOwnerDeletion
//   orphan            the dependents lose the reference and stay
//
// Chains and cycles of owners are walked with a queue. Use one collector per transaction.
class Collector {
 public:
  Collector(Connection& connection, WallTime now) : connection_(connection), now_(now) {}

  Result<void> remove(Row row, kube::Propagation propagation);
  // After a write: an object that is being deleted and has no finalizer left goes; so does one all
  // of whose owners are gone.
  Result<void> settle(const Row& row);

 private:
  Result<void> mark_deleting(Row& row, bool foreground);
  Result<void> start(Row row);
  Result<void> start_foreground(Row row);
  Result<void> orphan_dependents(const std::string& uid);
  Result<void> drop_reference(Row row, const std::string& owner_uid);
  Result<void> take(Row row);
  Result<void> work();
  Result<void> collect_dependents(const std::string& gone_uid);
  Result<void> release_owner(const std::string& owner_uid);
  Result<bool> has_living_owner(const kube::Object& object);
  Result<bool> is_blocked(const std::string& uid);

  Connection& connection_;
  WallTime now_;
  std::deque<kube::Object> gone_;  // erased, its dependents and owners not yet looked at
};

}  // namespace vmferry::embedded
