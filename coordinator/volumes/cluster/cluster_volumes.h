#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/guarded.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"
#include "coordinator/volumes/cluster/holder_pod.h"
#include "coordinator/volumes/volumes.h"

namespace vmferry::volumes {

// Claims of a cluster. A claim is made reachable by a holder pod that mounts it, so that the
// scheduler places it and the kubelet mounts it where an agent of that node finds it; for volumes
// that an agent cannot find, the holder copies by itself (a mover).
//
// One holder for each disk, which spreads the load; but one for all disks of an import as soon as
// any of their classes waits for its first consumer: such volumes belong to a node or zone, and a
// VM whose disks lie in two places never starts.
//
// Fencing: a new holder is made only after the old one has left the API, which the kubelet allows
// when its volumes are unmounted (an agent that still has a volume open keeps it mounted), and
// after the volume is attached nowhere. A holder is never removed by force.
//
// All that is remembered is in annotations of the claims: any coordinator can go on.
class ClusterVolumes final : public Volumes {
 public:
  enum class MoverUse {
    WhereNeeded,   // hostPath volumes: they have no directory of the kubelet
    BlockDevices,  // and block devices: agents without the right to open the node's devices
    Always,        // nothing on the nodes may be mounted into agents
  };
  struct Settings {
    HolderSettings holder;
    MoverUse mover_use = MoverUse::WhereNeeded;
  };

  // `reader` may be a moment behind, and is asked again and again while something is waited for;
  // `server` knows what is, and is asked before anything is done that must not be done too early.
  ClusterVolumes(kube::Reader& reader, kube::Reader& server, kube::Writer& writer,
                 Settings settings, const Clock& clock)
      : reader_(reader),
        server_(server),
        writer_(writer),
        settings_(std::move(settings)),
        clock_(clock) {}

  Result<void> ensure_claim(const ClaimSpec& spec, std::stop_token stop) override;
  // DataLoss ends the disk: the claim is lost or being removed. What a person can mend is waited
  // for (quota, refused pod, no node, image), or an error that is_mendable(): VMF-DST-TOO-SMALL,
  // VMF-DST-NAME-TAKEN.
  Result<std::optional<ReachableVolume>> make_reachable(const kube::ObjectKey& claim,
                                                        std::string& waiting_for,
                                                        std::stop_token stop) override;
  Result<bool> release(const kube::ObjectKey& claim, std::stop_token stop) override;
  // The DataVolume that has adopted the claim goes with it.
  Result<void> remove_claim(const kube::ObjectKey& claim, const std::string& owner_uid,
                            std::stop_token stop) override;

 private:
  // The claims that share a holder with one of them, and that holder's name.
  struct Group {
    std::vector<kube::Object> claims;
    kube::ObjectKey holder;
    bool shared = false;
  };
  Result<Group> group_of(const kube::Object& claim, std::stop_token stop);
  Result<bool> needs_mover(const Group& group, std::stop_token stop);
  Result<void> make_holder(const Group& group, std::string& waiting_for, std::stop_token stop);
  Result<void> remove_holder(const kube::Object& pod, std::stop_token stop);
  Result<std::optional<ReachableVolume>> reach(const kube::Object& claim, const kube::Object& pod,
                                               const HolderState& state, std::string& waiting_for,
                                               std::stop_token stop);
  // A volume of these claims that is still attached to a node, for people; empty: none is.
  Result<std::string> still_attached(const std::vector<kube::Object>& claims, std::stop_token stop);
  // Of a claim that is bound; nothing: its volume is not there (yet).
  Result<std::optional<bool>> has_host_path(const kube::Object& claim, std::stop_token stop);
  Result<void> mark_released(const kube::Object& claim, bool released, std::stop_token stop);

  kube::Reader& reader_;
  kube::Reader& server_;
  kube::Writer& writer_;
  const Settings settings_;
  const Clock& clock_;
  // When a refused holder may be tried again, and what was said.
  struct Refusal {
    SteadyTime again;
    std::string text;
  };
  Guarded<std::map<kube::ObjectKey, Refusal>> refused_;
  Guarded<std::map<std::string, bool>> host_paths_;  // by the claim's uid: a volume never changes
};

}  // namespace vmferry::volumes
