#pragma once

#include <map>
#include <string>

#include "coordinator/provider/vmware/properties.h"

namespace vmferry::vmware {

// The inventory's folders, data centres, clusters, hosts, pools and vApps, read once so that the
// place of thousands of objects costs no further request. Names are as people read them.
class InventoryTree {
 public:
  struct Place {
    std::string type, name;  // unescaped
    MoRef parent;
  };
  explicit InventoryTree(std::map<MoRef, Place> places) : places_(std::move(places)) {}
  // Reads it. What the account may not see is not in it.
  static Result<InventoryTree> load(Exchange& exchange);

  // "DC/vm/folder/<name>" for an object below `parent`, the same path by which find_vm finds a VM;
  // the root folder is not named. Just `name` when the parent is unknown.
  std::string path(const MoRef& parent, const std::string& name) const;
  // The path of the data centre that `parent` is or lies in; empty when it is in none.
  std::string datacenter(const MoRef& parent) const;
  // The object's own name; empty when unknown.
  std::string name(const MoRef& object) const;
  // The cluster that a host stands in; empty for one on its own.
  std::string cluster_of_host(const MoRef& host) const;

 private:
  const Place* find(const MoRef& object) const;
  std::map<MoRef, Place> places_;
};

}  // namespace vmferry::vmware
