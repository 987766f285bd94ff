#pragma once

#include "coordinator/provider/ovirt/client.h"
#include "coordinator/provider/ovirt/image_transfer.h"
#include "coordinator/provider/ovirt/inventory.h"
#include "coordinator/provider/provider.h"

namespace vmferry::ovirt {

// oVirt and RHV (source-ovirt.md). Thread-safe.
class OvirtProvider final : public Provider {
 public:
  OvirtProvider(ClientOptions options, const Logger& log);

  ProviderKind kind() const override { return ProviderKind::Ovirt; }
  Result<void> check_connection(std::stop_token stop) override;
  Result<SourceVm> find_vm(const VmRef& ref, std::stop_token stop) override;
  Result<Listing> list(ListingKind kind, std::stop_token stop) override;

  Result<PowerState> power_state(const std::string& native_id, std::stop_token stop) override;
  Result<void> request_stop(const std::string& native_id, bool force,
                            std::stop_token stop) override;
  Result<void> start(const std::string& native_id, std::stop_token stop) override;

  Result<DiskOpening> open_disk(const SourceVm& vm, const SourceDisk& disk,
                                const std::string& owner, std::stop_token stop) override;
  Result<DiskOpening> poll_disk(const SourceVm& vm, const SourceDisk& disk,
                                const std::string& handle, std::stop_token stop) override;
  Result<DiskOpening> renew(const SourceVm& vm, const SourceDisk& disk, const std::string& handle,
                            std::stop_token stop) override;
  void keep_open(const std::string& handle, std::stop_token stop) override;
  Result<bool> release_disk(const std::string& handle, const std::string& disk_id,
                            const std::string& owner, bool success, std::stop_token stop) override;
  void close() override;

 private:
  Result<Reply> act(const std::string& vm_id, const std::string& action, std::stop_token stop);
  Result<DiskEndpoint> endpoint_of(const ImageTransfer& transfer, const SourceVm& vm,
                                   const SourceDisk& disk, std::stop_token stop);
  TlsTrust data_plane_trust(std::stop_token stop);

  const SystemClock clock_;
  Client client_;
  Inventory inventory_;
  ImageTransfers transfers_;
};

}  // namespace vmferry::ovirt
