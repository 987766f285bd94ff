#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"
#include "coordinator/volumes/volumes.h"

namespace vmferry::volumes {

// Claims of the embedded mode. A StorageClass with provisioner `vmferry.io/directory` is a
// directory (parameters.path, absolute or below `home`; claims are directories with a disk.img) or
// a list of block devices (parameters.devices, separated by commas; a claim takes the smallest free
// one that fits). A claim is a PersistentVolumeClaim object, Bound at once, whose annotation
// vmferry.io/path says where it is. parameters.overcommit "true" leaves out the check for free
// space.
//
// Order of writes: the object before its directory, the data before the object goes. So a crash
// leaves an object whose directory the next ensure_claim makes, or whose removal is repeated.
class DirectoryVolumes final : public Volumes {
 public:
  // Bytes of a block device; replaced in tests.
  using DeviceSize = std::function<Result<std::uint64_t>(const std::string& path)>;

  DirectoryVolumes(kube::Reader& reader, kube::Writer& writer, std::string home);
  DirectoryVolumes(kube::Reader& reader, kube::Writer& writer, std::string home,
                   DeviceSize device_size);

  Result<void> ensure_claim(const ClaimSpec& spec, std::stop_token stop) override;
  Result<std::optional<ReachableVolume>> make_reachable(const kube::ObjectKey& claim,
                                                        std::string& waiting_for,
                                                        std::stop_token stop) override;
  Result<bool> release(const kube::ObjectKey& claim, std::stop_token stop) override;
  Result<void> remove_claim(const kube::ObjectKey& claim, const std::string& owner_uid,
                            std::stop_token stop) override;

  // Removes the data of claims that were deleted (by hand, or collected with their owner), and lets
  // their objects go. The number removed. Call now and then.
  Result<int> sweep(std::stop_token stop);

 private:
  Result<kube::Object> find_class(const std::string& name, std::stop_token stop);
  Result<std::string> class_path(const kube::Object& storage_class) const;
  Result<std::string> place(const kube::Object& storage_class, const ClaimSpec& spec,
                            std::stop_token stop);
  Result<std::string> free_device(const kube::Object& storage_class, const ClaimSpec& spec,
                                  std::stop_token stop);
  Result<void> finish(const kube::Object& claim, std::stop_token stop);
  Result<void> remove_data(const kube::Object& claim, std::stop_token stop);

  kube::Reader& reader_;
  kube::Writer& writer_;
  std::string home_;
  DeviceSize device_size_;
  std::mutex choosing_;  // a device is chosen and recorded by one caller at a time
};

}  // namespace vmferry::volumes
