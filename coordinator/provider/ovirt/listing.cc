#include "coordinator/provider/ovirt/listing.h"

#include <algorithm>
#include <map>

#include "coordinator/provider/ovirt/pages.h"

namespace vmferry::ovirt {
namespace {

using Row = std::vector<ListingCell>;
using Names = std::map<std::string, std::string>;  // by id

constexpr Collection kVms = {"/vms", "vm", "name"};
constexpr Collection kDisks = {"/disks", "disk", "alias"};
constexpr Collection kNetworks = {"/networks", "network", "name"};
constexpr Collection kDomains = {"/storagedomains", "storage_domain", "name"};
constexpr Collection kProfiles = {"/vnicprofiles", "vnic_profile", nullptr};
constexpr Collection kClusters = {"/clusters", "cluster", "name"};
constexpr Collection kDataCenters = {"/datacenters", "data_center", "name"};

Result<Names> names_of(Client& client, const Collection& collection, std::stop_token stop) {
  Names names;
  TRY(for_each(client, collection, stop,
               [&](const Element& each) { names[each.id()] = each.text_or("name", ""); }));
  return names;
}

ListingCell text(const Element& each, std::string_view path) {
  const std::optional<std::string> value = each.text(path);
  return value && !value->empty() ? ListingCell(*value) : ListingCell();
}

ListingCell number(const Element& each, std::string_view path) {
  const std::optional<std::uint64_t> value = each.bytes(path);
  return value ? ListingCell(*value) : ListingCell();
}

ListingCell flag(const Element& each, std::string_view path) {
  const std::optional<bool> value = each.boolean(path);
  return value ? ListingCell(*value) : ListingCell();
}

// The referenced object's name; its id where the user may not see it.
ListingCell name_in(const Names& names, const std::string& id) {
  if (id.empty()) return {};
  const auto found = names.find(id);
  return found == names.end() || found->second.empty() ? id : found->second;
}

ListingCell cpus(const Element& vm) {
  const auto part = [&vm](const char* path) {
    return std::clamp<std::int64_t>(vm.integer(path).value_or(1), 1, 4096);
  };
  if (!vm.child("cpu.topology")) return {};
  return static_cast<std::uint64_t>(part("cpu.topology.sockets") * part("cpu.topology.cores") *
                                    part("cpu.topology.threads"));
}

ListingCell version(const Element& each) {
  const auto major = each.integer("version.major");
  const auto minor = each.integer("version.minor");
  if (!major || !minor) return {};
  return fmt::format("{}.{}", *major, *minor);
}

Result<Listing> list_vms(Client& client, std::stop_token stop) {
  const Names clusters = TRY(names_of(client, kClusters, stop));
  Listing listing;
  listing.columns = {{"id"},
                     {"name"},
                     {"cluster"},
                     {"status"},
                     {"memory", CellType::Bytes},
                     {"cpus", CellType::Count},
                     {"os", CellType::Text, true},
                     {"fqdn", CellType::Text, true},
                     {"description", CellType::Text, true}};
  TRY(for_each(client, kVms, stop, [&](const Element& vm) {
    listing.rows.push_back({vm.id(), vm.text_or("name", ""),
                            name_in(clusters, vm.child("cluster").id()), text(vm, "status"),
                            number(vm, "memory"), cpus(vm), text(vm, "os.type"), text(vm, "fqdn"),
                            text(vm, "description")});
  }));
  return listing;
}

Result<Listing> list_disks(Client& client, std::stop_token stop) {
  const Names domains = TRY(names_of(client, kDomains, stop));
  Listing listing;
  listing.columns = {{"id"},
                     {"name"},
                     {"storageDomain"},
                     {"size", CellType::Bytes},
                     {"allocated", CellType::Bytes},
                     {"format"},
                     {"status"},
                     {"storageType", CellType::Text, true},
                     {"content", CellType::Text, true},
                     {"shareable", CellType::YesNo, true}};
  TRY(for_each(client, kDisks, stop, [&](const Element& disk) {
    // A direct LUN has no size of its own and lies on no domain.
    const std::optional<std::uint64_t> total = disk.bytes("total_size");
    listing.rows.push_back(
        {disk.id(), disk.text_or("alias", disk.text_or("name", "")),
         name_in(domains, disk.child("storage_domains.storage_domain").id()),
         number(disk, "provisioned_size"),
         total.value_or(0) > 0 ? ListingCell(*total) : number(disk, "actual_size"),
         text(disk, "format"), text(disk, "status"), text(disk, "storage_type"),
         text(disk, "content_type"), flag(disk, "shareable")});
  }));
  return listing;
}

Result<Listing> list_networks(Client& client, std::stop_token stop) {
  const Names centers = TRY(names_of(client, kDataCenters, stop));
  Listing listing;
  listing.columns = {{"id"},
                     {"name"},
                     {"dataCenter"},
                     {"vlan", CellType::Count},
                     {"mtu", CellType::Count, true},
                     {"description", CellType::Text, true}};
  TRY(for_each(client, kNetworks, stop, [&](const Element& network) {
    // The vlan's id is an attribute in XML (source-ovirt.md 9, 13).
    const std::string vlan = network.child("vlan").id();
    std::uint64_t tag = 0;
    const bool has_vlan = !vlan.empty() && vlan.size() < 6 &&
                          std::ranges::all_of(vlan, [](char c) { return c >= '0' && c <= '9'; });
    for (const char c : has_vlan ? vlan : std::string()) {
      tag = tag * 10 + static_cast<std::uint64_t>(c - '0');
    }
    listing.rows.push_back({network.id(), network.text_or("name", ""),
                            name_in(centers, network.child("data_center").id()),
                            has_vlan ? ListingCell(tag) : ListingCell(), number(network, "mtu"),
                            text(network, "description")});
  }));
  return listing;
}

Result<Listing> list_domains(Client& client, std::stop_token stop) {
  const Names centers = TRY(names_of(client, kDataCenters, stop));
  Listing listing;
  listing.columns = {{"id"},
                     {"name"},
                     {"dataCenter"},
                     {"type"},
                     {"storage"},
                     {"status"},
                     {"free", CellType::Bytes},
                     {"used", CellType::Bytes},
                     {"format", CellType::Text, true},
                     {"address", CellType::Text, true}};
  TRY(for_each(client, kDomains, stop, [&](const Element& domain) {
    listing.rows.push_back(
        {domain.id(), domain.text_or("name", ""),
         name_in(centers, domain.child("data_centers.data_center").id()), text(domain, "type"),
         text(domain, "storage.type"), text(domain, "status"), number(domain, "available"),
         number(domain, "used"), text(domain, "storage_format"), text(domain, "storage.address")});
  }));
  return listing;
}

Result<Listing> list_profiles(Client& client, std::stop_token stop) {
  const Names networks = TRY(names_of(client, kNetworks, stop));
  Listing listing;
  listing.columns = {{"id"},
                     {"name"},
                     {"network"},
                     {"profile"},
                     {"passThrough", CellType::YesNo},
                     {"portMirroring", CellType::YesNo, true},
                     {"description", CellType::Text, true}};
  TRY(for_each(client, kProfiles, stop, [&](const Element& profile) {
    const std::string id = profile.child("network").id();
    const auto found = networks.find(id);
    const std::string network = found == networks.end() ? id : found->second;
    const std::string own = profile.text_or("name", "");
    const std::optional<std::string> mode = profile.text("pass_through.mode");
    listing.rows.push_back({profile.id(), network + "/" + own, network, own,
                            mode ? ListingCell(*mode == "enabled") : ListingCell(),
                            flag(profile, "port_mirroring"), text(profile, "description")});
  }));
  return listing;
}

Result<Listing> list_clusters(Client& client, std::stop_token stop) {
  const Names centers = TRY(names_of(client, kDataCenters, stop));
  Listing listing;
  listing.columns = {{"id"},
                     {"name"},
                     {"dataCenter"},
                     {"version"},
                     {"architecture"},
                     {"biosType"},
                     {"cpu", CellType::Text, true},
                     {"description", CellType::Text, true}};
  TRY(for_each(client, kClusters, stop, [&](const Element& cluster) {
    listing.rows.push_back({cluster.id(), cluster.text_or("name", ""),
                            name_in(centers, cluster.child("data_center").id()), version(cluster),
                            text(cluster, "cpu.architecture"), text(cluster, "bios_type"),
                            text(cluster, "cpu.type"), text(cluster, "description")});
  }));
  return listing;
}

Result<Listing> list_unsorted(Client& client, ListingKind kind, std::stop_token stop) {
  switch (kind) {
    case ListingKind::Vms:
      return list_vms(client, stop);
    case ListingKind::Disks:
      return list_disks(client, stop);
    case ListingKind::Networks:
      return list_networks(client, stop);
    case ListingKind::Datastores:
      return list_domains(client, stop);
    case ListingKind::VnicProfiles:
      return list_profiles(client, stop);
    case ListingKind::Clusters:
      return list_clusters(client, stop);
  }
  return make_error(ErrorKind::InvalidArgument, "an oVirt source has no {}", to_string(kind));
}

}  // namespace

Result<Listing> list_objects(Client& client, ListingKind kind, std::stop_token stop) {
  Listing listing = TRY(list_unsorted(client, kind, stop));
  std::ranges::sort(listing.rows, {}, [](const Row& row) {
    return std::pair(std::get<std::string>(row[1]), std::get<std::string>(row[0]));
  });
  return listing;
}

}  // namespace vmferry::ovirt
