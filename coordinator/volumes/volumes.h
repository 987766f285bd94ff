#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "common/protocol.h"
#include "common/result.h"
#include "coordinator/kube/object.h"

namespace vmferry {

enum class VolumeMode { Filesystem, Block };

struct ClaimSpec {
  kube::ObjectKey key;
  std::string storage_class;  // empty: the default class
  std::string access_mode = "ReadWriteOnce";
  VolumeMode volume_mode = VolumeMode::Filesystem;
  std::uint64_t request_bytes = 0;  // with file-system overhead
  std::uint64_t disk_bytes = 0;     // the guest disk's size
  kube::OwnerReference owner;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  // Where the future VM may run: nodeSelector, affinity, tolerations and the like of its pod
  // template; what holds the claim must be able to run there too. Null: anywhere.
  nlohmann::json scheduling;
};

// A claim that an agent can write to; nothing yet: come back later.
struct ReachableVolume {
  protocol::TargetVolume target;
  std::vector<std::string> nodes;  // agents that can reach it; empty: any
};

// Target claims. Calls are bounded and idempotent; none waits.
class Volumes {
 public:
  virtual ~Volumes() = default;
  // Makes the claim unless it exists and is ours (owned by spec.owner.uid). All claims of an
  // import are made before the first is made reachable. Errors: AlreadyExists with
  // VMF-DST-NAME-TAKEN for a foreign one, NotFound with VMF-DST-STORAGE-CLASS, ResourceExhausted
  // with VMF-DST-FULL or VMF-K8S-QUOTA.
  virtual Result<void> ensure_claim(const ClaimSpec& spec, std::stop_token stop) = 0;
  // Makes it reachable for writing (holder, directory). Nothing: not yet; `waiting_for` says what.
  virtual Result<std::optional<ReachableVolume>> make_reachable(const kube::ObjectKey& claim,
                                                                std::string& waiting_for,
                                                                std::stop_token stop) = 0;
  // After the last write: ends the reachability; true when nothing holds it any more.
  virtual Result<bool> release(const kube::ObjectKey& claim, std::stop_token stop) = 0;
  // Removes a claim of ours and its data; success when it is gone or was never there.
  virtual Result<void> remove_claim(const kube::ObjectKey& claim, const std::string& owner_uid,
                                    std::stop_token stop) = 0;
};

}  // namespace vmferry
