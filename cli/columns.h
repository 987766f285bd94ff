#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/import_view.h"
#include "cli/table.h"
#include "common/clock.h"
#include "coordinator/kube/object.h"

namespace vmferry::cli {

struct TableOptions {
  bool with_namespace = false;  // first column NAMESPACE
  bool wide = false;
  WallTime now{};
  std::map<kube::ObjectKey, std::string> manifests = {};  // of VMs: files written for them
};

// Tables of `vmferry get`, pure. Secret values never appear in them.
std::string imports_table(const std::vector<ImportView>& imports, const TableOptions& options);
std::string agents_table(const std::vector<AgentView>& agents);
// Objects of one kind; kinds without columns of their own get NAME and AGE. Events are sorted by
// time, others keep their order.
std::string objects_table(const kube::ResourceType& type, std::vector<kube::Object> objects,
                          const TableOptions& options);

}  // namespace vmferry::cli
