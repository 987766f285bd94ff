#include "coordinator/provider/vmware/inventory.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "common/catalogue.h"

namespace vmferry::vmware {
namespace {

constexpr std::size_t kMostCandidates = 20;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0) {
      return false;
    }
  }
  return true;
}

Error not_found(std::string_view by, const std::string& value) {
  return coded_error(ErrorKind::NotFound, code::kVmNotFound,
                     "no VM with {} '{}' on the server, or the account may not see it; check "
                     "spec.source.vmware.vm",
                     by, value);
}

bool is_unsupported(const SoapFault& fault) {
  return fault_rule(fault.type).kind == ErrorKind::Unimplemented || fault.type == "InvalidRequest";
}

// Exactly one of `found`, or an error that says where the others are.
Result<MoRef> only_one(Exchange& exchange, std::vector<MoRef> found, std::string_view by,
                       const std::string& value) {
  if (found.empty()) return not_found(by, value);
  if (found.size() == 1) return found.front();
  std::string list;
  for (std::size_t i = 0; i < found.size() && i < kMostCandidates; ++i) {
    const std::vector<Ancestor> line = TRY(ancestors(exchange, found[i]));
    if (i > 0) list += ", ";
    list += unescape_name(inventory_path(line)) + " (" + found[i].value + ")";
  }
  if (found.size() > kMostCandidates) list += ", ...";
  return coded_error(ErrorKind::InvalidArgument, code::kVmAmbiguous,
                     "{} VMs have the {} '{}': {}; set vm.id to the instance uuid or MoRef, or "
                     "vm.name to the full path",
                     found.size(), by, value, list);
}

Node uuid_search(std::string method, const ServiceContent& content, const std::string& uuid,
                 bool instance) {
  Node request = method_call(std::move(method), content.search_index);
  request.add(leaf("uuid", uuid)).add(flag("vmSearch", true));
  request.add(flag("instanceUuid", instance));
  return request;
}

// BIOS uuids are not unique after cloning, so all that have one are asked for. Servers without
// FindAllByUuid answer with one of them; the listing then tells whether there are more.
Result<std::vector<MoRef>> find_by_bios_uuid(Exchange& exchange, const std::string& uuid) {
  const SoapReply all =
      TRY(exchange.call(uuid_search("FindAllByUuid", exchange.content(), uuid, false)));
  std::vector<MoRef> found;
  if (!all.fault()) {
    for (const pugi::xml_node node : all.returnvals()) found.push_back(moref_of(node));
    return found;
  }
  if (!is_unsupported(*all.fault())) {
    return fault_error(*all.fault(), "FindAllByUuid", uuid);
  }
  const SoapReply one =
      TRY(exchange.must_call(uuid_search("FindByUuid", exchange.content(), uuid, false)));
  if (moref_of(one.returnval()).empty()) return found;
  for (const ListedVm& vm : TRY(list_vms(exchange))) {
    if (vm.uuid == uuid) found.push_back(vm.ref);
  }
  if (found.empty()) found.push_back(moref_of(one.returnval()));
  return found;
}

Result<MoRef> find_by_id(Exchange& exchange, const std::string& id) {
  if (!is_uuid(id)) {
    const MoRef ref{"VirtualMachine", id};
    const Result<ObjectProperties> named = retrieve_one(exchange, ref, {"name"});
    if (named) return ref;
    if (named.error().kind() == ErrorKind::NotFound) return not_found("id", id);
    return named.error();
  }
  const std::string uuid = lower(id);
  std::vector<MoRef> found = TRY(find_by_bios_uuid(exchange, uuid));
  if (found.empty()) {
    const SoapReply one =
        TRY(exchange.must_call(uuid_search("FindByUuid", exchange.content(), uuid, true)));
    const MoRef ref = moref_of(one.returnval());
    if (!ref.empty()) found.push_back(ref);
  }
  return only_one(exchange, std::move(found), "uuid", uuid);
}

Result<std::optional<MoRef>> find_by_path(Exchange& exchange, std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  Node request = method_call("FindByInventoryPath", exchange.content().search_index);
  request.add(leaf("inventoryPath", std::string(path)));
  const SoapReply reply = TRY(exchange.must_call(request));
  const MoRef ref = moref_of(reply.returnval());
  if (ref.type != "VirtualMachine") return std::optional<MoRef>();
  return std::optional<MoRef>(ref);
}

Result<MoRef> find_by_name(Exchange& exchange, const std::string& name) {
  const bool path = name.find('/') != std::string::npos;
  if (path) {
    const std::optional<MoRef> found = TRY(find_by_path(exchange, name));
    if (found) return *found;
  }
  std::string_view below = name;  // as a path below the data centre's VM folder
  while (below.starts_with('/')) below.remove_prefix(1);
  const std::string wanted = unescape_name(below);
  std::vector<MoRef> found;
  for (const ListedVm& vm : TRY(list_vms(exchange))) {
    if (vm.name == name) {
      found.push_back(vm.ref);
    } else if (path && wanted.ends_with("/" + vm.name)) {
      // Names may hold slashes, and VMs of vApps are found by no path of the server's.
      const std::string whole = unescape_name(inventory_path(TRY(ancestors(exchange, vm.ref))));
      if (whole == wanted || whole.ends_with("/vm/" + wanted)) found.push_back(vm.ref);
    }
  }
  return only_one(exchange, std::move(found), "name", name);
}

std::string joined(const std::vector<Ancestor>& line, std::size_t from) {
  std::string path;
  // The last one is the root folder, "Datacenters", which no path names.
  for (std::size_t i = line.size() - 1; i-- > from;) {
    if (!path.empty()) path += '/';
    path += line[i].name;
  }
  return path;
}

// Absent rights on a neighbour must not spoil reading the VM; lost sessions and stops must.
bool is_tolerable(const Error& error) {
  return error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::PermissionDenied ||
         error.kind() == ErrorKind::InvalidArgument || error.kind() == ErrorKind::Unimplemented ||
         error.kind() == ErrorKind::Internal;
}

}  // namespace

Result<std::vector<ListedVm>> list_vms(Exchange& exchange) {
  std::vector<ListedVm> vms;
  const std::vector<ObjectProperties> found =
      TRY(retrieve_all(exchange, "VirtualMachine", {"name", "config.uuid", "config.instanceUuid"}));
  for (const ObjectProperties& p : found) {
    vms.push_back({p.object, unescape_name(p.text("name")), p.text("config.uuid"),
                   p.text("config.instanceUuid")});
  }
  return vms;
}

Result<MoRef> find_vm_ref(Exchange& exchange, const VmRef& ref) {
  if (!ref.id.empty()) return find_by_id(exchange, ref.id);
  if (!ref.name.empty()) return find_by_name(exchange, ref.name);
  return coded_error(ErrorKind::NotFound, code::kVmNotFound,
                     "the import names no source VM; set vm.id or vm.name");
}

Result<VmModel> load_vm(Exchange& exchange, const MoRef& vm) {
  return read_vm(TRY(retrieve_one(exchange, vm, vm_paths(), newer_vm_paths())));
}

Result<Surroundings> load_surroundings(Exchange& exchange, const VmModel& vm) {
  Surroundings around;
  const Result<std::vector<Ancestor>> line = ancestors(exchange, vm.ref);
  if (line) {
    around.inventory_path = unescape_name(inventory_path(*line));
    around.datacenter_path = datacenter_path(*line);
  } else if (exchange.session_lost() || !is_tolerable(line.error())) {
    return line.error();
  }

  if (!vm.host.empty()) {
    const Result<ObjectProperties> host =
        retrieve_one(exchange, vm.host, {"name"}, {"config.dateTimeInfo.timeZone.gmtOffset"});
    if (host) {
      around.host_name = host->text("name");
      const auto offset = integer_of(host->value("config.dateTimeInfo.timeZone.gmtOffset"));
      if (offset && *offset > -86'400 && *offset < 86'400) {
        around.host_utc_offset_seconds = static_cast<int>(*offset);
      }
    } else if (exchange.session_lost() || !is_tolerable(host.error())) {
      return host.error();
    }
  }

  for (const MoRef& network : vm.networks) {
    std::vector<std::string> newer;
    if (network.type == "DistributedVirtualPortgroup") newer = {"key"};
    if (network.type == "OpaqueNetwork") newer = {"summary"};
    const Result<ObjectProperties> facts = retrieve_one(exchange, network, {"name"}, newer);
    if (facts) {
      around.networks.push_back(read_network(*facts));
    } else if (exchange.session_lost() || !is_tolerable(facts.error())) {
      return facts.error();
    }
  }
  return around;
}

std::string inventory_path(const std::vector<Ancestor>& line) {
  return line.empty() ? std::string() : joined(line, 0);
}

std::string datacenter_path(const std::vector<Ancestor>& line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i].object.type == "Datacenter") return joined(line, i);
  }
  return {};
}

}  // namespace vmferry::vmware
