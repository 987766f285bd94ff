#include "coordinator/provider/vmware/lease_keeper.h"

#include <algorithm>
#include <utility>

#include "coordinator/provider/vmware/export_lease.h"

namespace vmferry::vmware {
namespace {

constexpr std::chrono::milliseconds kLook{200};
constexpr std::chrono::milliseconds kMostOften{10'000};

}  // namespace

LeaseKeeper::LeaseKeeper(Client& client, Logger log)
    : client_(client), log_(std::move(log)), thread_([this](std::stop_token stop) { run(stop); }) {}

std::chrono::milliseconds LeaseKeeper::interval(std::chrono::seconds lease_timeout) {
  const std::chrono::milliseconds fifth = std::chrono::milliseconds(lease_timeout) / 5;
  return std::min(kMostOften, fifth);
}

void LeaseKeeper::keep(const MoRef& lease, const MoRef& vm, const std::string& owner,
                       const std::string& disk_id, std::chrono::milliseconds every) {
  auto leases = leases_.lock();
  const auto [entry, is_new] = leases->try_emplace(lease);
  entry->second.vm = vm;
  entry->second.owner = owner;
  entry->second.disks.insert(disk_id);
  entry->second.every = every;
  const SteadyTime soon = clock_.steady() + every;
  if (is_new || entry->second.next > soon) entry->second.next = soon;
}

std::optional<MoRef> LeaseKeeper::of(const MoRef& vm, const std::string& owner) const {
  for (const auto& [lease, kept] : *leases_.lock()) {
    if (kept.vm == vm && kept.owner == owner) return lease;
  }
  return std::nullopt;
}

std::optional<MoRef> LeaseKeeper::of_disk(const std::string& disk_id,
                                          const std::string& owner) const {
  for (const auto& [lease, kept] : *leases_.lock()) {
    if (kept.owner == owner && kept.disks.contains(disk_id)) return lease;
  }
  return std::nullopt;
}

std::vector<MoRef> LeaseKeeper::all() const {
  std::vector<MoRef> list;
  for (const auto& [lease, kept] : *leases_.lock()) list.push_back(lease);
  return list;
}

void LeaseKeeper::set_percent(const MoRef& lease, int percent) {
  auto leases = leases_.lock();
  const auto kept = leases->find(lease);
  if (kept == leases->end()) return;
  kept->second.percent = std::max(kept->second.percent, std::clamp(percent, 0, 100));
}

void LeaseKeeper::forget(const MoRef& lease) { leases_.lock()->erase(lease); }

std::optional<std::pair<MoRef, int>> LeaseKeeper::take_due() {
  const SteadyTime now = clock_.steady();
  for (auto& [lease, kept] : *leases_.lock()) {
    if (kept.next > now) continue;
    kept.next = now + kept.every;
    return std::pair(lease, kept.percent);
  }
  return std::nullopt;
}

void LeaseKeeper::run(std::stop_token stop) {
  while (clock_.sleep(kLook, stop)) {
    while (const auto due = take_due()) {
      const MoRef& lease = due->first;
      const Result<void> told = client_.in_session(stop, [&](Exchange& exchange) {
        return report_lease_progress(exchange, lease, due->second);
      });
      if (told || told.error().kind() == ErrorKind::Canceled) continue;
      log_.warn("progress of an export lease could not be reported", told.error());
      // A lost stream tells the rest; the disk's opening is made anew by whoever asked for it.
      if (told.error().kind() == ErrorKind::NotFound) forget(lease);
    }
  }
}

}  // namespace vmferry::vmware
