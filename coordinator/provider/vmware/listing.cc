#include "coordinator/provider/vmware/listing.h"

#include <algorithm>
#include <tuple>

#include "common/bytes.h"
#include "coordinator/provider/vmware/disk_access.h"
#include "coordinator/provider/vmware/inventory_tree.h"
#include "coordinator/provider/vmware/translate.h"

namespace vmferry::vmware {
namespace {

using Row = std::vector<ListingCell>;
// The rows of one object: one, or as many as a VM has disks.
using RowsOf = std::vector<Row> (*)(const InventoryTree& tree, const ObjectProperties& object);

// How one kind is read and shown.
struct Table {
  std::string view_type;
  std::vector<PropertyWish> wishes;
  std::vector<ListingColumn> columns;
  RowsOf rows_of;
};

ListingCell text_cell(std::string text) {
  if (text.empty()) return std::monostate();
  return text;
}

// Sizes come as signed numbers; a negative one is the server's "unknown".
ListingCell number_cell(pugi::xml_node node, std::uint64_t unit = 1) {
  const auto value = integer_of(node);
  if (!value || *value < 0 || static_cast<std::uint64_t>(*value) > UINT64_MAX / unit) {
    return std::monostate();
  }
  return static_cast<std::uint64_t>(*value) * unit;
}

ListingCell flag_cell(pugi::xml_node node) {
  const auto value = boolean_of(node);
  if (!value) return std::monostate();
  return *value;
}

ListingCell power_cell(const std::string& word) {
  const PowerState state = power_state_of(word);
  if (state == PowerState::Unknown) return text_cell(word);
  return std::string(to_string(state));
}

// VMs of a vApp have no parent folder.
MoRef parent_of(const ObjectProperties& object) {
  const pugi::xml_node parent = object.value("parent");
  return moref_of(parent ? parent : object.value("parentVApp"));
}

std::string path_of(const InventoryTree& tree, const ObjectProperties& object,
                    const std::string& name) {
  return tree.path(parent_of(object), name);
}

std::vector<Row> vm_rows(const InventoryTree& tree, const ObjectProperties& p) {
  const std::string name = unescape_name(p.text("name"));
  const MoRef host = moref_of(p.value("runtime.host"));
  return {{p.object.value, name, text_cell(path_of(tree, p, name)),
           power_cell(p.text("runtime.powerState")), number_cell(p.value("summary.config.numCpu")),
           number_cell(p.value("summary.config.memorySizeMB"), kMiB),
           number_cell(p.value("summary.config.numVirtualDisks")),
           text_cell(p.text("config.guestFullName")), text_cell(tree.cluster_of_host(host)),
           text_cell(tree.name(host)), text_cell(p.text("config.uuid")),
           text_cell(p.text("config.instanceUuid")), text_cell(p.text("config.guestId")),
           text_cell(p.text("config.firmware")), flag_cell(p.value("config.template")),
           number_cell(p.value("summary.storage.committed"))}};
}

Table vms() {
  return {
      "VirtualMachine",
      {{"VirtualMachine",
        {"name", "parent", "parentVApp", "runtime.powerState", "runtime.host",
         "summary.config.numCpu", "summary.config.memorySizeMB", "summary.config.numVirtualDisks",
         "summary.storage.committed", "config.uuid", "config.instanceUuid", "config.guestId",
         "config.guestFullName", "config.firmware", "config.template"}}},
      {{.name = "id"},
       {.name = "name"},
       {.name = "path"},
       {.name = "power"},
       {.name = "cpus", .type = CellType::Count},
       {.name = "memory", .type = CellType::Bytes},
       {.name = "disks", .type = CellType::Count},
       {.name = "guestOs"},
       {.name = "cluster"},
       {.name = "host"},
       {.name = "uuid", .wide = true},
       {.name = "instanceUuid", .wide = true},
       {.name = "guestId", .wide = true},
       {.name = "firmware", .wide = true},
       {.name = "template", .type = CellType::YesNo, .wide = true},
       {.name = "storageUsed", .type = CellType::Bytes, .wide = true}},
      vm_rows};
}

std::string access_word(AccessPath path) {
  switch (path) {
    case AccessPath::FlatFile:
      return "https";
    case AccessPath::Vddk:
      return "vddk";
    case AccessPath::ExportLease:
      return "export";
    case AccessPath::None:
      return "none";
  }
  return "none";
}

// Nobody knows here what an import's agents will have.
std::string why_without_agents(const Device& device, const AccessChoice& access, bool vddk) {
  std::string why = access.path == AccessPath::None || access.path == AccessPath::ExportLease
                        ? why_not_flat(device)
                        : "flat file, read over HTTPS with ranges";
  if (access.path == AccessPath::ExportLease) {
    why += ": one stream from an export lease, which cannot be resumed";
  }
  if (vddk) why += access.path == AccessPath::None ? "; VDDK, if" : "; or VDDK, if";
  return vddk ? why + " an agent of the import has it" : why;
}

// The disks as an import of the VM would see them: the same ids, labels and order.
std::vector<Row> disk_rows(const InventoryTree& tree, const ObjectProperties& p) {
  const VmModel model = read_vm(p);
  const SourceVm vm = translate(model, {});
  std::vector<Row> rows;
  for (const SourceDisk& disk : vm.disks) {
    const auto device = std::ranges::find_if(model.devices, [&disk](const Device& d) {
      return is_disk(d) && std::to_string(d.key) == disk.attachment_id;
    });
    if (device == model.devices.end()) continue;
    const AccessChoice access = choose_access(*device, false);
    const bool vddk = choose_access(*device, true).path == AccessPath::Vddk;
    ListingCell allocated;
    if (disk.allocated_bytes) allocated = *disk.allocated_bytes;
    rows.push_back({disk.id, text_cell(disk.name), text_cell(vm.name), disk.size_bytes,
                    std::move(allocated), text_cell(disk.storage_name),
                    text_cell(disk.details.at(std::string(kDetailController))),
                    access_word(access.path), text_cell(path_of(tree, p, vm.name)),
                    text_cell(disk.file), text_cell(disk.details.at(std::string(kDetailBacking))),
                    text_cell(device->backing.disk_mode), disk.shareable,
                    text_cell(why_without_agents(*device, access, vddk))});
  }
  return rows;
}

Table disks() {
  return {
      "VirtualMachine",
      {{"VirtualMachine", {"name", "parent", "parentVApp", "config.hardware.device", "layoutEx"}}},
      {{.name = "id"},
       {.name = "name"},
       {.name = "vm"},
       {.name = "size", .type = CellType::Bytes},
       {.name = "allocated", .type = CellType::Bytes},
       {.name = "datastore"},
       {.name = "controller"},
       {.name = "readBy"},
       {.name = "vmPath", .wide = true},
       {.name = "file", .wide = true},
       {.name = "backing", .wide = true},
       {.name = "mode", .wide = true},
       {.name = "shared", .type = CellType::YesNo, .wide = true},
       {.name = "readByWhy", .wide = true}},
      disk_rows};
}

// vCenter makes a port group for a distributed switch's uplinks, which no VM is attached to.
bool is_uplink(const ObjectProperties& p) {
  for (const pugi::xml_node tag : p.value("tag").children()) {
    if (child_text(tag, "key") == "SYSTEM/DVS.UPLINKPG") return true;
  }
  return false;
}

std::string network_kind(const ObjectProperties& p) {
  if (p.object.type == "OpaqueNetwork") return "opaque";
  if (p.object.type == "DistributedVirtualPortgroup")
    return is_uplink(p) ? "uplink" : "distributed";
  return "standard";
}

std::vector<Row> network_rows(const InventoryTree& tree, const ObjectProperties& p) {
  const NetworkFacts facts = read_network(p);
  return {{facts.ref.value, text_cell(facts.name), text_cell(path_of(tree, p, facts.name)),
           network_kind(p), text_cell(tree.datacenter(parent_of(p))),
           text_cell(facts.key.empty() ? facts.opaque_id : facts.key),
           flag_cell(child(p.value("summary"), "accessible"))}};
}

Table networks() {
  return {"Network",
          {{"Network", {"name", "parent", "tag", "summary"}},
           {"DistributedVirtualPortgroup", {"name", "parent", "tag", "summary", "key"}},
           {"OpaqueNetwork", {"name", "parent", "tag", "summary"}}},
          {{.name = "id"},
           {.name = "name"},
           {.name = "path"},
           {.name = "kind"},
           {.name = "datacenter"},
           {.name = "key", .wide = true},
           {.name = "accessible", .type = CellType::YesNo, .wide = true}},
          network_rows};
}

std::vector<Row> datastore_rows(const InventoryTree& tree, const ObjectProperties& p) {
  const std::string name = unescape_name(p.text("name"));
  return {{p.object.value, text_cell(name), text_cell(path_of(tree, p, name)),
           text_cell(p.text("summary.type")), number_cell(p.value("summary.capacity")),
           number_cell(p.value("summary.freeSpace")), flag_cell(p.value("summary.accessible")),
           text_cell(p.text("summary.maintenanceMode")), text_cell(p.text("summary.url"))}};
}

Table datastores() {
  return {"Datastore",
          {{"Datastore",
            {"name", "parent", "summary.type", "summary.capacity", "summary.freeSpace",
             "summary.accessible", "summary.maintenanceMode", "summary.url"}}},
          {{.name = "id"},
           {.name = "name"},
           {.name = "path"},
           {.name = "type"},
           {.name = "capacity", .type = CellType::Bytes},
           {.name = "free", .type = CellType::Bytes},
           {.name = "accessible", .type = CellType::YesNo},
           {.name = "maintenance", .wide = true},
           {.name = "url", .wide = true}},
          datastore_rows};
}

Result<Table> table_of(ListingKind kind) {
  switch (kind) {
    case ListingKind::Vms:
      return vms();
    case ListingKind::Disks:
      return disks();
    case ListingKind::Networks:
      return networks();
    case ListingKind::Datastores:
      return datastores();
    case ListingKind::VnicProfiles:
    case ListingKind::Clusters:
      break;
  }
  return make_error(ErrorKind::InvalidArgument,
                    "a vmware source has no {}; it has vms, disks, networks and datastores",
                    to_string(kind));
}

}  // namespace

Result<Listing> list_inventory(Exchange& exchange, ListingKind kind, std::size_t most_rows) {
  const Table table = TRY(table_of(kind));
  const InventoryTree tree = TRY(InventoryTree::load(exchange));
  Listing listing{.columns = table.columns, .rows = {}};
  TRY(visit_all(exchange, {table.view_type}, table.wishes,
                [&](std::vector<ObjectProperties> page) -> Result<void> {
                  for (const ObjectProperties& object : page) {
                    std::ranges::move(table.rows_of(tree, object),
                                      std::back_inserter(listing.rows));
                  }
                  if (listing.rows.size() <= most_rows) return {};
                  return make_error(ErrorKind::ResourceExhausted,
                                    "the source has more than {} {}; use an account that sees "
                                    "fewer of them",
                                    most_rows, to_string(kind));
                }));
  std::ranges::sort(listing.rows, {},
                    [](const Row& row) { return std::tuple(row.at(1), row.at(0)); });
  return listing;
}

}  // namespace vmferry::vmware
