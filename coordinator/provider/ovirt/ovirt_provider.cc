#include "coordinator/provider/ovirt/ovirt_provider.h"

#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/provider/ovirt/listing.h"
#include "coordinator/provider/ovirt/rules.h"
#include "coordinator/provider/ovirt/time_zones.h"
#include "coordinator/provider/ovirt/translate.h"

namespace vmferry {

Result<std::unique_ptr<Provider>> make_ovirt_provider(const ProviderCredentials& credentials,
                                                      const Logger& log) {
  ovirt::ClientOptions options = TRY(ovirt::client_options(credentials));
  return std::unique_ptr<Provider>(std::make_unique<ovirt::OvirtProvider>(std::move(options), log));
}

namespace ovirt {
namespace {

constexpr int kMaxConnections = 4;  // the daemon's max_readers may be less; the agent asks
constexpr std::uint64_t kRequestBytes = 8 * kMiB;

WantedDisk wanted(const SourceDisk& disk) { return {.id = disk.id, .size_bytes = disk.size_bytes}; }

}  // namespace

OvirtProvider::OvirtProvider(ClientOptions options, const Logger& log)
    : client_(std::move(options), log), inventory_(client_), transfers_(client_, clock_, log) {}

Result<void> OvirtProvider::check_connection(std::stop_token stop) {
  const Reply reply = TRY(client_.get("", stop));
  const Element product = reply.body.root().child("product_info");
  if (reply.ok() && product) return {};
  if (reply.status == 403 || reply.status >= 500) return reply.error("reading the API's root");
  return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                     "{} is not an oVirt engine's API: it answers status {}",
                     client_.options().origin + client_.options().base_path, reply.status);
}

Result<SourceVm> OvirtProvider::find_vm(const VmRef& ref, std::stop_token stop) {
  const std::string id = TRY(inventory_.find_id(ref, stop));
  const Vm vm = TRY(inventory_.read(id, stop));
  SourceVm result = translate(vm);
  const WallTime now = clock_.wall();
  result.findings = check_rules(
      vm, {.is_utc_compatible = [now](std::string_view z) { return is_utc_compatible(z, now); }});
  return result;
}

Result<Listing> OvirtProvider::list(ListingKind kind, std::stop_token stop) {
  return list_objects(client_, kind, stop);
}

Result<PowerState> OvirtProvider::power_state(const std::string& native_id, std::stop_token stop) {
  const Vm vm = TRY(inventory_.read_state(native_id, stop));
  return power_state_of(vm.status.value_or(""));
}

Result<Reply> OvirtProvider::act(const std::string& vm_id, const std::string& action,
                                 std::stop_token stop) {
  return client_.post("/vms/" + url_encode(vm_id) + "/" + action, "<action/>", "", stop);
}

Result<void> OvirtProvider::request_stop(const std::string& native_id, bool force,
                                         std::stop_token stop) {
  const Reply reply = TRY(act(native_id, force ? "stop" : "shutdown", stop));
  if (reply.ok()) return {};
  if (reply.status == 409) {  // "VM is not running": it may be down already, or on the way
    const Vm vm = TRY(inventory_.read_state(native_id, stop));
    const std::string status = vm.status.value_or("");
    if (status == "down" || (status == "powering_down" && !force)) return {};
  }
  if (reply.status == 404) {
    return coded_error(ErrorKind::NotFound, code::kVmNotFound, "the engine has no VM with id '{}'",
                       native_id);
  }
  return reply.error(force ? "powering off the VM" : "shutting down the VM");
}

Result<void> OvirtProvider::start(const std::string& native_id, std::stop_token stop) {
  const Reply reply = TRY(act(native_id, "start", stop));
  if (reply.ok()) return {};
  if (reply.status == 409) {
    const Vm vm = TRY(inventory_.read_state(native_id, stop));
    const std::string status = vm.status.value_or("");
    if (status == "up" || status == "powering_up" || status == "wait_for_launch") return {};
    if (status == "image_locked") {
      return coded_error(ErrorKind::Unavailable, code::kDiskLocked, "starting the VM: {}",
                         reply.fault.value_or("its images are locked"));
    }
  }
  if (reply.status == 404) {
    return coded_error(ErrorKind::NotFound, code::kVmNotFound, "the engine has no VM with id '{}'",
                       native_id);
  }
  return reply.error("starting the VM");
}

Result<DiskOpening> OvirtProvider::open_disk(const SourceVm&, const SourceDisk& disk,
                                             const std::string& owner, std::stop_token stop) {
  return DiskOpening{.handle = TRY(transfers_.open(wanted(disk), owner, stop)), .endpoint = {}};
}

Result<DiskOpening> OvirtProvider::poll_disk(const SourceVm& vm, const SourceDisk& disk,
                                             const std::string& handle, std::stop_token stop) {
  const std::optional<ImageTransfer> ready = TRY(transfers_.poll(handle, disk.id, stop));
  DiskOpening opening{.handle = handle, .endpoint = {}};
  if (ready) opening.endpoint = TRY(endpoint_of(*ready, vm, disk, stop));
  if (ready && ready->transfer_url.empty()) {
    opening.why = "through the engine's proxy: the engine names no address of the host";
  }
  return opening;
}

Result<DiskOpening> OvirtProvider::renew(const SourceVm& vm, const SourceDisk& disk,
                                         const std::string& handle, std::stop_token stop) {
  const ImageTransfer transfer = TRY(transfers_.renew(handle, wanted(disk), stop));
  return DiskOpening{.handle = handle, .endpoint = TRY(endpoint_of(transfer, vm, disk, stop))};
}

void OvirtProvider::keep_open(const std::string& handle, std::stop_token stop) {
  transfers_.keep_alive(handle, std::move(stop));
}

Result<bool> OvirtProvider::release_disk(const std::string& handle, const std::string& disk_id,
                                         const std::string& owner, bool, std::stop_token stop) {
  // A download is finalized whether it succeeded or not: nothing was written.
  return transfers_.release(handle, disk_id, owner, stop);
}

void OvirtProvider::close() { client_.logout(); }

// Hosts' certificates are always of the engine's own authority, though the engine's, and so its
// proxy's, may be of another, or of a public one (source-ovirt.md 7).
TlsTrust OvirtProvider::data_plane_trust(std::stop_token stop) {
  TlsTrust trust = client_.options().trust;
  trust.thumbprint.clear();
  const std::optional<std::string> internal = client_.internal_ca(stop);
  if (!internal || trust.ca_pem.find(*internal) != std::string::npos) return trust;
  trust.system_too = trust.ca_pem.empty();
  if (!trust.ca_pem.empty() && trust.ca_pem.back() != '\n') trust.ca_pem += '\n';
  trust.ca_pem += *internal;
  return trust;
}

Result<DiskEndpoint> OvirtProvider::endpoint_of(const ImageTransfer& transfer, const SourceVm& vm,
                                                const SourceDisk& disk, std::stop_token stop) {
  // What an agent connects to is https, or nothing.
  for (const std::string* url : {&transfer.transfer_url, &transfer.proxy_url}) {
    if (url->empty()) continue;
    const Result<UrlParts> parts = parse_url(*url);
    if (parts && parts->scheme == "https") continue;
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "image transfer {}: the engine names a URL that is not https", transfer.id);
  }
  // Read afresh: a machine that ran since the last attempt has another content.
  const Vm now = TRY(inventory_.read_state(vm.native_id, stop));
  const auto detail = disk.details.find(std::string(kDetailImageId));

  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::Imageio;
  const bool only_proxy = transfer.transfer_url.empty();
  endpoint.url = only_proxy ? transfer.proxy_url : transfer.transfer_url;
  endpoint.fallback_url = only_proxy ? std::string() : transfer.proxy_url;
  endpoint.trust = data_plane_trust(stop);
  endpoint.size_bytes = disk.size_bytes;
  endpoint.identity = {
      {"oVirt engine", client_.options().origin},
      {"vm id", vm.native_id},
      {"disk id", disk.id},
      {"image id", detail == disk.details.end() ? std::string() : detail->second},
      {"vm started", now.start_time.value_or("")},
      {"vm stopped", now.stop_time.value_or("")},
  };
  endpoint.max_connections = kMaxConnections;
  endpoint.request_bytes = kRequestBytes;
  return endpoint;
}

}  // namespace ovirt
}  // namespace vmferry
