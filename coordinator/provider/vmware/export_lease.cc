#include "coordinator/provider/vmware/export_lease.h"

#include <algorithm>
#include <utility>

#include "common/catalogue.h"
#include "coordinator/provider/vmware/disk_access.h"
#include "coordinator/provider/vmware/translate.h"

namespace vmferry::vmware {
namespace {

constexpr std::int64_t kUsualTimeout = 300;  // seconds, where the server does not say

// "ParaVirtualSCSIController0:3", the last part of a deviceUrl's key.
std::optional<std::string> place_of(const VmModel& vm, const Device& disk) {
  const Device* controller = controller_of(vm, disk);
  if (controller == nullptr || !disk.unit_number) return std::nullopt;
  return fmt::format("{}{}:{}", controller->type, controller->bus_number, *disk.unit_number);
}

// "https://*/nfc/..." means the server that was asked, behind whatever port it was reached.
std::string with_server(std::string url, const ClientOptions& account) {
  constexpr std::string_view kAnyHost = "https://*";
  if (!url.starts_with(kAnyHost)) return url;
  const std::string rest = url.substr(kAnyHost.size());
  if (!rest.starts_with(':')) return account.origin + rest;
  const UrlParts server{
      .scheme = "https", .host = account.host, .path_and_query = {}, .user = {}, .password = {}};
  return server.origin() + rest;
}

bool is_own_server(const UrlParts& url, const ClientOptions& account) {
  constexpr int kHttps = 443;
  return url.host == account.host && (url.port == 0 ? kHttps : url.port) == account.port;
}

Error lease_gone(const MoRef& lease, std::string_view why) {
  return coded_error(ErrorKind::NotFound, code::kSourceRead, "export lease '{}' is gone{}{}",
                     lease.value, why.empty() ? "" : ": ", why);
}

}  // namespace

LeaseInfo lease_info(const ObjectProperties& properties) {
  LeaseInfo lease;
  const std::string state = properties.text("state");
  if (state == "ready") lease.state = LeaseInfo::State::Ready;
  if (state == "done" || state == "error") lease.state = LeaseInfo::State::Ended;
  const pugi::xml_node error = properties.value("error");
  lease.error = child_text(error, "localizedMessage");
  if (lease.error.empty()) lease.error = xsi_type(child(error, "fault"));
  if (lease.error.empty() && lease.state == LeaseInfo::State::Ended) lease.error = state;
  const pugi::xml_node info = properties.value("info");
  const std::int64_t timeout = integer_of(child(info, "leaseTimeout")).value_or(kUsualTimeout);
  lease.timeout = std::chrono::seconds(std::clamp<std::int64_t>(timeout, 1, 24 * 3600));
  for (const pugi::xml_node node : children(info, "deviceUrl")) {
    LeaseUrl url;
    url.key = child_text(node, "key");
    url.url = child_text(node, "url");
    url.thumbprint = child_text(node, "sslThumbprint");
    url.disk = boolean_of(child(node, "disk")).value_or(false);
    lease.urls.push_back(std::move(url));
  }
  return lease;
}

Result<MoRef> export_vm(Exchange& exchange, const MoRef& vm) {
  const SoapReply reply = TRY(exchange.call(method_call("ExportVm", vm)));
  if (!reply.fault()) {
    MoRef lease = moref_of(reply.returnval());
    if (!lease.empty()) return lease;
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "ExportVm on VM '{}' answered without a lease", vm.value);
  }
  const SoapFault& fault = *reply.fault();
  const bool busy = fault.type == "TaskInProgress" || fault.type == "InvalidState" ||
                    fault.type == "ConcurrentAccess" || fault.type == "ResourceInUse";
  if (busy) {
    return coded_error(
        ErrorKind::Unavailable, code::kDiskLocked,
        "VM '{}' cannot be exported now: something else works on it, perhaps another "
        "export ({}{}{})",
        vm.value, fault.type, fault.message.empty() ? "" : ": ", fault.message);
  }
  return fault_error(fault, "ExportVm", "VM '" + vm.value + "'");
}

Result<LeaseInfo> read_lease(Exchange& exchange, const MoRef& lease) {
  Result<ObjectProperties> read = retrieve_one(exchange, lease, {"state", "error", "info"});
  if (!read && read.error().kind() == ErrorKind::NotFound) return lease_gone(lease, "");
  if (!read) return std::move(read).error();
  return lease_info(*read);
}

Result<void> report_lease_progress(Exchange& exchange, const MoRef& lease, int percent) {
  Node call = method_call("HttpNfcLeaseProgress", lease);
  call.add(leaf("percent", std::to_string(std::clamp(percent, 0, 100))));
  const SoapReply reply = TRY(exchange.call(call));
  if (!reply.fault()) return {};
  const std::string& type = reply.fault()->type;
  if (type == "ManagedObjectNotFound" || type == "Timedout" || type == "InvalidState") {
    return lease_gone(lease, type);
  }
  return fault_error(*reply.fault(), "HttpNfcLeaseProgress", "lease '" + lease.value + "'");
}

Result<void> end_lease(Exchange& exchange, const MoRef& lease, bool success) {
  const std::string method = success ? "HttpNfcLeaseComplete" : "HttpNfcLeaseAbort";
  const SoapReply reply = TRY(exchange.call(method_call(method, lease)));
  if (!reply.fault()) return {};
  const std::string& type = reply.fault()->type;
  if (type == "ManagedObjectNotFound" || type == "Timedout" || type == "InvalidState") return {};
  return fault_error(*reply.fault(), method, "lease '" + lease.value + "'");
}

std::optional<LeaseUrl> url_of_disk(const LeaseInfo& lease, const VmModel& vm, const Device& disk) {
  const std::optional<std::string> place = place_of(vm, disk);
  if (!place) return std::nullopt;
  std::optional<LeaseUrl> found;
  for (const LeaseUrl& url : lease.urls) {
    if (!url.disk || url.key.substr(url.key.rfind('/') + 1) != *place) continue;
    if (found) return std::nullopt;
    found = url;
  }
  return found;
}

Result<DiskEndpoint> lease_endpoint(const ClientOptions& account, const Session& session,
                                    const VmModel& vm, const Device& disk, const LeaseUrl& url) {
  DiskEndpoint endpoint = make_plain_endpoint(account, session, vm, disk);
  endpoint.kind = SourceKind::VmdkStream;
  endpoint.url = with_server(url.url, account);
  const Result<UrlParts> parts = parse_url(endpoint.url);
  if (!parts || parts->scheme != "https" || parts->host.empty()) {
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "the export lease names no https URL for the disk");
  }
  const bool own_server = is_own_server(*parts, account);
  // What the lease says came over the verified session, so it is as good as that.
  if (!url.thumbprint.empty()) {
    endpoint.trust.thumbprint = TRY(parse_thumbprint(url.thumbprint));
  } else if (!own_server) {
    endpoint.trust.thumbprint.clear();
    if (!url.host_thumbprint.empty()) {
      endpoint.trust.thumbprint = TRY(parse_thumbprint(url.host_thumbprint));
    }
  }
  if (own_server) endpoint.cookie = session.cookie;
  endpoint.max_connections = 1;
  return endpoint;
}

}  // namespace vmferry::vmware
