#pragma once

#include <cstdint>
#include <string>

#include "common/fd.h"
#include "common/protocol.h"
#include "common/result.h"

namespace vmferry {

// Which targets an agent takes, and where it looks for them.
struct VolumeRules {
  enum class Mode {
    AnyPath,  // one machine: the path that the coordinator names
    Kubelet,  // on a node: volumes that the kubelet mounted for holder pods, nothing else
    Mover,    // a holder that copies by itself: volumes of its own pod, nothing else
  };
  Mode mode = Mode::AnyPath;
  // Kubelet: its directory, mounted here under the same path with HostToContainer propagation.
  std::string kubelet_root = "/var/lib/kubelet";
  // Mover: where its claims are mounted, and where their devices are.
  std::string mover_root = "/target";
  std::string mover_devices = "/dev/vmferry";
  bool overcommit = false;  // also volumes with less free space than the disk's size
};

// A target as it was found and proven. It is opened once: what was looked at is what is written.
struct FoundVolume {
  UniqueFd fd;       // its directory or device; empty in mode AnyPath
  std::string path;  // for open_sink
  std::string name;  // for texts
  bool block = false;
};

// The layout that the kubelet keeps (pkg/kubelet/kubelet_getters.go, pkg/volume/util), by names
// that the coordinator reads from the API:
//
//   pods/<uid>/volumes/<plugin>/<volume>[/mount]             a mounted file system
//   pods/<uid>/volumeDevices/<plugin>/<volume>               a symbolic link: never followed
//   plugins/<plugin>/volumeDevices/<volume>/<uid>            the device itself, bind-mounted
//   plugins/kubernetes.io/csi/volumeDevices/<volume>/dev/<uid>   the same for CSI
//
// Proof before the first write: reached without any symbolic link; itself the root of a mount that
// is visible here (else mount propagation is missing, and the node's own disk would be filled); not
// a part of the kubelet's directory; a file system that is large enough, or a block device that
// nothing here is mounted from.
//
// Errors: Unavailable with VMF-DST-NOT-MOUNTED, PermissionDenied with VMF-DST-UNSAFE,
// ResourceExhausted with VMF-DST-TOO-SMALL or VMF-DST-FULL, InvalidArgument for a target that
// these rules do not allow.
Result<FoundVolume> find_volume(const protocol::TargetVolume& target, std::uint64_t size_bytes,
                                const VolumeRules& rules);

// InvalidArgument with VMF-DST-UNSAFE when the rules do not allow a target of this form.
Result<void> check_target(const protocol::TargetVolume& target, const VolumeRules& rules);

// After the last write: the disk file belongs to the user that KubeVirt runs a VM as (107:107) and
// has mode 0660, durably. Where the file system lets nobody give files away, it gets that user's
// group: an NFS server that squashes root keeps the agent's other groups, and 107 is one. A text:
// not even that, and whose it is instead ("0:0, mode 0660"), so that the VM can open its disk only
// where the server takes everybody for the file's owner (all_squash). The mode is 0660 all the
// same: others on a shared export are strangers. Nothing to do for devices and in mode AnyPath.
Result<std::string> hand_over(const FoundVolume& volume);

}  // namespace vmferry
