#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/embedded/sqlite.h"
#include "coordinator/kube/reader.h"

// Objects and the log of their changes as rows. Callers of write functions hold a Transaction.
namespace vmferry::embedded {

// An object with the type it is stored as: "virtualmachineimports.v2v.kubevirt.io".
struct Row {
  std::string api;
  kube::Object object;
};

std::string api_of(const kube::ResourceType& type);

Result<std::optional<Row>> load(Connection& connection, const std::string& api,
                                const kube::ObjectKey& key);
Result<std::optional<Row>> load_by_uid(Connection& connection, const std::string& uid);
// By namespace and name; an empty `ns` means all.
Result<std::vector<kube::Object>> load_all(Connection& connection, const std::string& api,
                                           const std::string& ns);
// Objects that name `owner_uid` as an owner.
Result<std::vector<Row>> load_dependents(Connection& connection, const std::string& owner_uid);
Result<bool> exists(Connection& connection, const std::string& uid);
Result<bool> namespace_in_use(Connection& connection, const std::string& ns);

// Each gives the object its new resourceVersion and logs the event.
Result<void> insert(Connection& connection, Row& row);
Result<void> update(Connection& connection, const kube::Object& before, Row& row);
Result<void> erase(Connection& connection, Row& row);

}  // namespace vmferry::embedded
