#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "common/catalogue.h"
#include "coordinator/provider/provider.h"
#include "coordinator/provider/vmware/client.h"
#include "coordinator/provider/vmware/disk_opener.h"
#include "coordinator/provider/vmware/inventory.h"
#include "coordinator/provider/vmware/listing.h"
#include "coordinator/provider/vmware/power.h"
#include "coordinator/provider/vmware/rules.h"
#include "coordinator/provider/vmware/translate.h"
#include "coordinator/rules/findings.h"

namespace vmferry {
namespace vmware {
namespace {

MoRef vm_ref(const std::string& native_id) { return {"VirtualMachine", native_id}; }

// A vCenter or a single ESXi host. An opening has a handle only where it is an export lease: the
// other ways make nothing on the source, and leave nothing to release.
class VmwareProvider final : public Provider {
 public:
  VmwareProvider(ClientOptions options, const Logger& log)
      : client_(options, log), opener_(client_, options.origin, log) {}

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
      vm.findings = find_problems(
          model, {.vddk = ref.vddk, .may_cut_power = ref.may_cut_power, .ways = ref.ways});
      TRY(check_flat_files(exchange, ref, model, vm));
      if (ref.warm) {
        for (Finding& finding : find_warm_problems(model)) {
          vm.findings.push_back(std::move(finding));
        }
      }
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

  Result<WayChoice> choose_way(const SourceVm& vm, const SourceDisk& disk, bool vddk,
                               std::stop_token stop) override {
    return named(vm, disk, opener_.choose(vm, disk, vddk, std::move(stop)));
  }

  Result<DiskOpening> open_disk(const SourceVm& vm, const SourceDisk& disk,
                                const std::string& owner, std::stop_token stop) override {
    return named(vm, disk, opener_.open(vm, disk, owner, std::move(stop)));
  }

  Result<DiskOpening> poll_disk(const SourceVm& vm, const SourceDisk& disk,
                                const std::string& handle, std::stop_token stop) override {
    return named(vm, disk, opener_.poll(vm, disk, handle, std::move(stop)));
  }

  // Asks the server with our cookie: when it has dropped the session, that logs in again, and the
  // endpoint holds the new cookie.
  Result<DiskOpening> renew(const SourceVm& vm, const SourceDisk& disk, const std::string& handle,
                            std::stop_token stop) override {
    DiskOpening opening = TRY(poll_disk(vm, disk, handle, std::move(stop)));
    if (opening.endpoint) return opening;
    return coded_error(ErrorKind::Unavailable, code::kSourceRead,
                       "the source has not opened disk '{}' yet", disk.name);
  }

  void report_progress(const std::string& handle, int percent) override {
    opener_.report_progress(handle, percent);
  }

  Result<std::vector<std::pair<std::string, std::string>>> disk_identity(
      const SourceVm& vm, const SourceDisk& disk, std::stop_token stop) override {
    return named(vm, disk, opener_.identity(vm, disk, std::move(stop)));
  }

  Result<bool> release_disk(const std::string& handle, const std::string& disk_id,
                            const std::string& owner, bool success, std::stop_token stop) override {
    TRY(opener_.release(handle, disk_id, owner, success, std::move(stop)));
    return true;
  }

  void close() override {
    opener_.close();
    client_.logout();
  }

  void log_out() override { client_.logout(); }

 private:
  // The disks that are to be read as flat files and no otherwise, and by their backing are some:
  // the descriptor knows better.
  Result<void> check_flat_files(Exchange& exchange, const VmRef& ref, const VmModel& model,
                                SourceVm& vm) {
    for (const SourceDisk& disk : vm.disks) {
      if (way_of(ref.ways, disk.id, disk.name) != DiskWay::FlatFile) continue;
      const auto device = std::ranges::find_if(model.devices, [&disk](const Device& d) {
        return is_disk(d) && std::to_string(d.key) == disk.attachment_id;
      });
      if (device == model.devices.end()) continue;
      if (choose_access(*device, false).path != AccessPath::FlatFile) continue;  // is told already
      const auto why = TRY(opener_.why_not_flat(exchange, vm, disk, *device));
      if (!why) continue;
      vm.findings.push_back(rules::finding("vmware.disk.backing/asked", "disk '" + disk.name + "'",
                                           to_string(DiskWay::FlatFile), *why,
                                           "leave the choice of the way to the import"));
    }
    return {};
  }

  template <typename T>
  static Result<T> named(const SourceVm& vm, const SourceDisk& disk, Result<T> result) {
    if (result) return result;
    return std::move(result).error().with_context("disk '" + disk.name + "' of VM '" + vm.name +
                                                  "'");
  }

  Client client_;
  DiskOpener opener_;
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
