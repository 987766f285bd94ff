#include "coordinator/embedded/collector.h"

namespace vmferry::embedded {
namespace {

constexpr const char* kForeground = "foregroundDeletion";

void drop_finalizer(kube::Object& object, const std::string& name) {
  nlohmann::json left = nlohmann::json::array();
  for (const std::string& finalizer : object.finalizers()) {
    if (finalizer != name) left.push_back(finalizer);
  }
  nlohmann::json& metadata = object.json()["metadata"];
  if (left.empty()) {
    metadata.erase("finalizers");
  } else {
    metadata["finalizers"] = std::move(left);
  }
}

void drop_owner(kube::Object& object, const std::string& uid) {
  nlohmann::json& metadata = object.json()["metadata"];
  nlohmann::json left = nlohmann::json::array();
  for (nlohmann::json& owner : metadata["ownerReferences"]) {
    if (owner.value("uid", "") != uid) left.push_back(std::move(owner));
  }
  if (left.empty()) {
    metadata.erase("ownerReferences");
  } else {
    metadata["ownerReferences"] = std::move(left);
  }
}

// Waits for its dependents: it does not keep them alive.
bool in_foreground_deletion(const kube::Object& object) {
  return object.deleting() && object.has_finalizer(kForeground);
}

}  // namespace

Result<void> Collector::remove(Row row, kube::Propagation propagation) {
  if (propagation == kube::Propagation::Orphan) {
    TRY(orphan_dependents(row.object.uid()));
  }
  if (propagation == kube::Propagation::Foreground) {
    TRY(start_foreground(std::move(row)));
  } else {
    TRY(start(std::move(row)));
  }
  return work();
}

Result<void> Collector::settle(const Row& row) {
  if (row.object.deleting()) {
    if (!row.object.finalizers().empty()) return {};
    TRY(take(row));
    return work();
  }
  if (row.object.owners().empty() || TRY(has_living_owner(row.object))) return {};
  TRY(start(row));
  return work();
}

Result<void> Collector::mark_deleting(Row& row, bool foreground) {
  const kube::Object before = row.object;
  nlohmann::json& metadata = row.object.json()["metadata"];
  if (!before.deleting()) {
    metadata["deletionTimestamp"] = to_rfc3339(now_);
    metadata["deletionGracePeriodSeconds"] = 0;
  }
  if (foreground && !before.has_finalizer(kForeground)) {
    metadata["finalizers"].push_back(kForeground);
  }
  if (row.object == before) return {};
  return update(connection_, before, row);
}

Result<void> Collector::start(Row row) {
  if (row.object.finalizers().empty()) return take(std::move(row));
  return mark_deleting(row, /*foreground=*/false);
}

Result<void> Collector::start_foreground(Row row) {
  std::deque<Row> queue{std::move(row)};
  std::vector<std::string> waiting;
  while (!queue.empty()) {
    Row next = std::move(queue.front());
    queue.pop_front();
    // Once each: owners may form a cycle.
    if (in_foreground_deletion(next.object)) continue;
    TRY(mark_deleting(next, /*foreground=*/true));
    waiting.push_back(next.object.uid());
    std::vector<Row> dependents = TRY(load_dependents(connection_, next.object.uid()));
    for (Row& dependent : dependents) {
      if (TRY(has_living_owner(dependent.object))) {
        TRY(drop_reference(std::move(dependent), next.object.uid()));
      } else {
        queue.push_back(std::move(dependent));
      }
    }
  }
  // From the leaves on; whoever becomes free frees its owners in work().
  for (auto uid = waiting.rbegin(); uid != waiting.rend(); ++uid) {
    TRY(release_owner(*uid));
  }
  return {};
}

Result<void> Collector::orphan_dependents(const std::string& uid) {
  std::vector<Row> dependents = TRY(load_dependents(connection_, uid));
  for (Row& dependent : dependents) {
    TRY(drop_reference(std::move(dependent), uid));
  }
  return {};
}

Result<void> Collector::drop_reference(Row row, const std::string& owner_uid) {
  const kube::Object before = row.object;
  drop_owner(row.object, owner_uid);
  return update(connection_, before, row);
}

Result<void> Collector::take(Row row) {
  TRY(erase(connection_, row));
  gone_.push_back(std::move(row.object));
  return {};
}

Result<void> Collector::work() {
  while (!gone_.empty()) {
    const kube::Object object = std::move(gone_.front());
    gone_.pop_front();
    TRY(collect_dependents(object.uid()));
    for (const kube::OwnerReference& owner : object.owners()) TRY(release_owner(owner.uid));
  }
  return {};
}

Result<void> Collector::collect_dependents(const std::string& gone_uid) {
  std::vector<Row> dependents = TRY(load_dependents(connection_, gone_uid));
  for (Row& dependent : dependents) {
    // Erased meanwhile, or on its way: nothing more to say to it.
    if (dependent.object.deleting() || !TRY(exists(connection_, dependent.object.uid()))) continue;
    if (!TRY(has_living_owner(dependent.object))) {
      TRY(start(std::move(dependent)));
      continue;
    }
    TRY(drop_reference(std::move(dependent), gone_uid));
  }
  return {};
}

// Lets an owner go that waits in the foreground and is not blocked any more.
Result<void> Collector::release_owner(const std::string& owner_uid) {
  std::optional<Row> owner = TRY(load_by_uid(connection_, owner_uid));
  if (!owner || !in_foreground_deletion(owner->object)) return {};
  if (TRY(is_blocked(owner_uid))) return {};
  const kube::Object before = owner->object;
  drop_finalizer(owner->object, kForeground);
  if (owner->object.finalizers().empty()) return take(*std::move(owner));
  return update(connection_, before, *owner);
}

Result<bool> Collector::has_living_owner(const kube::Object& object) {
  for (const kube::OwnerReference& owner : object.owners()) {
    const std::optional<Row> found = TRY(load_by_uid(connection_, owner.uid));
    if (!found || in_foreground_deletion(found->object)) continue;
    // An owner in another namespace counts as absent, as the API's collector has it.
    const std::string ns = found->object.ns();
    if (ns.empty() || ns == object.ns()) return true;
  }
  return false;
}

Result<bool> Collector::is_blocked(const std::string& uid) {
  const std::vector<Row> dependents = TRY(load_dependents(connection_, uid));
  for (const Row& dependent : dependents) {
    for (const kube::OwnerReference& owner : dependent.object.owners()) {
      if (owner.uid == uid && owner.block_owner_deletion) return true;
    }
  }
  return false;
}

}  // namespace vmferry::embedded
