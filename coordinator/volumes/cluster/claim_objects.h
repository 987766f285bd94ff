#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "coordinator/kube/object.h"
#include "coordinator/volumes/volumes.h"

// Claims, classes and volumes as the API shows them: pure.
namespace vmferry::volumes {

// On a claim of ours, so that any coordinator can go on with it.
inline constexpr std::string_view kSchedulingAnnotation = "vmferry.io/scheduling";
inline constexpr std::string_view kPlacedAnnotation = "vmferry.io/placed-by-first-consumer";
inline constexpr std::string_view kDiskBytesAnnotation = "vmferry.io/disk-bytes";
inline constexpr std::string_view kReleasedAnnotation = "vmferry.io/released";

// The class that a claim gets which asks for `name`; empty: the default one (kube/default_class.h);
// NotFound when there is none, or several. NotFound with
// VMF-DST-STORAGE-CLASS lists those that exist.
Result<kube::Object> choose_class(const std::vector<kube::Object>& classes,
                                  const std::string& name);

// Its volumes belong to a place (a node or zone) that the first consumer decides, so that the disks
// of one VM must be placed together.
bool waits_for_first_consumer(const kube::Object& storage_class);
// Its provisioner is known to make hostPath volumes, which have no directory of the kubelet.
bool makes_host_paths(const kube::Object& storage_class);
bool is_host_path(const kube::Object& persistent_volume);

kube::Object claim_object(const ClaimSpec& spec, const kube::Object& storage_class);

bool is_block_claim(const kube::Object& claim);
bool is_bound(const kube::Object& claim);
bool is_owned_by(const kube::Object& object, std::string_view uid);
std::string volume_of(const kube::Object& claim);  // its PersistentVolume; empty: none yet
// ResourceExhausted with VMF-DST-TOO-SMALL when the bound volume is smaller than the disk.
Result<void> check_capacity(const kube::Object& claim);

}  // namespace vmferry::volumes
