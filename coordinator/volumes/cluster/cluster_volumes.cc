#include "coordinator/volumes/cluster/cluster_volumes.h"

#include "common/catalogue.h"
#include "coordinator/volumes/cluster/claim_objects.h"
#include "coordinator/volumes/cluster/refusals.h"

// Claims: made, and removed. What makes them reachable: holders.cc.
namespace vmferry::volumes {
namespace {

using kube::types::kDataVolume;
using kube::types::kPersistentVolumeClaim;
using kube::types::kStorageClass;

Error taken(const kube::ResourceType& type, const kube::ObjectKey& key) {
  return coded_error(ErrorKind::AlreadyExists, code::kNameTaken,
                     "{} '{}' exists and belongs to somebody else", type.kind, key.to_string());
}

// Ours, and fit to be used.
Result<void> check_existing(const kube::Object& claim, const ClaimSpec& spec) {
  if (!is_owned_by(claim, spec.owner.uid)) return taken(kPersistentVolumeClaim, spec.key);
  if (claim.deleting()) {
    return make_error(ErrorKind::Aborted, "claim '{}' is being removed", spec.key.to_string());
  }
  return {};
}

}  // namespace

Result<void> ClusterVolumes::ensure_claim(const ClaimSpec& spec, std::stop_token stop) {
  if (const auto existing =
          TRY(kube::get_if_exists(reader_, kPersistentVolumeClaim, spec.key, stop))) {
    return check_existing(*existing, spec);
  }
  // A DataVolume of the name would make a claim of its own at any time.
  const auto data_volume = TRY(kube::get_if_exists(reader_, kDataVolume, spec.key, stop));
  if (data_volume && !data_volume->controlled_by(spec.owner.uid)) {
    return taken(kDataVolume, spec.key);
  }
  const kube::ObjectList classes = TRY(reader_.list(kStorageClass, {}, stop));
  const kube::Object storage_class = TRY(choose_class(classes.items, spec.storage_class));
  const auto made =
      writer_.create(kPersistentVolumeClaim, claim_object(spec, storage_class), {}, stop);
  if (made) return {};
  if (made.error().kind() == ErrorKind::AlreadyExists) {
    // Somebody was faster, perhaps we ourselves, and the reader is behind.
    const auto there = TRY(kube::get_if_exists(reader_, kPersistentVolumeClaim, spec.key, stop));
    if (there) return check_existing(*there, spec);
    return make_error(ErrorKind::Aborted, "claim '{}' has just been made", spec.key.to_string());
  }
  return explained(made.error(), code::kStorageClass);
}

Result<void> ClusterVolumes::remove_claim(const kube::ObjectKey& claim,
                                          const std::string& owner_uid, std::stop_token stop) {
  const auto remove = [&](const kube::ResourceType& type,
                          const kube::Object& object) -> Result<void> {
    if (object.deleting()) return {};
    auto removed = writer_.remove(type, claim, kube::Propagation::Background,
                                  {.uid = object.uid(), .resource_version = ""}, stop);
    // Aborted: another object of that name by now, so ours is gone.
    if (!removed && removed.error().kind() != ErrorKind::NotFound &&
        removed.error().kind() != ErrorKind::Aborted) {
      return std::move(removed).error();
    }
    return {};
  };
  const auto data_volume = TRY(kube::get_if_exists(reader_, kDataVolume, claim, stop));
  const bool own_volume = data_volume && data_volume->controlled_by(owner_uid);
  if (own_volume) TRY(remove(kDataVolume, *data_volume));
  const auto object = TRY(kube::get_if_exists(reader_, kPersistentVolumeClaim, claim, stop));
  if (!object) return {};
  if (is_owned_by(*object, owner_uid) || (own_volume && is_owned_by(*object, data_volume->uid()))) {
    TRY(remove(kPersistentVolumeClaim, *object));
  }
  return {};
}

}  // namespace vmferry::volumes
