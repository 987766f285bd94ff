#include "coordinator/provider/vmware/inventory_tree.h"

#include "coordinator/provider/vmware/model.h"

namespace vmferry::vmware {
namespace {

constexpr int kDeepest = 256;  // folders are nested ten deep at most; parents in a circle end here

}  // namespace

Result<InventoryTree> InventoryTree::load(Exchange& exchange) {
  std::map<MoRef, Place> places;
  TRY(visit_all(exchange, {"Folder", "Datacenter", "ComputeResource", "HostSystem", "ResourcePool"},
                {{"ManagedEntity", {"name", "parent"}}},
                [&places](std::vector<ObjectProperties> page) {
                  for (const ObjectProperties& p : page) {
                    places[p.object] = {p.object.type, unescape_name(p.text("name")),
                                        moref_of(p.value("parent"))};
                  }
                  return Result<void>();
                }));
  places.erase(exchange.content().root_folder);
  return InventoryTree(std::move(places));
}

const InventoryTree::Place* InventoryTree::find(const MoRef& object) const {
  const auto found = places_.find(object);
  return found == places_.end() ? nullptr : &found->second;
}

std::string InventoryTree::path(const MoRef& parent, const std::string& name) const {
  std::string path = name;
  const Place* at = find(parent);
  for (int depth = 0; at != nullptr && depth < kDeepest; ++depth) {
    path = at->name + "/" + path;
    at = find(at->parent);
  }
  return path;
}

std::string InventoryTree::datacenter(const MoRef& parent) const {
  const Place* at = find(parent);
  for (int depth = 0; at != nullptr && depth < kDeepest; ++depth) {
    if (at->type == "Datacenter") return path(at->parent, at->name);
    at = find(at->parent);
  }
  return {};
}

std::string InventoryTree::name(const MoRef& object) const {
  const Place* place = find(object);
  return place == nullptr ? std::string() : place->name;
}

std::string InventoryTree::cluster_of_host(const MoRef& host) const {
  const Place* place = find(host);
  const Place* parent = place == nullptr ? nullptr : find(place->parent);
  // A host on its own stands in a ComputeResource of its own name.
  return parent != nullptr && parent->type == "ClusterComputeResource" ? parent->name
                                                                       : std::string();
}

}  // namespace vmferry::vmware
