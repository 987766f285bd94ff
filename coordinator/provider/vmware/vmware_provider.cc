#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "common/catalogue.h"
#include "coordinator/provider/provider.h"
#include "coordinator/provider/vmware/client.h"
#include "coordinator/provider/vmware/datastore_files.h"
#include "coordinator/provider/vmware/disk_access.h"
#include "coordinator/provider/vmware/inventory.h"
#include "coordinator/provider/vmware/listing.h"
#include "coordinator/provider/vmware/power.h"
#include "coordinator/provider/vmware/rules.h"
#include "coordinator/provider/vmware/translate.h"

namespace vmferry {
namespace vmware {
namespace {

MoRef vm_ref(const std::string& native_id) { return {"VirtualMachine", native_id}; }

// A vCenter or a single ESXi host. Reading a disk makes nothing on the source, so openings have no
// handle and nothing is left to release.
class VmwareProvider final : public Provider {
 public:
  VmwareProvider(ClientOptions options, const Logger& log)
      : client_(options, log), files_(options.origin) {}

  ProviderKind kind() const override { return ProviderKind::Vmware; }

  Result<void> check_connection(std::stop_token stop) override {
    return client_.in_session(stop, [](Exchange& exchange) -> Result<void> {
      // A session of earlier says nothing about the server of now.
      TRY(exchange.must_call(method_call("CurrentTime", {"ServiceInstance", "ServiceInstance"})));
      return {};
    });
  }

  Result<SourceVm> find_vm(const VmRef& ref, std::stop_token stop) override {
    return client_.in_session(stop, [&](Exchange& exchange) -> Result<SourceVm> {
      const MoRef found = TRY(find_vm_ref(exchange, ref));
      const VmModel model = TRY(load_vm(exchange, found));
      const Surroundings around = TRY(load_surroundings(exchange, model));
      SourceVm vm = translate(model, around);
      vm.findings = find_problems(model);
      if (ref.warm) std::ranges::move(find_warm_problems(model), std::back_inserter(vm.findings));
      mark_untransferable(model, vm);
      const bool pinned = !client_.options().trust.thumbprint.empty();
      for (Finding& finding : find_connection_problems(pinned)) {
        vm.findings.push_back(std::move(finding));
      }
      vm.details.emplace_back("server", exchange.content().product);
      return vm;
    });
  }

  Result<Listing> list(ListingKind kind, std::stop_token stop) override {
    return client_.in_session(
        stop, [kind](Exchange& exchange) { return list_inventory(exchange, kind); });
  }

  Result<PowerState> power_state(const std::string& native_id, std::stop_token stop) override {
    return client_.in_session(
        stop, [&](Exchange& exchange) { return read_power(exchange, vm_ref(native_id)); });
  }

  Result<void> request_stop(const std::string& native_id, bool force,
                            std::stop_token stop) override {
    return client_.in_session(
        stop, [&](Exchange& exchange) { return stop_vm(exchange, vm_ref(native_id), force); });
  }

  Result<void> start(const std::string& native_id, std::stop_token stop) override {
    return client_.in_session(
        stop, [&](Exchange& exchange) { return start_vm(exchange, vm_ref(native_id)); });
  }

  Result<DiskOpening> open_disk(const SourceVm& vm, const SourceDisk& disk, const std::string&,
                                std::stop_token stop) override {
    return DiskOpening{"", TRY(endpoint_of(vm, disk, stop))};
  }

  Result<DiskOpening> poll_disk(const SourceVm& vm, const SourceDisk& disk, const std::string&,
                                std::stop_token stop) override {
    return DiskOpening{"", TRY(endpoint_of(vm, disk, stop))};
  }

  // Asks the datastore with our cookie: when the server has dropped the session, that logs in
  // again, and the endpoint holds the new cookie.
  Result<DiskEndpoint> renew(const SourceVm& vm, const SourceDisk& disk, const std::string&,
                             std::stop_token stop) override {
    return endpoint_of(vm, disk, stop);
  }

  Result<bool> release_disk(const std::string&, const std::string&, const std::string&, bool,
                            std::stop_token) override {
    return true;
  }

  void close() override { client_.logout(); }

 private:
  Result<DiskEndpoint> endpoint_of(const SourceVm& vm, const SourceDisk& disk,
                                   std::stop_token stop) {
    Result<DiskEndpoint> endpoint =
        client_.in_session(stop, [&](Exchange& exchange) { return open_flat(exchange, vm, disk); });
    if (endpoint) return endpoint;
    return std::move(endpoint).error().with_context("disk '" + disk.name + "' of VM '" + vm.name +
                                                    "'");
  }

  Result<DiskEndpoint> open_flat(Exchange& exchange, const SourceVm& vm, const SourceDisk& disk) {
    // The VM may have changed since it was read for the import: look again at what matters.
    const VmModel now =
        read_vm(TRY(retrieve_one(exchange, vm_ref(vm.native_id),
                                 {"name", "config.instanceUuid", "config.changeVersion",
                                  "config.hardware.device", "runtime.powerState"})));
    if (now.power_state != "poweredOff") {
      return coded_error(ErrorKind::Aborted, code::kVmState,
                         "the VM is {}, not poweredOff; its disks change while it runs: shut it "
                         "down",
                         now.power_state);
    }
    const auto device = std::ranges::find_if(now.devices, [&disk](const Device& d) {
      return is_disk(d) && std::to_string(d.key) == disk.attachment_id;
    });
    if (device == now.devices.end()) {
      return coded_error(ErrorKind::NotFound, code::kDiskMissing,
                         "the VM has no disk with key {} any more; check its disks in the vSphere "
                         "client",
                         disk.attachment_id);
    }
    const AccessChoice access = choose_access(*device, false);
    if (access.path != AccessPath::FlatFile) {
      return coded_error(ErrorKind::InvalidArgument, code::kDiskUnsupported, "{}; {}",
                         access.reason, access.remedy);
    }
    if (device->capacity_bytes != disk.size_bytes || device->backing.file != disk.file) {
      return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                         "it is now file '{}' of {} bytes, it was '{}' of {} bytes",
                         device->backing.file, device->capacity_bytes, disk.file, disk.size_bytes);
    }
    std::string datacenter;
    const auto known = disk.details.find(std::string(kDetailDatacenter));
    if (known != disk.details.end()) datacenter = known->second;
    if (datacenter.empty()) {
      datacenter = datacenter_path(TRY(ancestors(exchange, vm_ref(vm.native_id))));
    }
    const FlatFile file = TRY(files_.locate(exchange, *device, datacenter));
    return make_endpoint(client_.options(), exchange.session(), now, *device, file);
  }

  Client client_;
  DatastoreFiles files_;
};

}  // namespace
}  // namespace vmware

Result<std::unique_ptr<Provider>> make_vmware_provider(const ProviderCredentials& credentials,
                                                       const Logger& log) {
  vmware::ClientOptions options = TRY(vmware::client_options(credentials));
  return std::unique_ptr<Provider>(
      std::make_unique<vmware::VmwareProvider>(std::move(options), log));
}

}  // namespace vmferry
