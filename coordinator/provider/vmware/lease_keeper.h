#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/provider/vmware/client.h"

namespace vmferry::vmware {

// The export leases that live, and a thread that reports their progress often enough, also when
// nothing moves: an agent whose target is slow, or that waits for its turn, must not lose a lease.
// Thread-safe.
class LeaseKeeper {
 public:
  LeaseKeeper(Client& client, Logger log);

  // Reports for this lease from now on, every `every`. Knows which VM it is for, on whose behalf,
  // and which disks are read by it.
  void keep(const MoRef& lease, const MoRef& vm, const std::string& owner,
            const std::string& disk_id, std::chrono::milliseconds every);
  // The live lease of this VM that was made for `owner`.
  std::optional<MoRef> of(const MoRef& vm, const std::string& owner) const;
  // The live lease that a disk of `owner` is read by.
  std::optional<MoRef> of_disk(const std::string& disk_id, const std::string& owner) const;
  std::vector<MoRef> all() const;
  void set_percent(const MoRef& lease, int percent);
  void forget(const MoRef& lease);

  // How often a lease wants to hear of its progress (source-vmware.md 7.1).
  static std::chrono::milliseconds interval(std::chrono::seconds lease_timeout);

 private:
  struct Kept {
    MoRef vm;
    std::string owner;
    std::set<std::string> disks;
    std::chrono::milliseconds every{};
    int percent = 0;
    SteadyTime next{};
  };
  void run(std::stop_token stop);
  std::optional<std::pair<MoRef, int>> take_due();

  Client& client_;
  const Logger log_;
  const SystemClock clock_;
  Guarded<std::map<MoRef, Kept>> leases_;
  std::jthread thread_;  // last: stops before the rest goes
};

}  // namespace vmferry::vmware
